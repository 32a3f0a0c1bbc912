"""Which lines a run prints while it trains, and which it writes to metrics.jsonl."""

import re

import pytest

from mixzoo.core.errors import StorageError
from mixzoo.registry.config import Train
from mixzoo.runs.run import start
from mixzoo.training import logs, loop
from mixzoo.training.logs import LiveProgress, MetricsFile, PlainLines, display_for, read_metrics
from toys import toy_config, toy_zoo

LOSSES = re.compile(r"^step (\d+)/12  \d+ images/s  autoencoder: reconstruct ")
EVALUATION = re.compile(r"^step (\d+)/12  probe: .*  \d+ images/s  autoencoder: ")


def steps_printed(folder, capsys, **numbers):
    """Train for 12 steps, and return the steps with a line of losses and the steps with a line of an evaluation."""
    zoo = toy_zoo()
    config = toy_config(zoo, steps=12, evaluate_every=6, checkpoint_every=12, **numbers)
    start(zoo, config, folder, lambda steps, start=0: PlainLines(steps))
    lines = capsys.readouterr().err.splitlines()
    return [[int(match[1]) for match in map(pattern.match, lines) if match] for pattern in (LOSSES, EVALUATION)]


@pytest.mark.parametrize("log_every", [1, 100])
def test_the_first_step_and_every_evaluation_have_a_line_with_losses(tmp_path, capsys, log_every):
    assert steps_printed(tmp_path / "run", capsys, log_every=log_every) == [[1], [6, 12]]


@pytest.mark.parametrize(
    ("seconds", "elapsed", "steps", "done", "line"),
    [
        (
            (2.0, 2.0),
            33.0,
            400,
            10,
            "evaluations take 12% of the time; with --evaluate-every 7 they would take about 10%",
        ),
        (
            (30.0, 20.0),
            70.0,
            10**6,
            1000,
            "evaluations take 71% of the time; with --evaluate-every 20000 they would take about 10%",
        ),
        ((1.0, 1.0), 33.0, 400, 10, ""),
        ((30.0, 20.0), 70.0, 20000, 1000, ""),  # no spacing below the length of the run would do
        ((2.0, 2.0), 33.0, 10, 10, ""),  # nothing is left to be evaluated
    ],
)
def test_evaluations_that_take_long_are_told_once_and_with_a_spacing(monkeypatch, seconds, elapsed, steps, done, line):
    now = [0.0]
    monkeypatch.setattr(loop, "monotonic", lambda: now[0])
    clock = loop.Clock(Train(steps=steps), 0)
    for each in seconds:
        with clock.evaluation():
            now[0] += each
    now[0] = 29.0
    assert clock.advice(done) == ""  # half a minute has not passed
    now[0] = elapsed
    assert clock.advice(done) == line
    assert clock.advice(done) == ""


def test_a_line_of_losses_is_printed_every_ten_seconds(tmp_path, capsys, monkeypatch):
    now = iter(range(0, 10**6, 4))  # each call of the clock is four seconds later
    for module in (logs, loop):
        monkeypatch.setattr(module, "monotonic", lambda: float(next(now)))
    losses, evaluations = steps_printed(tmp_path / "run", capsys, log_every=100)
    assert losses[0] == 1
    assert len(losses) >= 4
    assert evaluations == [6, 12]
    assert not {*losses} & {*evaluations}  # the line of an evaluation has the losses too


def test_printed_lines_do_not_change_the_metrics(tmp_path, capsys):
    steps_printed(tmp_path / "run", capsys, log_every=5)
    steps = [(line["kind"], line["step"]) for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert steps == [("train", 5), ("evaluate", 6), ("train", 10), ("evaluate", 12)]


def test_metrics_shorter_than_at_the_checkpoint_are_refused_and_left_as_they_are(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(StorageError, match=r"metrics\.jsonl: it has 3 bytes, but had 4 at the checkpoint; restore it"):
        MetricsFile(tmp_path / "metrics.jsonl", keep_bytes=4)
    assert (tmp_path / "metrics.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize(
    ("terminal", "notebook", "live"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_a_terminal_and_a_notebook_get_a_live_display(monkeypatch, terminal, notebook, live):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(logs, "in_notebook", lambda: notebook)
    monkeypatch.setattr(LiveProgress, "__init__", lambda self, steps, start: None)
    assert type(display_for(3)) is (LiveProgress if live else PlainLines)
    monkeypatch.undo()
    assert not logs.in_notebook()
