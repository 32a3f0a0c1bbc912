"""Every cell of Tables 1 to 4 of AMR as a complete run file, in two readings: folders paper and authors of zoo_configs.

The cells are also written to mixzoo/runs/paper_cells.json, from which `mixzoo compare --paper` takes them.

    python benchmarks/paper_presets.py            write the files anew
    python benchmarks/paper_presets.py --table    print the table of cells for zoo_configs/README.md

`paper` is what the text says, `authors` what the published scripts ran. The numbers are from the paper's tables, the
epochs of `authors` from the scripts.
"""

import argparse
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mode
from typing import Any

from mixzoo.registry.config import RunConfig, resolve
from mixzoo.registry.zoo import Zoo, load_zoo
from mixzoo.runs.changes import FREE
from mixzoo.runs.listing import SAME_RUN, dotted

HOME = Path(__file__).parents[1] / "zoo_configs"
CELLS_FILE = HOME.parent / "mixzoo" / "runs" / "paper_cells.json"
READINGS = ("paper", "authors")
BATCH = 64
METRICS = ["logistic_regression:baselines=true,images=10000,iterations=1000", "reconstruction"]

SCORE = {"paper": "disentanglement", "authors": "disentanglement:images=800,pool=737280"}  # of Table 4


@dataclass(frozen=True)
class Data:
    """A column of a table: the data, the code, the epochs that the caption states."""

    title: str
    spec: str
    images: int  # of one epoch
    latent: int  # feature maps of the code, of 4x4 each; of dSprites a vector of as many numbers
    epochs: int | None  # None if the caption states none: the scripts' number is used


DATA = {
    "mnist": Data("MNIST", "mnist", 50_000, 2, 2000),
    "kmnist": Data("KMNIST", "kmnist", 50_000, 2, 2000),
    "svhn": Data("SVHN", "svhn", 65_931, 2, 3500),
    "svhn_1k": Data("SVHN (1k)", "svhn:train_images=1000", 1000, 2, 4000),
    "svhn_5k": Data("SVHN (5k)", "svhn:train_images=5000", 5000, 2, 4000),
    "svhn_10k": Data("SVHN (10k)", "svhn:train_images=10000", 10_000, 2, 4000),
    "svhn_20k": Data("SVHN (20k)", "svhn:train_images=20000", 20_000, 2, 4000),
    "svhn_256": Data("SVHN (256)", "svhn", 65_931, 16, None),
    "cifar10_256": Data("CIFAR10 (256)", "cifar10", 40_000, 16, None),
    "cifar10_1024": Data("CIFAR10 (1024)", "cifar10", 40_000, 64, None),
    "dsprites": Data("dSprites", "sprites:images=737280", 737_280, 10, None),
}
METHODS = {
    "aegan": "AE+GAN",
    "vae": "VAE (beta = 100)",
    "mixup": "AMR, mixup",
    "bernoulli": "AMR, Bernoulli",
    "acai": "ACAI",
}


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    table: int
    data: str
    method: str
    k: int
    number: str  # the paper's: mean ± deviation in per cent
    lam: float
    epochs: int  # of the script

    @property
    def name(self) -> str:
        k = f"_k{self.k}" if self.method in ("mixup", "bernoulli") else ""
        return f"table{self.table}_{self.data}_{self.method}{k}"

    @property
    def title(self) -> str:
        k = f", k = {self.k}" if self.method in ("mixup", "bernoulli") else ""
        return f"{METHODS[self.method]}{k}"


def column(table: int, data: str, *rows: tuple[str, int, str, float, int]) -> list[Cell]:
    return [Cell(table, data, *row) for row in rows]


