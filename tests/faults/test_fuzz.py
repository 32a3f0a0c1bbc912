"""Damaged bytes for every reader: nothing but an own error escapes (benchmarks/fuzz.py looks much longer)."""

import random
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
from fuzz_targets import TARGETS, Target, holds
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mixzoo.core.errors import DataError

pytestmark = pytest.mark.faults
INPUTS, TOGETHER = 2000, 20  # of each reader; of one example of hypothesis, which takes longer than a reader
CRASHES = Path(__file__).parent / "crashes"
FUZZ = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
WORDS = (
    b"\0",
    b"\xff",
    b"-1",
    b"1e400",
    b"nan",
    b"null",
    b"true",
    b"[[[[",
    b"{}",
    b'"',
    b"\\u001b",
    b"\n",
    b"=",
    b"\x80",
)


def damaged(seeds, number):
    """A seed with some bytes changed, inserted, removed or doubled, as `number` decides."""
    rng = random.Random(number)
    content = bytearray(rng.choice(seeds))
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(content) + 1)
        match rng.randrange(6):
            case 0:
                content[at:] = b""
            case 1:
                content[at : at + rng.randrange(1, 17)] = b""
            case 2:
                content[at:at] = content[at : at + rng.randrange(1, 65)]
            case 3:
                content[at:at] = rng.choice(WORDS)
            case 4:
                content[at : at + 4] = rng.randrange(2**32).to_bytes(4, rng.choice(["big", "little"]))
            case _:
                content[at : at + 1] = bytes([rng.randrange(256)])
    return bytes(content)


def fuzz(target, inputs=INPUTS):
    """The number of inputs that the reader refused; raises what escapes it, with the numbers that show it."""
    seeds, refused = target.seeds(), 0

    @settings(
        max_examples=inputs // TOGETHER, derandomize=True, deadline=None, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**64 - 1))
    def tried(number):
        nonlocal refused
        for i in range(TOGETHER):
            refused += not holds(target, damaged(seeds, number + i))

    tried()
    return refused


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_an_own_error_escapes_a_reader(name):
    assert fuzz(TARGETS[name]) > INPUTS / 10  # it has seen damage


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_that_once_showed_a_bug_are_refused_or_read(name):
    for file in CRASHES.glob(f"{name}-*"):
        holds(TARGETS[name], file.read_bytes())


def planted(content, error):
    if content[2:3] == b"\xff":
        raise error
    raise DataError("refused")


@pytest.mark.parametrize("error", [IndexError("list"), RecursionError(), DataError("two\nlines\nof four\nlines")])
def test_a_reader_with_a_bug_is_found(error):
    if isinstance(error, DataError):
        error = type("Raw", (DataError,), {"__str__": lambda self: "a\x1b[31m"})()
    with pytest.raises((IndexError, RecursionError, AssertionError)):
        fuzz(Target(partial(planted, error=error), lambda: [b"abcdef"]))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed (pip install 'mixzoo[fuzz]')")
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_an_own_error_escapes_a_reader_guided_by_coverage(name, tmp_path):
    command = [sys.executable, FUZZ, name, "--seconds", "20", "--keep", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {name} |" in done.stdout
