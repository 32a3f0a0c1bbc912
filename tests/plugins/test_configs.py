"""Every file in zoo_configs/ loads, is complete, builds and takes two steps; the cells are as their script says."""

import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mixzoo.data.batches import on_device
from mixzoo.registry.config import RunConfig, resolve
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.run import start
from mixzoo.training.build import build_players
from mixzoo.training.step import train_step

pytestmark = pytest.mark.scripts

HOME = Path(__file__).parents[2] / "zoo_configs"
FILES = sorted(HOME.rglob("*.toml"))
ZOO, BATCH = load_zoo(), 8
NOT_OF_A_STEP = {  # what the loop reads, but neither building the parts nor a step
    **{"steps": 2, "batch_images": BATCH, "d_steps": 1, "keep_checkpoints": 1},
    **{"log_every": 1, "evaluate_every": 2, "checkpoint_every": 2},
}
README = (HOME / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def presets():
    sys.path.insert(0, str(HOME.parent / "benchmarks"))
    import figure_presets
    import paper_presets

    sys.path.pop(0)
    return SimpleNamespace(cells=paper_presets, figures=figure_presets)


def test_there_are_run_files():
    assert len(FILES) > 130


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOME).with_suffix("")))
def test_a_run_file_of_the_zoo_is_complete_builds_and_takes_two_steps(file):
    config = resolve(ZOO, file, {}, {})
    stated = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert "\n".join(stated).strip() == config.to_toml().strip()
    toy = "digits:train_images=40"
    if config.names["dataset"] == "sprites":
        toy = "sprites:images=60"
    if "attributes" in file.read_text():
        toy += ",attributes=even+large+loop"
    same = resolve(ZOO, file, {"dataset": toy}, NOT_OF_A_STEP)
    take_two_steps(Resolved(same.to_toml().partition("[dataset]")[2], toy, same))  # metrics come before the data set


@dataclass(frozen=True)
class Resolved:
    """A run file on toy data. Files with equal text take equal steps, so that these are taken once."""

    text: str
    toy: str
    config: RunConfig = field(compare=False)


@cache
def take_two_steps(resolved):
    config, cpu = resolved.config, torch.device("cpu")
    data = toy_data(resolved.toy)
    players = build_players(ZOO, config, data, cpu)
    images = on_device(data.train, cpu, BATCH)
    before = [parameter.clone() for parameter in players.autoencoder.parameters()]
    for step in range(2):
        draws = players.draw(0, step, batch=BATCH)
        report = train_step(players, *images.batch(step), draws)
        assert all(value.isfinite() for value in report.values())
    assert not all(map(torch.equal, before, players.autoencoder.parameters()))


@cache
def toy_data(spec):
    """A few images in place of data that are files, or many."""
    return ZOO.recipe("dataset", spec).load(0)


@pytest.mark.parametrize("name", ["digits", "authors/table1_kmnist_acai", "paper/table4_dsprites_vae"])
def test_a_run_file_of_the_zoo_trains_and_is_scored(name, tmp_path):
    file = HOME / f"{name}.toml"
    toy = {"dataset": "sprites:images=60" if "dsprites" in name else "digits:train_images=128"}
    result = start(ZOO, resolve(ZOO, file, toy, {"steps": 2, "batch_images": 16}), tmp_path / "run")
    assert result.steps == 2
    assert result.numbers["reconstruction.l1"] > 0
    assert ("disentanglement.factorvae" in result.numbers) == ("dsprites" in name)


def test_every_cell_of_the_paper_has_its_file_in_both_readings(presets):
    cells = [cell.name for cell in presets.cells.CELLS]
    assert len(cells) == len(set(cells)) == 65
    for reading in presets.cells.READINGS:
        assert sorted(f.stem for f in (HOME / reading).glob("*.toml")) == sorted(cells)


@pytest.mark.parametrize("script", ["cells", "figures"])
def test_run_files_are_what_their_script_writes(script, presets):
    written = list(getattr(presets, script).files())
    differing = [path.name for path, text in written if path.read_text() != text]
    assert not differing, f"run `python {getattr(presets, script).__file__}`: {differing[:3]} are not as it writes them"


@pytest.mark.parametrize("script", ["cells", "figures"])
def test_the_readme_has_the_table_of_run_files(script, presets):
    missing = [line for line in getattr(presets, script).table() if line not in README]
    assert not missing, missing[:2]


def test_figures_have_no_other_run_files(presets):
    names = [preset.name for preset in presets.figures.PRESETS]
    assert sorted(f.stem for f in (HOME / "figures").glob("*.toml")) == sorted(names)


def test_readings_differ_where_the_readme_says(presets):
    cell = next(c for c in presets.cells.CELLS if c.name == "table1_mnist_bernoulli_k2")
    paper, authors = (presets.cells.config_of(ZOO, cell, reading) for reading in presets.cells.READINGS)
    assert (paper.parts["objective"].recon, authors.parts["objective"].recon) == ("l2", "l1")
    assert (paper.train.d_steps, authors.train.d_steps) == (1, 5)
    assert (paper.parts["mixer"].p_per, authors.parts["mixer"].p_per) == ("example", "batch")
    assert (paper.parts["autoencoder"].init, authors.parts["autoencoder"].init) == ("fan_in", "authors")
    assert paper.train.steps == authors.train.steps == 1_562_500  # 2,000 epochs of 50,000 in batches of 64
    assert paper.names == authors.names