CELLS = [
    *column(
        1,
        "mnist",
        ("aegan", 2, "97.52 ± 0.29", 5, 2000),
        ("mixup", 2, "98.01 ± 0.10", 10, 2000),
        ("bernoulli", 2, "97.76 ± 0.58", 10, 2000),
        ("mixup", 3, "97.61 ± 0.15", 20, 2000),
        ("acai", 2, "98.66 ± 0.36", 2, 2000),
    ),
    *column(
        1,
        "kmnist",
        ("aegan", 2, "76.18 ± 1.79", 10, 5000),
        ("mixup", 2, "80.39 ± 3.11", 10, 6000),
        ("bernoulli", 2, "81.54 ± 3.46", 10, 6000),
        ("mixup", 3, "77.20 ± 0.43", 10, 6000),
        ("acai", 2, "84.67 ± 1.16", 10, 6000),
    ),
    *column(
        1,
        "svhn",
        ("aegan", 2, "37.01 ± 2.22", 5, 4500),
        ("mixup", 2, "43.98 ± 3.05", 10, 6000),
        ("bernoulli", 2, "38.31 ± 2.68", 10, 4500),
        ("mixup", 3, "47.34 ± 3.79", 10, 6000),
        ("acai", 2, "34.74 ± 1.12", 2, 6000),
    ),
    *column(
        2,
        "svhn_1k",
        ("aegan", 2, "22.71 ± 0.73", 10, 6000),
        ("mixup", 2, "21.89 ± 0.19", 10, 6000),
        ("bernoulli", 2, "22.59 ± 1.31", 20, 6000),
        ("mixup", 3, "22.96 ± 0.69", 10, 6000),
        ("acai", 2, "24.15 ± 1.65", 10, 6000),
    ),
    *column(
        2,
        "svhn_5k",
        ("aegan", 2, "25.35 ± 0.44", 10, 6000),
        ("mixup", 2, "25.41 ± 1.15", 20, 6000),
        ("bernoulli", 2, "26.07 ± 1.87", 20, 6000),
        ("mixup", 3, "29.92 ± 3.37", 10, 7000),
        ("acai", 2, "29.58 ± 1.08", 10, 7000),
    ),
    *column(
        2,
        "svhn_10k",
        ("aegan", 2, "26.18 ± 0.81", 10, 6000),
        ("mixup", 2, "30.87 ± 0.74", 10, 6000),
        ("bernoulli", 2, "30.12 ± 2.37", 10, 6000),
        ("mixup", 3, "31.87 ± 0.68", 10, 6000),
        ("acai", 2, "29.56 ± 0.97", 2, 6000),
    ),
    *column(
        2,
        "svhn_20k",
        ("aegan", 2, "29.21 ± 1.01", 20, 4000),
        ("mixup", 2, "36.27 ± 3.76", 10, 4000),
        ("bernoulli", 2, "35.98 ± 0.56", 10, 4000),
        ("mixup", 3, "37.04 ± 2.32", 10, 4000),
        ("acai", 2, "31.23 ± 0.31", 5, 4000),
    ),
    *column(
        3,
        "svhn_256",
        ("aegan", 2, "59.00 ± 0.12", 5, 6000),
        ("mixup", 2, "71.51 ± 1.35", 5, 6000),
        ("bernoulli", 2, "58.64 ± 2.18", 10, 4500),
        ("mixup", 3, "73.33 ± 3.23", 5, 4500),
        ("mixup", 4, "74.69 ± 1.11", 5, 4500),
        ("mixup", 6, "73.85 ± 0.84", 5, 6000),
        ("mixup", 8, "75.71 ± 1.29", 5, 4500),
        ("acai", 2, "68.64 ± 1.50", 2, 4500),
    ),
    *column(
        3,
        "cifar10_256",
        ("aegan", 2, "53.08 ± 0.28", 50, 3000),
        ("mixup", 2, "54.24 ± 0.42", 50, 3000),
        ("bernoulli", 2, "52.40 ± 0.51", 50, 3000),
        ("mixup", 3, "54.94 ± 0.37", 50, 3000),
        ("mixup", 4, "54.68 ± 0.33", 50, 3000),
        ("mixup", 6, "52.95 ± 0.92", 50, 3000),
        ("mixup", 8, "53.07 ± 1.04", 50, 3000),
        ("acai", 2, "50.06 ± 1.33", 20, 3000),
    ),
    *column(
        3,
        "cifar10_1024",
        ("aegan", 2, "59.93 ± 0.60", 50, 8000),
        ("mixup", 2, "60.80 ± 0.79", 50, 8000),
        ("bernoulli", 2, "59.81 ± 0.56", 50, 8000),
        ("mixup", 3, "61.68 ± 0.67", 50, 8000),
        ("mixup", 4, "61.72 ± 0.20", 50, 8000),
        ("mixup", 6, "60.34 ± 0.82", 50, 8000),
        ("mixup", 8, "59.75 ± 1.04", 50, 8000),
        ("acai", 2, "57.42 ± 1.29", 20, 8000),
    ),
    *column(
        4,
        "dsprites",
        ("vae", 2, "68.00 ± 3.89", 1, 500),
        ("aegan", 2, "45.12 ± 2.68", 1, 500),
        ("mixup", 2, "49.00 ± 6.72", 1, 500),
        ("bernoulli", 2, "53.00 ± 1.59", 1, 500),
        ("mixup", 3, "51.13 ± 4.95", 1, 1000),
        ("bernoulli", 3, "56.00 ± 0.91", 1, 500),
    ),
]


