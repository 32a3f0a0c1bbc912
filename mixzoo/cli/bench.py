"""mixzoo bench: how long the training step of a run takes on this machine."""

import json
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mixzoo.cli import sections
from mixzoo.cli.schema import integer, part_option, with_train_flags
from mixzoo.cli.zoo import NoPlugins, PluginFiles, zoo_from

if TYPE_CHECKING:
    from mixzoo.benchmark.table import Row
    from mixzoo.registry.config import RunConfig
    from mixzoo.registry.zoo import Zoo

WIDTH = 156  # characters in a line of the table
HEADS = (
    *("batch", "engine", "ms", "quartiles", "CPU ms", "images/s", "ops", "GFLOP", "GFLOP/s", "floor ms", "of floor"),
    "peak MB",
)
_SEVERAL = "; may be given several times"
LISTS = ("batch_images", "d_steps", "engine", "precision", "threads", "data_on", "workers")
LABELLED = ("d_steps", "threads", "data_on", "workers")  # the rest of LISTS have columns of their own
WITHOUT = (
    "steps",
    "schedule",
    "warmup",
    "log_every",
    "evaluate_every",
    "checkpoint_every",
    "keep_checkpoints",
    "select",
)  # they do not change the step


@with_train_flags(lists=LISTS, without=WITHOUT)
def bench(
    *,
    data: Annotated[
        str | None,
        part_option("dataset", "Data set. [default: digits]"),
    ] = None,
    autoencoder: Annotated[
        list[str] | None,
        part_option("autoencoder", f"Encoder and decoder{_SEVERAL}."),
    ] = None,
    discriminator: Annotated[
        list[str] | None,
        part_option("discriminator", f"Discriminator{_SEVERAL}."),
    ] = None,
    mixer: Annotated[
        list[str] | None,
        part_option("mixer", f"Mixing function{_SEVERAL}."),
    ] = None,
    objective: Annotated[
        list[str] | None,
        part_option("objective", f"The losses of both players{_SEVERAL}."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", rich_help_panel=sections.FILE, metavar="FILE", help="A run file (TOML); flags override it."
        ),
    ] = None,
    data_root: Annotated[
        str | None,
        typer.Option(
            "--data-root",
            rich_help_panel=sections.PARTS,
            metavar="DIR",
            help="Folder of data sets. [default: $MIXZOO_DATA]",
        ),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats", parser=integer("repeats", 1, 10_000), metavar="INTEGER", help="Timed steps of each row."
        ),
    ] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: one object, the machine and a row for each run.")
    ] = False,
    plugin: PluginFiles = None,
    no_plugins: NoPlugins = False,
    numbers: Any = None,
) -> None:
    """Time the training step of a run, count its operations, and compare it with the limits of this machine.

    Takes the flags of `mixzoo train`. If several values are given, each combination is a row.

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
    configs = list(_configs(zoo, config, given, numbers, data_root))  # all are checked before the first is timed

    import torch

    from mixzoo.benchmark.table import as_json as rows_as_json
    from mixzoo.benchmark.table import machine, measured
    from mixzoo.training.devices import pick_device
    from mixzoo.training.memory import keep_freed_memory

    keep_freed_memory()
    train, rows = configs[0][1].train, list["Row"]()
    machine_info = machine(pick_device(train.device), train.threads or torch.get_num_threads())
    try:
        for row in measured(zoo, configs, repeats=repeats):
            rows.append(row)  # printed even if a later one fails
    finally:
        if rows and as_json:
            typer.echo(json.dumps({"machine": machine_info, "rows": rows_as_json(rows)}, indent=2))
        elif rows:
            _print_table(machine_info, rows)
        for row in rows:
            if row.note:
                typer.echo(f"{row.label}: {row.note}", err=True)


def _configs(
    zoo: "Zoo", file: Path | None, parts: dict[str, list[str]], numbers: dict[str, Any], root: str | None
) -> Iterator[tuple[str, "RunConfig"]]:
    """Every combination of the values given, labelled by its objective, its mixer and what else varies."""
    from mixzoo.registry.config import resolve, under_data_root

    values_of = {name: value if isinstance(value, tuple) else (value,) for name, value in numbers.items()}
    for specs, values in product(product(*parts.values()), product(*values_of.values())):
        flags = dict(zip(parts, specs))
        resolved = resolve(zoo, file, flags, dict(zip(values_of, values)))
        resolved = under_data_root(
            resolved, flag=root, environment=os.environ.get("MIXZOO_DATA"), data=flags.get("dataset")
        )
        names = [flags.get(kind, resolved.names[kind]) for kind in ("objective", "mixer")]
        changed = [f"{kind}={flags[kind]}" for kind in ("autoencoder", "discriminator") if len(parts.get(kind, "")) > 1]
        changed += [
            f"{name}={value}" for name, value in zip(values_of, values) if name in LABELLED and len(values_of[name]) > 1
        ]
        yield " ".join([*names, *changed]), resolved


def _print_table(machine_info: dict[str, object], rows: list["Row"]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    console.print(", ".join(f"{name} {value}" for name, value in machine_info.items()), markup=False)
    for precision, peak in {row.precision: row.ceiling for row in rows}.items():
        rates = f"{peak.flops / 1e9:.0f} GFLOP/s, {peak.bytes / 1e9:.1f} GB/s, {1e6 * peak.launch:.1f} us per operation"
        console.print(f"limits of this machine in {precision}, measured: {rates}", markup=False)
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
