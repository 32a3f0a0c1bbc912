"""The messages for broken mixers, and what is not a failure."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt
from correct_regions import Stripes
from planted import Learned, Weights
from planted_labels import AimsAtTheMean, TakesVectorsForClasses
from planted_numbers import CountsInAList, DividesByAUniform, ReadsItsDefault
from planted_regions import BeginsAtTheSecondRow, HalvesTheRest, MixesNeighboursAlone, OneBoxForAllSources

from mixzoo.core.parts import CodeShape
from mixzoo.testing import mixer_checks
from mixzoo.testing.cases import MixerCase
from mixzoo.testing.held_state import changed, state_held
from mixzoo.testing.mixer_labels import labelled
from mixzoo.testing.mixer_mixes import check_contexts_change_nothing
from mixzoo.testing.option_values import other_values, variant
from mixzoo.testing.report import run_check

pytestmark = pytest.mark.kit

CHECKS = {check.name: check for check in mixer_checks}


@pytest.mark.parametrize(
    ("part", "check", "words"),
    [
        (
            OneBoxForAllSources(),
            "sources_meet_in_one_mix",
            "none of 3200 mixes uses more than two of its 3 sources",
        ),
        (MixesNeighboursAlone(), "sources_meet_in_one_mix", "sources 0 and 2 never occur together in 3200 mixes"),
        (HalvesTheRest(), "no_two_sources_are_tied", "the shares of sources 1 and 2 are linearly dependent"),
        (
            BeginsAtTheSecondRow(),
            "maps_are_cut_everywhere",
            "12 of 48 positions, from (0, 0) to (0, 11), have the same shares",
        ),
        (
            AimsAtTheMean(),
            "aimed_labels_at_a_corner",
            "with labels as class numbers, at corner 0 y_mix differs by 0.67",
        ),
        (TakesVectorsForClasses(), "aimed_labels_at_a_corner", "with labels as vectors, some unknown, at corner "),
        (CountsInAList(), "draws_and_calls_leave_no_trace", "draws and calls change seen has (3, then 12)"),
        (
            DividesByAUniform(),
            "draws_survive_extreme_numbers",
            "with one number of rand as small as it can be, the draw",
        ),
        (
            ReadsItsDefault(),
            "every_option_is_read",
            "alpha=0.001 gives the same draws and mixes as alpha=0.7, bit for bit; is it",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_says_what_was_found(part, check, words):
    assert words in run_check(CHECKS[check], part, "low").detail


class Stacks(Weights):
    def __call__(self, h, draw, labels=None):
        mixed = super().__call__(h, draw, labels)
        return mixed._replace(h=torch.stack([mixed.h, mixed.h])[0].clone())


class FailsUnderAutocast(Weights):
    def __call__(self, h, draw, labels=None):
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("autocast is not for this")
        return super().__call__(h, draw, labels)


def test_an_error_of_autocast_itself_in_float16_is_not_a_failure():
    shape = CodeShape(2, (3, 2, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(RuntimeError, match="autocast"):
        torch.stack([torch.ones(1, dtype=torch.float16)])
    check_contexts_change_nothing(MixerCase(Stacks(), shape, dtype=torch.float16))
    with pytest.raises(RuntimeError, match="autocast is not for this"):
        check_contexts_change_nothing(MixerCase(FailsUnderAutocast(), shape, dtype=torch.float32))


def test_a_mixer_that_rejects_label_vectors_is_not_checked_with_them():
    assert [given.form for given in labelled(Learned())] == ["class numbers"]
    assert [given.form for given in labelled(AimsAtTheMean())] == [
        *("class numbers", "one-hot vectors", "vectors, some unknown", "attributes", "attributes, some unknown")
    ]


@dataclass(frozen=True)
class Options:
    k: Annotated[int, Ge(2), Le(3)] = 3
    p: Annotated[float, Ge(0), Le(1), "a chance"] | None = None
    rate: Annotated[float, Gt(0)] = 0.1
    part: Annotated[float, Ge(0), Lt(1)] = 0.5
    size: Annotated[int, Ge(1), Le(1000)] = 4
    flag: bool = False
    law: Literal["a", "b", "c"] = "b"
    name: str = "text"


def test_other_values_are_from_the_declared_range_of_an_option():
    assert other_values(Options()) == {
        "k": [2],
        "p": [0.0, 1.0, 0.5],
        "rate": [0.001, pytest.approx(1.4)],
        "part": [0.0, 0.999],
        "size": [1, 12],
        "flag": [True],
        "law": ["a", "c"],
        "name": [],
    }
    assert variant(Options(), "law", "a") == Options(law="a")


@dataclass
class Holds:
    seen: list
    table: dict
    number: float = 0.0

    @cached_property
    def kept(self):
        return torch.zeros(2)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda h: h.seen.append(1), "seen has (1, then 2)"),
        (lambda h: h.seen[0].add_(1), "seen[0]"),
        (lambda h: h.table["inner"].update(a=2), "table['inner']['a'] (1, then 2)"),
        (lambda h: setattr(h, "number", 1.0), "number ('0.0', then '1.0')"),
        (lambda h: setattr(h, "other", 1), "other ('nothing', then 1)"),
        (lambda h: h.kept.add_(1), "kept"),
    ],
)
def test_a_changed_attribute_is_named(change, where):
    holds = Holds([torch.zeros(2)], {"inner": {"a": 1}})
    assert holds.kept.sum() == 0
    before = state_held(holds)
    assert not changed(before, state_held(holds))
    change(holds)
    assert changed(before, state_held(holds)) == where


def test_stripes_of_equal_width_are_patches_of_equal_size():
    for way in ("rows", "columns"):
        assert run_check(CHECKS["maps_are_cut_everywhere"], Stripes(way=way), "low").status == "passed"
