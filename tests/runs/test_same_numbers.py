"""benchmarks/same_numbers.py: it runs every objective and mixer of the zoo, agrees with itself, and sees one bit."""

import json
import re
import sys

import pytest

import same_numbers
from mixzoo.registry.zoo import first_party, load_zoo


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["same_numbers.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        same_numbers.main()
    return int(end.value.code)


def test_every_objective_and_mixer_of_the_zoo_is_run():
    zoo = load_zoo(first_party())
    words = {word for flags in same_numbers.all_runs().values() for flag in flags for word in re.split(r"\W+", flag)}
    names = {part.name for kind in ("objective", "mixer") for part in zoo.of_kind(kind)}
    assert {"amr", "mixup"} <= names <= words


@pytest.mark.bit_exact
def test_a_run_agrees_with_itself_and_a_last_bit_is_a_difference(monkeypatch, capsys, tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    for file in (first, second):
        assert call(monkeypatch, file, "--only", "amr x schedule:a=mixup,b=(bernoulli:k=3),start=0.2,end=0.8") == 0
    capsys.readouterr()
    assert call(monkeypatch, "--compare", first, second) == 0
    assert capsys.readouterr().out.count("| the same |") == 1

    changed = json.loads(second.read_text())
    [numbers] = changed["runs"].values()
    value = numbers["metrics"][3]["probe/loss"]
    numbers["metrics"][3]["probe/loss"] = re.sub(r".(?=p)", lambda digit: "1" if digit[0] == "0" else "0", value)
    second.write_text(json.dumps(changed))
    assert call(monkeypatch, "--compare", first, second) == 1
    assert "metrics: line 4: probe/loss: " + value in capsys.readouterr().out


def test_a_run_that_fails_or_is_missing_is_a_difference(monkeypatch, capsys, tmp_path):
    file, other = tmp_path / "file.json", tmp_path / "other.json"
    monkeypatch.setattr(same_numbers, "all_runs", lambda: {"no such": ("--mixer", "no_such")})
    assert call(monkeypatch, file) == 1
    assert call(monkeypatch, "--compare", file, file) == 1
    assert "exit code 2" in capsys.readouterr().out
    content = json.loads(file.read_text())
    other.write_text(json.dumps({**content, "runs": {}}))
    assert call(monkeypatch, "--compare", file, other) == 1
    assert "missing after" in capsys.readouterr().out
