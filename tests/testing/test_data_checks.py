"""Each check of data sets and metrics finds its planted bug, and all registered ones pass."""

import os
import re
from pathlib import Path

import pytest
from correct_datasets import Bars, Filed, Many, Spectral, Streams, Tagged, Unlabelled
from planted_datasets import PLANTED_DATASETS
from planted_metrics import PLANTED_METRICS, Spread
from planted_statistics import DOUBTFUL

from mixzoo.registry.zoo import load_zoo
from mixzoo.testing.datasets import dataset_checks
from mixzoo.testing.metrics import metric_checks
from mixzoo.testing.report import run_check, run_checks
from toys import ToyData

pytestmark = pytest.mark.kit

CHECKS = {"dataset": dataset_checks, "metric": metric_checks}
PLANTED = [*[("dataset", *row) for row in PLANTED_DATASETS], *[("metric", *row) for row in PLANTED_METRICS]]
DATA = Path(os.environ.get("MIXZOO_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@pytest.mark.parametrize(("kind", "bug", "part", "name", "words"), PLANTED, ids=lambda value: str(value))
def test_a_planted_bug_is_found_by_its_check(kind, bug, part, name, words):
    (check,) = [check for check in CHECKS[kind] if check.name == name]
    outcome = run_check(check, part(), "low")
    assert outcome.status == "failed", bug
    assert re.search(words, outcome.detail)


@pytest.mark.parametrize(("bug", "part", "name", "words"), DOUBTFUL, ids=lambda value: str(value))
def test_a_probable_mistake_is_a_warning(bug, part, name, words):
    (check,) = [check for check in dataset_checks if check.name == name]
    outcome = run_check(check, part(), "low")
    assert outcome.status == "doubtful", bug
    assert re.search(words, outcome.detail)


def test_every_check_of_data_sets_and_metrics_has_a_planted_bug():
    assert {check.name for checks in CHECKS.values() for check in checks} == {
        name for *_, name, _ in [*PLANTED, *DOUBTFUL]
    }


def assert_passes_everything(kind, part, effort="low"):
    """The report, after asserting that nothing failed and nothing was skipped."""
    report = run_checks(part, kind, CHECKS[kind], effort=effort)
    assert [outcome.line for outcome in report.failed] == []
    assert not report.skipped
    return report


@pytest.mark.parametrize(
    "recipe",
    [
        Bars(),
        Bars(train_images=20),
        Spectral(channels=2),
        Spectral(channels=4),
        Spectral(),
        Filed(),
        Streams(),
        Tagged(),
        Unlabelled(),
        ToyData(),
        Many(),
    ],
    ids=repr,
)
def test_a_correct_data_set_passes_everything(recipe):
    report = assert_passes_everything("dataset", recipe)
    labelled = not isinstance(recipe, Unlabelled)
    assert len(report.passed) == 17 + 2 * labelled + isinstance(recipe, Filed | Streams)
    assert not report.doubtful


MADE = ("digits", "spiral", "lines", "sprites")  # data sets that need no files


@pytest.mark.parametrize(
    "spec",
    [*MADE, "digits:train_images=100", "spiral:noise=0.02,train_images=50", "sprites:images=2000,attributes=large+low"],
)
def test_a_data_set_that_needs_no_files_passes_everything(spec):
    report = assert_passes_everything("dataset", load_zoo().recipe("dataset", spec))
    streamed, unlabelled = spec.startswith("sprites"), spec.startswith(("spiral", "lines"))
    assert len(report.passed) == 19 + streamed - 2 * unlabelled
    assert not report.doubtful


@pytest.mark.parametrize("name", [entry.name for entry in load_zoo().of_kind("dataset") if entry.name not in MADE])
def test_a_data_set_without_its_files_is_not_checked_and_the_report_says_so(name, tmp_path):
    option = "path" if name in ("folder", "hf") else "root"
    report = assert_passes_everything("dataset", load_zoo().recipe("dataset", f'{name}:{option}="{tmp_path / "no"}"'))
    assert [outcome.check.name for outcome in report.passed] == ["a_missing_folder_is_a_data_error"]
    assert all(outcome.detail.startswith("no data: ") for outcome in report.not_applicable)
    assert all(str(tmp_path) in outcome.detail for outcome in report.not_applicable)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_downloaded_data_sets_pass_everything(name):
    recipe = load_zoo().recipe("dataset", f'{name}:root="{DATA}"')
    report = assert_passes_everything("dataset", recipe)
    if len(report.passed) == 1:
        pytest.skip(f"no data under {DATA}")
    assert len(report.passed) == 20


def test_a_correct_metric_passes_everything():
    assert len(assert_passes_everything("metric", Spread()).passed) == 10


QUICK = {
    "conditioned_labels": "conditioned_labels:steps=4,mixes=20",
    "label_arithmetic": "label_arithmetic:steps=4",
    "disentanglement": "disentanglement:votes=20",
    "mlp_probe": "mlp_probe:epochs=2,width=8",
    "fidelity": "fidelity:classifier_steps=4,images=20,fid=false",
    "foreign_class": "foreign_class:steps=4,mixes=20",
    "mix_copies": "mix_copies:mixes=20",
    "path_smoothness": "path_smoothness:mixes=20,pairs=8,steps=4",
    "beta_vae": "beta_vae:votes=20,pairs=4",
    "dci": "dci:trees=4",
}


SLOW = ("infomec", "sap")  # which fit a model for each number of the code
METRICS = [
    pytest.param(entry.name, marks=pytest.mark.slow) if entry.name in SLOW else entry.name
    for entry in load_zoo().of_kind("metric")
]


@pytest.mark.parametrize("name", METRICS)
def test_every_registered_metric_passes_everything(name):
    assert len(assert_passes_everything("metric", load_zoo().recipe("metric", QUICK.get(name, name))).passed) == 10
