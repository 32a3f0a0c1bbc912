"""mixzoo check prints a line per check and the counts, and sets an exit code."""

import json
import sys
from dataclasses import dataclass, field
from typing import Annotated

import pytest
from planted import Maps
from planted_weights import ReportsAnotherShare

from mixzoo import Mixer, Part
from mixzoo.cli import app as cli
from mixzoo.registry.zoo import Plugin, RegisteredPart, load_zoo
from mixzoo.testing import part
from mixzoo.testing.mixer_suite import mixer_checks

pytestmark = pytest.mark.kit


@dataclass(frozen=True)
class Inside(Maps):
    """A mixer with a required option that is another mixer."""

    a: Annotated[Part[Mixer], "the mixer inside"] = field(kw_only=True)


@pytest.fixture
def mixzoo(monkeypatch, capsys):
    """Runs a command with a few checks and two more distributions: `acme`, with a broken mixer, and `acme-nested`."""
    plugin, quick = Plugin("mixers", "acme", "1"), {"k_is_at_least_2", "share_is_used", "mask_picks_one_source"}

    def zoo():
        found = load_zoo()
        found.plugins += [plugin, Plugin("other", "ruin", "2", problem="ImportError: no such module")]
        recipes = {"maps": Maps, "liar": ReportsAnotherShare, "digits": Maps}
        found.registered += [RegisteredPart("mixer", name, plugin, recipe) for name, recipe in recipes.items()]
        nested = Plugin("nested", "acme-nested", "1")
        found.plugins.append(nested)
        found.registered += [
            RegisteredPart("mixer", "sound", nested, Maps),
            RegisteredPart("mixer", "inside", nested, Inside),
        ]
        return found

    few = tuple(check for check in mixer_checks if check.name in quick)
    monkeypatch.setattr("mixzoo.registry.zoo.load_zoo", zoo)
    monkeypatch.setattr(part, "checks_of", lambda kind: few)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mixzoo", "check", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def test_a_correct_mixer_gets_a_line_per_check_and_exit_code_0(mixzoo):
    code, out, _ = mixzoo("maps", "--effort", "low")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "mixer maps"
    assert lines[1].split() == ["k_is_at_least_2", "ok"]
    assert lines[-1].endswith(" do not apply")
    assert f"{len(lines) - 2 - out.count('does not apply:')} checks ran" in lines[-1]


def test_a_failed_check_gives_the_reason_and_exit_code_9(mixzoo):
    code, out, _ = mixzoo("liar", "--effort", "low")
    assert code == 9
    assert "share_is_used                              FAILED  h_mix is not the sum of share times source" in out


def test_a_check_is_skipped_with_a_reason_on_the_command_line(mixzoo):
    code, out, _ = mixzoo("maps", "--effort", "low", "--skip", "k_is_at_least_2=k, = what it likes")
    assert code == 0
    assert "k_is_at_least_2                            skipped: k, = what it likes (the check passes here" in out
    assert "1 skipped" in out.splitlines()[-1]


def test_all_parts_of_a_distribution_are_checked_and_reported_as_json(mixzoo):
    code, out, _ = mixzoo("acme", "--effort", "low", "--json")
    found = json.loads(out)
    assert code == 9
    assert [p["part"] for p in found["parts"]] == ["acme/maps", "acme/liar", "acme/digits"]
    assert found["failed"] == sum(p["failed"] for p in found["parts"]) > 0


def test_parts_of_one_kind_are_checked_and_those_that_need_options_are_listed(mixzoo):
    code, out, err = mixzoo("acme-nested", "--kind", "mixer", "--effort", "low")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "mixer acme-nested/sound"
    assert out.splitlines()[-1] == "not checked: mixer acme-nested/inside, which requires a=: check it by a spec"
    _, out, _ = mixzoo("acme-nested", "--effort", "low", "--json")
    assert list(json.loads(out)["not_checked"]) == ["mixer acme-nested/inside"]


@pytest.mark.parametrize(
    ("arguments", "line", "exit_code"),
    [
        (["nothing"], "'nothing' is neither a part nor an installed distribution (acme, ", 2),
        (["acme", "--kind", "metric"], "acme has no metric", 9),
        (["digits"], "'digits' is the name of 2 parts; choose one: --kind mixer or dataset", 2),
        (["maps", "--kind", "mixture"], "'mixture' is not a kind of part", 2),
        (["maps", "--skip", "share_is_used"], "--skip 'share_is_used': give NAME=REASON", 2),
        (["maps", "--skip", "share=no"], "the skipped check 'share' is not one of", 2),
        (["acme", "--skip", "share_is_used=no"], "--skip needs a single part; name it by its spec", 2),
        (["maps", "--effort", "most"], "effort='most' must be one of high, low, normal", 2),
        (["ruin"], "plugin 'other' of ruin 2 failed to load: ImportError: no such module", 9),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_checked_is_a_one_line_error(mixzoo, arguments, line, exit_code):
    code, out, err = mixzoo(*arguments)
    assert (code, out) == (exit_code, "")
    assert line in err
    assert err.count("\n") == 1
