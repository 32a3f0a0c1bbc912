"""BetaVAE, MIG, DCI, SAP and InfoMEC of codes whose scores are known."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from test_disentanglement import Reads

from mixzoo import DataError, Dataset, FinishedRun, NonFiniteError, Split
from mixzoo.registry.zoo import load_zoo
from mixzoo_metrics.factors import value_indices
from mixzoo_metrics.importance import disentanglement_and_completeness
from mixzoo_metrics.information import mutual_information
from toys import ToyData

ZOO = load_zoo()
VALUES = (3, 4, 5)  # of three factors
COPIES = 12  # of each combination
TURN = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3))).Q
SPECS = {
    "beta_vae": "beta_vae:votes=300,pairs=32",
    "mig": "mig",
    "dci": "dci:trees=40,images=720",
    "sap": "sap:images=720",
    "infomec": "infomec:images=720",
}


def grid(*columns):
    """Images that hold the factors, each combination as often."""
    values = columns or [torch.arange(n).float() for n in VALUES]
    factors = torch.cartesian_prod(*values).reshape(-1, len(values)).repeat(COPIES, 1)
    factors = factors[torch.randperm(len(factors), generator=torch.Generator().manual_seed(0))]
    points = (factors / factors.amax(0).clamp(min=1))[:, :, None, None]
    third = len(points) // 3
    splits = [
        Split(p, torch.zeros(len(p), dtype=torch.int64), g)
        for p, g in zip(points.split(third), factors.split(third), strict=False)
    ]
    return Dataset(*splits[:3], class_names=(), source="grid", factor_names=tuple("abcde"[: len(values)]))


DATA = grid()


def scored(name, f, data=DATA):
    run = FinishedRun(Reads(f), ZOO.recipe("mixer", "mixup"), data, seed=0, device="cpu")
    return ZOO.recipe("metric", SPECS[name])(run)


def noise(x, width):
    """Numbers that say nothing of the factors; equal images have equal ones, as codes have."""
    phase = torch.sin(12345.678 * (x @ torch.tensor([1.0, 2.3, 3.7])))
    return torch.stack([torch.sin((n + 2) * 777 * phase) for n in range(width)], 1)


CODES = {
    "perfect": lambda x: x,
    "permuted": lambda x: torch.stack([-100 * x[:, 2], x[:, 0], 3 + x[:, 1]], 1),
    "dead": lambda x: torch.cat([x, torch.zeros(len(x), 2), torch.full((len(x), 1), 0.1)], 1),
    "rotated": lambda x: (x - 0.5) @ TURN,
    "noisy": lambda x: x + 0.3 * noise(x, 3),
    "constant": lambda x: torch.full((len(x), 3), 0.7),
}


@cache
def of(name, code):
    return scored(name, CODES[code])


HIGHEST = {  # of a perfect code
    "beta_vae": {"accuracy": (0.99, 1.0)},
    "mig": {"score": (0.999, 1.001)},
    "dci": {"disentanglement": (0.98, 1.0), "completeness": (0.98, 1.0), "informativeness": (0.98, 1.0)},
    "sap": {"r2": (0.99, 1.0), "svm": (0.1, 0.7)},
    "infomec": {"modularity": (0.9, 1.0), "explicitness": (0.9, 1.0), "compactness": (0.9, 1.0)},
}
SCORES = [(name, score) for name, scores in HIGHEST.items() for score in scores]


@pytest.mark.parametrize("code", ["perfect", "permuted", "dead"])
@pytest.mark.parametrize("name", SPECS)
def test_a_perfect_code_has_the_highest_score_in_any_order_and_scale_and_beside_dead_numbers(name, code):
    scores = of(name, code)
    assert scores.keys() == HIGHEST[name].keys()
    for score, (low, high) in HIGHEST[name].items():
        assert low <= scores[score] <= high, score


@pytest.mark.parametrize(("name", "score"), SCORES)
def test_a_constant_code_has_the_lowest_score(name, score):
    lowest = 1 / 3 if name == "beta_vae" else 0
    assert of(name, "constant")[score] == pytest.approx(lowest, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("mig", "score"),
        ("dci", "disentanglement"),
        ("dci", "completeness"),
        ("sap", "r2"),
        ("infomec", "modularity"),
        ("infomec", "compactness"),
    ],
)
def test_a_rotation_mixes_the_factors(name, score):
    assert of(name, "rotated")[score] < of(name, "perfect")[score] - 0.3


def test_a_rotation_keeps_what_is_in_the_code():
    assert of("dci", "rotated")["informativeness"] > 0.85
    assert of("infomec", "rotated")["explicitness"] > 0.9


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("mig", "score"),
        ("dci", "disentanglement"),
        ("dci", "informativeness"),
        ("sap", "r2"),
        ("infomec", "explicitness"),
    ],
)
def test_noise_costs(name, score):
    assert 0 < of(name, "noisy")[score] < of(name, "perfect")[score] - 0.02


def test_a_factor_in_two_numbers_is_disentangled_and_modular_but_neither_complete_nor_compact_nor_a_gap():
    def twice(x):
        return torch.cat([x, x[:, :1] ** 2 + x[:, :1], x[:, 1:2] ** 2, x[:, 2:].exp()], 1)

    assert scored("mig", twice)["score"] == pytest.approx(0, abs=1e-6)
    infomec = scored("infomec", twice)
    assert infomec["modularity"] > 0.9
    assert infomec["compactness"] < 0.5


def test_two_factors_in_one_number_are_neither_disentangled_nor_modular():
    def together(x):
        return torch.stack([3 * x[:, 0] + x[:, 1] + 0.5 * x[:, 2]], 1)

    assert scored("dci", together)["disentanglement"] < 0.3
    assert scored("infomec", together)["modularity"] < 0.6
    assert scored("infomec", together)["compactness"] == 1.0


def test_scores_of_importances_that_are_worked_out_by_hand():
    one_each = disentanglement_and_completeness(np.eye(3))
    assert one_each == {"disentanglement": pytest.approx(1), "completeness": pytest.approx(1)}
    spread = disentanglement_and_completeness(np.full((4, 2), 0.25))
    assert spread == {"disentanglement": pytest.approx(0), "completeness": pytest.approx(0)}
    # Number 0 serves both factors alike, number 1 the second: ρ = (3/4, 1/4), H = (H(2/3, 1/3), 0).
    mixed = disentanglement_and_completeness(np.array([[1.0, 0.5], [0.0, 0.5]]))
    entropy = -(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))
    assert mixed == {
        "disentanglement": pytest.approx(0.75 * (1 - entropy) + 0.25),
        "completeness": pytest.approx((1 + 0) / 2),
    }
    assert disentanglement_and_completeness(np.zeros((3, 2))) == {"disentanglement": 0.0, "completeness": 0.0}


def test_the_gap_of_two_values_is_what_a_threshold_gains_over_chance():
    two = grid(*[torch.tensor([0.0, 1.0])] * 3)
    assert scored("sap", CODES["perfect"], two)["svm"] == pytest.approx(0.5, abs=0.12)  # 1 minus chance
    assert scored("sap", CODES["perfect"], two)["r2"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", SPECS)
def test_scores_of_a_run_repeat(name):
    assert scored(name, CODES["noisy"]) == of(name, "noisy")


@pytest.mark.parametrize("name", SPECS)
def test_data_without_known_factors_are_refused(name):
    with pytest.raises(DataError, match="toy bars: its factors are not known"):
        ZOO.recipe("metric", SPECS[name]).check_data(ToyData().load(0))


@pytest.mark.parametrize("name", ["beta_vae", "dci", "infomec"])
def test_a_single_factor_is_refused_by_scores_that_compare_factors(name):
    with pytest.raises(DataError, match="grid: 1 of its factors varies, and this score needs 2"):
        ZOO.recipe("metric", SPECS[name]).check_data(grid(torch.arange(9).float()))


@pytest.mark.parametrize("name", ["mig", "sap"])
def test_a_single_factor_has_a_gap(name):
    scores = scored(name, CODES["perfect"], grid(torch.arange(9).float()))
    assert scores["score" if name == "mig" else "r2"] == pytest.approx(1)


@pytest.mark.parametrize("name", SPECS)
def test_codes_that_are_not_finite_are_refused_as_such(name):
    with pytest.raises(NonFiniteError, match="the code of an image is not finite"):
        scored(name, lambda x: x.log())


def test_mutual_information_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    a = rng.integers(7, size=500)
    for b in (a, rng.integers(4, size=500), (a + rng.integers(2, size=500)) // 2, 0 * a):
        assert mutual_information(a, b) == pytest.approx(mutual_info_score(a, b), abs=1e-12)


def test_values_are_numbered_and_continuous_ones_grouped():
    assert value_indices(np.array([2.5, -1.0, 2.5, 7.0])).tolist() == [1, 0, 1, 2]
    grouped = value_indices(np.random.default_rng(0).normal(size=1000))
    assert np.bincount(grouped).tolist() == [50] * 20
