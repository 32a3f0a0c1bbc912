"""The paper's numbers beside the runs that are cells of its tables."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from test_listing import made

from mixzoo import compare
from mixzoo.runs.listing import flat
from mixzoo.runs.paper import SOURCE, match, paper_cells

ZOO_CONFIGS = Path(__file__).parents[2] / "zoo_configs"


def cell_run(path, file, *edits, **numbers):
    """The files of a run of this run file, with some lines of it edited."""
    made(path, **numbers)
    text = (ZOO_CONFIGS / file).read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (path / "run.toml").write_text(text, encoding="utf-8")


def test_every_run_file_of_the_paper_is_its_cell_in_its_reading():
    files = sorted(file for reading in ("paper", "authors") for file in (ZOO_CONFIGS / reading).glob("*.toml"))
    assert len(files) == 2 * len(paper_cells())
    for file in files:
        text = file.read_text(encoding="utf-8")
        found = match(flat(tomllib.loads(text)))
        assert (found.cell.name, found.reading, found.differences) == (file.stem, file.parent.name, {})
        stated = re.search(r"The paper reports ([0-9.]+) ± ([0-9.]+) %", text)
        assert stated.groups() == (f"{100 * found.cell.mean:.2f}", f"{100 * found.cell.std:.2f}")


@pytest.mark.parametrize(
    ("edit", "is_the_cell"),
    [
        (("latent = 2", "latent = 4"), False),
        (("lam = 10.0", "lam = 5.0"), False),
        (('name = "mnist"', 'name = "mnist"\ntrain_images = 1000'), False),
        (('law = "uniform"', 'law = "beta"'), False),
        (('name = "mixup"\nlaw = "uniform"', 'name = "dirichlet"\nk = 2\nalpha = 1.0'), True),
        (('name = "mixup"\nlaw = "uniform"', 'name = "dirichlet"\nk = 2\nalpha = 0.5'), False),
        (("steps = 1562500", "steps = 1000"), True),
        (('device = "auto"', 'device = "cuda"'), True),
    ],
)
def test_a_cell_is_its_data_code_size_objective_and_mixer(edit, is_the_cell):
    text = (ZOO_CONFIGS / "paper" / "table1_mnist_mixup_k2.toml").read_text(encoding="utf-8")
    found = match(flat(tomllib.loads(text.replace(*edit))))
    assert (found is not None) == is_the_cell


@pytest.fixture
def folder(tmp_path):
    short = [("steps = 1562500", "steps = 1000"), ("beta1 = 0.5", "beta1 = 0.9")]
    score = {"probe__best_validation_accuracy": 0.9, "reconstruction__l1": 0.1}
    cell_run(tmp_path / "a", "paper/table1_mnist_mixup_k2.toml", *short, **score)
    cell_run(tmp_path / "b", "paper/table1_mnist_mixup_k3.toml", *short, **score)
    cell_run(tmp_path / "c", "paper/table1_mnist_mixup_k3.toml", *short, ("k = 3", "k = 5"), **score)
    return tmp_path


def test_the_papers_number_stands_after_the_score_of_its_row(mixzoo, folder):
    code, out, err = mixzoo("compare", folder, "--paper", "--format", "md")
    assert (code, err) == (0, "")
    head, _, *rows = out.splitlines()
    scores = "probe: best validation accuracy, % | paper: probe: best validation accuracy, % | reconstruction: l1"
    assert head == f"| | runs | {scores} |"
    numbers = {row.split(" | ")[0]: row.split(" | ")[3] for row in rows[:3]}
    assert list(numbers.values()) == ["98.01 ± 0.10", "97.61 ± 0.15", "-"]
    assert out == str(compare(folder, paper=True))
    assert [line for line in rows[3:] if line] == [
        SOURCE,
        "the paper's run, in its text, differs: train.steps 1562500, here 1000; train.beta1 0.5, here 0.9",
    ]
    assert "paper" not in str(compare(folder))


def test_every_format_has_the_papers_number_even_if_the_score_is_no_column(mixzoo, folder):
    plain = mixzoo("compare", folder, "--paper", "--score", "reconstruction")[1]
    assert "98.01 ± 0.10" in plain
    assert "differs: train.steps 1562500, here 1000" in plain
    assert r"98.01 $\pm$ 0.10" in mixzoo("compare", folder, "--paper", "--format", "latex")[1]
    assert ",0.9801,0.001,3,," in mixzoo("compare", folder, "--paper", "--format", "csv")[1]
    rows = json.loads(mixzoo("compare", folder, "--paper", "--format", "json")[1])
    assert rows[0]["scores"]["paper.probe.best_validation_accuracy"]["mean"] == 0.9801


def test_rows_with_other_differences_are_told_apart(folder, tmp_path):
    edits = [("steps = 1562500", "steps = 1000"), ("beta1 = 0.5", "beta1 = 0.9"), ("depth = 16", "depth = 8")]
    score = {"probe__best_validation_accuracy": 0.9}
    cell_run(tmp_path / "d", "authors/table1_mnist_acai.toml", *edits, **score)
    lines = str(compare(folder, paper=True)).splitlines()
    assert sum("the paper's run, in its text, differs: train.steps" in line for line in lines) == 1
    (acai,) = [line for line in lines if "in the published scripts" in line]
    assert "acai" in acai.split(": the paper's run")[0]
    assert "autoencoder.depth 16, here 8; discriminator.depth 16, here 8" in acai


def test_a_line_says_that_no_row_is_a_run_of_the_paper(tmp_path):
    made(tmp_path / "a", knn__accuracy=0.5)
    assert "paper: no row is a run of its tables" in str(compare(tmp_path, paper=True))
