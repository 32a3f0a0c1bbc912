"""Names that files and plugins give reach no terminal with control sequences in them."""

import json
from pathlib import Path

import pytest
from test_listing import made

from mixzoo.cli.summary import print_summary
from mixzoo.runs.reading import Result

RED = "\x1b[31m"


@pytest.fixture
def hostile(tmp_path):
    """Two runs whose directories, mixer and scores have a terminal's control sequence in their names."""
    for seed in range(2):
        run = made(tmp_path / f"a{RED}{seed}", mixer="m\\u001b[31m", seed=seed, **{f"knn__{RED}": 0.5 + seed / 10})
        (run / "metrics.jsonl").write_text(json.dumps({"kind": "train", "step": 1, f"autoencoder/{RED}": 1.0}) + "\n")
    made(tmp_path / f"bad{RED}", state=f"x{RED}")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ["runs", "."],
        ["runs", ".", "--csv"],
        ["runs", ".", "--json"],
        ["runs", ".", "--where", f"mixer={RED}"],
        ["runs", ".", "--sort", RED],
        ["compare", "."],
        *(["compare", ".", "--format", text] for text in ("md", "latex", "csv", "json")),
        ["compare", ".", "--score", RED],
        ["plot", ".", "--term", RED],
        ["resume", f"a{RED}0"],
        ["rm", f"bad{RED}", "--yes"],
        ["list", RED],
        ["show", "mixer", RED],
        ["train", "--mixer", RED],
        ["train", "--config", RED],
        ["train", "--max-time", RED],
    ],
    ids=lambda words: " ".join(words).replace(RED, "RED"),
)
def test_no_control_sequence_is_printed(mixzoo, hostile, monkeypatch, command):
    monkeypatch.chdir(hostile)
    _, out, err = mixzoo(*command)
    assert out + err
    assert "\x1b" not in out + err


def test_the_summary_of_a_run_prints_none(capsys):
    run = Path(f"r{RED}")
    print_summary(Result(run, 2, {f"knn.{RED}": 0.5}, run / "pictures" / "step-2.png", 2))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count(r"\x1b[31m") == 4
