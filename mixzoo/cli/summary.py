"""The closing table of a run, on standard output."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixzoo.run import Result


def print_summary(result: "Result") -> None:
    """The scores, where the pictures are, and the command that shows more."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"after {result.steps} steps", title_justify="left", show_header=False)
    table.add_column("score")
    table.add_column("value", justify="right")
    for name, value in result.numbers.items():
        table.add_row(name.replace("_", " ").replace(".", ": "), shown(name, value))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"run      {result.directory}", markup=False)
    console.print(f"picture  {result.picture}", markup=False)
    console.print(f"more     mixzoo interpolate {result.directory}", markup=False)


def shown(name: str, value: float) -> str:
    """Accuracies in per cent, counts whole, the rest to four digits."""
    if name.endswith("accuracy") or "_accuracy_" in name:
        return f"{100 * value:.2f} %"
    return f"{value:.0f}" if value == int(value) else f"{value:.4f}"
