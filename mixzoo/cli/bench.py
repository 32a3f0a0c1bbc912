"""mixzoo bench: what the step of a run takes on this machine."""

import json
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mixzoo.cli.schema import integer, with_train_flags
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from

if TYPE_CHECKING:
    from mixzoo.benchmark.table import Row
    from mixzoo.registry.config import RunConfig
    from mixzoo.registry.zoo import Zoo

_SPEC = "NAME[:KEY=VALUE,...]"
WIDTH = 156  # columns of text that the table takes
HEADS = (
    *("batch", "engine", "ms", "quartiles", "CPU ms", "images/s", "ops", "GFLOP", "GFLOP/s", "floor ms", "of floor"),
    "peak MB",
)
_SEVERAL = "; may be given several times"
LISTS = ("batch_images", "d_steps", "engine", "precision", "threads", "data_on", "workers")
LABELLED = ("d_steps", "threads", "data_on", "workers")  # the others have columns
WITHOUT = ("steps", "log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints")  # no step depends on them


@with_train_flags(lists=LISTS, without=WITHOUT)
def bench(
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar=_SPEC, help="Data set. [default: digits]"),
    ] = None,
    autoencoder: Annotated[
        list[str] | None, typer.Option("--autoencoder", metavar=_SPEC, help=f"Encoder and decoder{_SEVERAL}.")
    ] = None,
    discriminator: Annotated[
        list[str] | None, typer.Option("--discriminator", metavar=_SPEC, help=f"Discriminator{_SEVERAL}.")
    ] = None,
    mixer: Annotated[
        list[str] | None, typer.Option("--mixer", metavar=_SPEC, help=f"Mixing function{_SEVERAL}.")
    ] = None,
    objective: Annotated[
        list[str] | None, typer.Option("--objective", metavar=_SPEC, help=f"What both players descend on{_SEVERAL}.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A run file (TOML); flags go before it.")
    ] = None,
    data_root: Annotated[
        str | None,
        typer.Option("--data-root", metavar="DIR", help="Folder of data sets. [default: the variable MIXZOO_DATA]"),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats", parser=integer("repeats", 1, 10_000), metavar="INTEGER", help="Timed steps of each row."
        ),
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One object: the machine, and a row for each run.")] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
    numbers: Any = None,
) -> None:
    """Time the step of a run, count what it does, and say how near that is to what this machine can do.

    Takes the flags of `mixzoo train`; where several values are given, each combination is a row.

    Example: mixzoo bench --objective amr --mixer dirichlet:k=3 --batch-images 64,256
    """
    zoo = zoo_from(plugin, no_plugins)
    parts = {
        "dataset": None if data is None else [data],
        "autoencoder": autoencoder,
        "discriminator": discriminator,
        "mixer": mixer,
        "objective": objective,
    }
    given = {kind: specs for kind, specs in parts.items() if specs}
    configs = list(_configs(zoo, config, given, numbers, data_root))  # all are checked before any is timed

    import torch

    from mixzoo.benchmark.table import as_json as rows_as_json
    from mixzoo.benchmark.table import machine, measured
    from mixzoo.training.devices import pick_device
    from mixzoo.training.memory import keep_freed_memory

    keep_freed_memory()
    train, rows = configs[0][1].train, list["Row"]()
    where = machine(pick_device(train.device), train.threads or torch.get_num_threads())
    try:
        for row in measured(zoo, configs, repeats=repeats):
            rows.append(row)  # kept where a later one fails
    finally:
        if rows and as_json:
            typer.echo(json.dumps({"machine": where, "rows": rows_as_json(rows)}, indent=2))
        elif rows:
            _print(where, rows)
        for row in rows:
            if row.note:
                typer.echo(f"{row.label}: {row.note}", err=True)


def _configs(
    zoo: "Zoo", file: Path | None, parts: dict[str, list[str]], numbers: dict[str, Any], root: str | None
) -> Iterator[tuple[str, "RunConfig"]]:
    """Every combination of what was given several times, labelled by its objective and its mixer."""
    from mixzoo.registry.config import resolve, under_data_root

    several = {name: value if isinstance(value, tuple) else (value,) for name, value in numbers.items()}
    for specs, values in product(product(*parts.values()), product(*several.values())):
        flags = dict(zip(parts, specs))
        resolved = resolve(zoo, file, flags, dict(zip(several, values)))
        resolved = under_data_root(
            resolved, flag=root, environment=os.environ.get("MIXZOO_DATA"), data=flags.get("dataset")
        )
        names = [flags.get(kind, resolved.names[kind]) for kind in ("objective", "mixer")]
        changed = [f"{kind}={flags[kind]}" for kind in ("autoencoder", "discriminator") if len(parts.get(kind, "")) > 1]
        changed += [
            f"{name}={value}" for name, value in zip(several, values) if name in LABELLED and len(several[name]) > 1
        ]
        yield " ".join([*names, *changed]), resolved


def _print(where: dict[str, object], rows: list["Row"]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    console.print(", ".join(f"{name} {value}" for name, value in where.items()), markup=False)
    for precision, best in {row.precision: row.ceiling for row in rows}.items():
        rates = f"{best.flops / 1e9:.0f} GFLOP/s, {best.bytes / 1e9:.1f} GB/s, {1e6 * best.launch:.1f} us an operation"
        console.print(f"at best in {precision}, measured here: {rates}", markup=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("objective mixer", no_wrap=True)
    for head in HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(row.label),
            str(row.batch_images),
            f"{row.engine} {row.precision}",
            f"{row.wall_ms.median:.1f}",
            f"{row.wall_ms.low:.1f}-{row.wall_ms.high:.1f}",
            f"{row.cpu_ms.median:.1f}",
            f"{row.images_per_second:.0f}",
            str(row.launched),
            f"{row.gflop:.2f}",
            f"{row.gflop_per_second:.0f}",
            f"{row.floor_ms:.1f} {row.floor_limit}",
            f"{row.of_floor:.2f}",
            f"{row.peak_mb:.0f}",
        )
    console.print(table)