def config_of(zoo: Zoo, cell: Cell, reading: str) -> RunConfig:
    """The run of a cell in a reading."""
    flags = {"dataset": DATA[cell.data].spec, "mixer": mixer_of(cell, reading), **networks_of(cell, reading)}
    config = resolve(zoo, None, flags | {"objective": objective_of(cell, reading)}, numbers_of(cell, reading))
    metrics = METRICS if cell.table < 4 else [*METRICS[1:], SCORE[reading]]
    return RunConfig(
        config.names,
        config.parts,
        tuple((zoo.canonical("metric", spec), zoo.recipe("metric", spec)) for spec in metrics),
        config.train,
    )


def networks_of(cell: Cell, reading: str) -> dict[str, str]:
    authors = reading == "authors"
    if cell.table == 4:
        wide = 64 if authors and cell.method == "aegan" else 32
        variational = str(cell.method == "vae").lower()
        return {"autoencoder": f"dsprites:variational={variational}", "discriminator": f"dsprites:width={wide}"}
    init = "authors" if authors else "fan_in"
    return {"autoencoder": f"amr:latent={DATA[cell.data].latent},init={init}", "discriminator": "amr"}


def mixer_of(cell: Cell, reading: str) -> str:
    if cell.method != "bernoulli":
        return "mixup" if cell.k == 2 else f"dirichlet:k={cell.k}"
    authors = "batch" if cell.k == 2 else "unit"  # one p per batch; with three sources one per pick
    return f"bernoulli:k={cell.k},p_per={authors if reading == 'authors' else 'example'}"


def objective_of(cell: Cell, reading: str) -> str:
    authors = reading == "authors"
    if cell.method == "vae":  # the authors' KL was a mean over the 10 numbers of the code
        return "vae:likelihood=bernoulli,beta=" + ("10" if authors else "100")
    if cell.method == "acai":
        return f"acai:variant=amr,lam={cell.lam:g}" if authors else "acai:variant=official"
    recon = ("bce" if cell.table == 4 else "l1") if authors else "l2"
    name = "aegan" if cell.method == "aegan" else "amr"
    return f"{name}:lam={cell.lam:g},recon={recon}"


def numbers_of(cell: Cell, reading: str) -> dict[str, object]:
    """The fields of [train]. `steps` counts steps of D: an epoch is its batches."""
    data, authors = DATA[cell.data], reading == "authors"
    epochs = cell.epochs if authors or data.epochs is None else data.epochs
    epoch = max(1, round(data.images / BATCH))
    return {
        "steps": round(data.images * epochs / BATCH),
        "batch_images": BATCH,
        "d_steps": 5 if authors and cell.method != "vae" else 1,
        "lr": 1e-4,
        "probe_lr": 1e-4,
        "beta1": 0.9 if authors and cell.method == "vae" else 0.5,
        "beta2": 0.99,
        "weight_decay": 0.0 if authors and cell.table == 4 else 1e-5,
        "log_every": 100,
        "evaluate_every": epoch,
        "checkpoint_every": 10 * epoch,
    }


