"""Calls of a part: whatever it raises is an error of one line that names it."""

import asyncio
import re

import pytest

from mixzoo import ConfigError, PluginError
from mixzoo.core.errors import LeaveBlock
from mixzoo.registry.contract import Contract, check_follows_protocol
from toys import SMALL, TOYS

CONTRACT = Contract("launcher", "mine", "a test")


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError


class Own(BaseException):
    pass


def raising(err):
    def part():
        raise err

    return part


@pytest.mark.parametrize(
    ("err", "words"),
    [
        (SystemExit(0), "SystemExit: 0 "),
        (SystemExit(), "SystemExit "),
        (GeneratorExit(), "GeneratorExit "),
        (asyncio.CancelledError(), "CancelledError "),
        (Own("two\nlines"), "Own: two "),
        (Speechless(), "Speechless "),
        (StopIteration(3), "StopIteration: 3 "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_part_raises_is_an_error_of_the_plugin(err, words):
    """A SystemExit would end the command with its own exit code, and one of 0 would be taken for a success."""
    line = rf"begin raised {words}\(test_contract.py, line \d+\); expected begin\(job\) -> a task with"
    with pytest.raises(PluginError, match=rf"^launcher 'mine' \(a test\): {line}[^\n]*$"):
        CONTRACT.call("begin", raising(err))


@pytest.mark.parametrize("err", [KeyboardInterrupt(), LeaveBlock("a signal"), ConfigError("no"), MemoryError()])
def test_signals_and_errors_that_the_user_can_act_on_are_raised_as_they_are(err):
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        CONTRACT.call("begin", raising(err))
    assert raised.value is err


def test_a_method_that_takes_other_arguments_is_named_with_those_that_it_gets():
    with pytest.raises(PluginError, match=r": begin_all cannot be called with jobs, at_once: too many positional arg"):
        CONTRACT.check_takes("begin_all", lambda jobs: [], "jobs", "at_once")
    with pytest.raises(PluginError, match=r": check cannot be called with no argument: missing a required argument"):
        CONTRACT.check_takes("check", lambda job: None)
    with pytest.raises(PluginError, match=r": begin is 5, which cannot be called; expected begin\(job\) -> a task"):
        CONTRACT.check_takes("begin", 5, "job")


def test_a_member_that_is_none_or_fails_is_named():
    class Failing:
        @property
        def begin(self):
            raise OSError("no network")

    class Empty:
        begin = None

    with pytest.raises(PluginError, match=r": begin raised OSError: no network \(test_contract.py, line"):
        check_follows_protocol(CONTRACT, Failing())
    with pytest.raises(PluginError, match=r" is not a valid Launcher: it lacks begin; expected begin\(job\)"):
        check_follows_protocol(CONTRACT, Empty())


EXITS = """
import sys
from dataclasses import dataclass

import mixzoo


class Leaving(mixzoo.LinearMixer):
    k, calls = 2, 0

    def draw(self, shape, rng):
        self.calls += 1
        return sys.exit(0) if self.calls == 11 else shape.broadcast(mixzoo.dirichlet((2, shape.batch), 1.0, rng))


@dataclass(frozen=True)
class Later:
    def build(self, context):
        return Leaving()


@dataclass(frozen=True)
class Soon:
    def __post_init__(self):
        sys.exit(0)

    def build(self, context):
        return None


@dataclass(frozen=True)
class Chained:
    def __post_init__(self):
        try:
            import no_such_package_of_any_name
        except ImportError as err:
            raise SystemExit(0) from err

    def build(self, context):
        return None


@mixzoo.hookimpl
def mixzoo_mixers():
    return {"later": Later, "soon": Soon, "chained": Chained}
"""


@pytest.mark.parametrize(
    ("mixer", "what"),
    [
        ("soon", "a part has ended the command"),
        ("chained", "a part has ended the command"),
        ("later", "run: a part has ended the run"),
    ],
)
def test_a_part_that_exits_where_no_contract_is_checked_does_not_end_the_command_as_a_success(
    mixzoo, tmp_path, mixer, what
):
    (tmp_path / "exits.py").write_text(EXITS)
    code, _, err = mixzoo(
        "train", *TOYS, *SMALL, "--steps", "12", "--plugin", "exits.py", "--mixer", mixer, "--out", "run"
    )
    assert code == 9
    assert re.search(
        rf"^mixzoo: {what}: SystemExit: 0 \(exits.py, line \d+\); it has to raise an exception instead\n\Z", err, re.M
    ), err
    assert mixer != "later" or '"exit": 9' in (tmp_path / "run" / "status.json").read_text()
