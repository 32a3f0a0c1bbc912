"""Sections of a long `--help`: the options of a command under titles, as plain text, in a terminal or a pipe."""

from typing import TYPE_CHECKING

from typer.core import TyperCommand, TyperOption

if TYPE_CHECKING:
    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

PARTS, FILE, TRAINING, HARDWARE = "Parts", "Run file", "Training", "Hardware"
OUTPUT, SWEEP = "Output", "Sweep of runs"
TITLES = (PARTS, FILE, TRAINING, HARDWARE, OUTPUT, SWEEP)  # in this order; what is in none of them comes last
OTHER = "Options"


class SectionedCommand(TyperCommand):
    """A command whose options are listed by the section that each names as its `rich_help_panel`."""

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write a section for each title that has options."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in (*TITLES, OTHER)}
        for param in self.get_params(ctx):
            title = param.rich_help_panel if isinstance(param, TyperOption) else None
            if (record := param.get_help_record(ctx)) is not None:
                sections[title or OTHER].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