def header(cell: Cell, reading: str) -> str:
    """The comment at the top of the file."""
    lam = "" if cell.method == "vae" or (cell.method == "acai" and reading == "paper") else f", lambda {cell.lam:g}"
    where = "in the text" if reading == "paper" else "in the published scripts"
    start = "# D starts from the authors' initialisation: He-normal weights and zero biases, before spectral norm.\n"
    return (
        f"# AMR, Table {cell.table}, {DATA[cell.data].title}: {cell.title}{lam}, as {where}. The paper "
        f"reports {cell.number} %.\n"
        "# zoo_configs/README.md explains this number, and how the run differs from the paper's.\n"
        f"{start if cell.table == 4 and cell.method != 'vae' else ''}"
    )


def settings_of(cell: Cell, config: RunConfig) -> dict[str, Any]:
    """The keys of a run file that say what is trained, without the parts that the method does not use."""
    unused = {"aegan": ("mixer",), "vae": ("mixer", "discriminator")}.get(cell.method, ())
    values = dotted(tomllib.loads(config.to_toml()))
    skipped = {*FREE, *SAME_RUN, "dataset.download", "metrics"}
    return {key: v for key, v in values.items() if key not in skipped and key.partition(".")[0] not in unused}


def cells_file(settings: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The text of paper_cells.json, from reading -> cell -> settings; those that most cells have stand once.

    A cell that lacks one of these has null in its place.
    """
    shared = {}
    for reading, of_cells in settings.items():
        keys = dict.fromkeys(key for own in of_cells.values() for key in own)
        values = {key: [own.get(key) for own in of_cells.values()] for key in keys}
        shared[reading] = {key: common for key, found in values.items() if (common := mode(found)) is not None}
    rows = []
    for cell in CELLS:
        mean, std = (round(float(number) / 100, 6) for number in cell.number.split(" ± "))
        score = "probe.best_validation_accuracy" if cell.table < 4 else "disentanglement.authors"
        row: dict[str, Any] = {"name": cell.name, "table": cell.table, "score": score, "mean": mean, "std": std}
        for reading, of_cells in settings.items():
            own, common = of_cells[cell.name], shared[reading]
            row[reading] = {k: own.get(k) for k in {**common, **own} if own.get(k) != common.get(k)}
        rows.append(json.dumps(row))
    return f'{{"shared": {json.dumps(shared)},\n"cells": [\n' + ",\n".join(rows) + "\n]}\n"


def files() -> Iterator[tuple[Path, str]]:
    """Every file and its text."""
    zoo, settings = load_zoo(), dict[str, dict[str, dict[str, Any]]]()
    for reading in READINGS:
        settings[reading] = {}
        for cell in CELLS:
            config = config_of(zoo, cell, reading)
            settings[reading][cell.name] = settings_of(cell, config)
            yield HOME / reading / f"{cell.name}.toml", header(cell, reading) + config.to_toml()
    yield CELLS_FILE, cells_file(settings)


def table() -> Iterator[str]:
    """The lines of the table of cells."""
    yield "| table, column | system | λ | paper's number, % | file, in `paper/` and in `authors/` |"
    yield "|---|---|---|---|---|"
    for cell in CELLS:
        lam = "" if cell.method == "vae" else f"{cell.lam:g}"
        yield f"| {cell.table}, {DATA[cell.data].title} | {cell.title} | {lam} | {cell.number} | `{cell.name}.toml` |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true")
    if parser.parse_args().table:
        print("\n".join(table()))
        return
    for path, text in files():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
