"""Learning curves of runs: which are drawn, what a line and its band are, and what is said of those that are not."""

import json
import subprocess
import sys
from statistics import mean, stdev

import numpy as np
import pytest
from test_listing import made

from mixzoo.core.errors import CheckpointError, ConfigError
from mixzoo.runs.curves import smoothed
from mixzoo.runs.figure import COLOURS, MOST_VARIANTS, free_path, plot
from mixzoo.runs.listing import find_runs

REAL = {0: (1.0, 0.5, 0.25), 1: (2.0, 1.5, 0.75)}  # seed -> discriminator/real at steps 100, 200, 300


def log(run, *lines):
    """Write metrics.jsonl: a dict is written as JSON, a text as it is."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (run / "metrics.jsonl").write_text("".join(f"{text}\n" for text in texts))
    return run


def train(step, real, raw=-0.5):
    numbers = {"discriminator/real": real, "autoencoder/fool_mix": real + 1, "autoencoder/fool_rec": real + 2}
    clock = {"elapsed_seconds": 1.0, "images_per_second": 100.0}
    return {"kind": "train", "step": step, **numbers, "probe/loss": 2 * real, "D(mix)": raw, **clock}


def evaluate(step, accuracy):
    names = ("validation_accuracy", "test_accuracy", "best_validation_accuracy")
    return {"kind": "evaluate", "step": step, **dict.fromkeys(names, accuracy)}


@pytest.fixture
def folder(tmp_path):
    for mixer, k in (("mixup", 2), ("dirichlet", 3)):
        for seed, values in REAL.items():
            run = made(tmp_path / "sweep" / f"{mixer}-{seed}", mixer=mixer, k=k, seed=seed)
            log(run, *(train(100 * i, value) for i, value in enumerate(values, 1)), evaluate(300, 0.5 + seed / 10))
    return tmp_path / "sweep"


def panel(figure, title):
    (axes,) = [axes for axes in figure.axes if axes.get_title(loc="left") == title]
    return axes


def line(figure, title, number=0):
    return panel(figure, title).lines[number]


def test_a_line_is_the_mean_over_seeds_and_its_band_the_sample_standard_deviation(folder):
    figure = plot(find_runs([folder]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "autoencoder: fool_mix", "autoencoder: fool_rec", "discriminator: real", "mean raw score D(mix)",
        "probe: loss", "probe: validation accuracy", "probe: test accuracy",
    ]  # fmt: skip
    drawn = line(figure, "discriminator: real")
    assert drawn.get_xdata().tolist() == [100, 200, 300]
    assert drawn.get_ydata() == pytest.approx([mean(pair) for pair in zip(*REAL.values())])
    band = panel(figure, "discriminator: real").collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(1.5 + stdev([1.0, 2.0]))
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["mixer dirichlet:k=3, 2 seeds", "mixer mixup, 2 seeds"]
    assert legend.get_title().get_text() == "objective amr"
    colours = [line(figure, "probe: loss", i).get_color() for i in (0, 1)]
    assert colours == list(COLOURS[:2])
    assert figure.get_supxlabel().startswith("Lines are means over seeds, bands")


def test_terms_are_named_whole_by_their_beginning_or_without_their_player(folder):
    def titles(*terms):
        return [axes.get_title(loc="left") for axes in plot(find_runs([folder]), terms).axes]

    assert titles("real", "D") == ["discriminator: real", "mean raw score D(mix)"]
    assert titles("fool") == ["autoencoder: fool_mix", "autoencoder: fool_rec"]
    assert titles("best", "images_per_second") == ["probe: best validation accuracy", "images per second"]
    with pytest.raises(ConfigError, match=r"--term reel: no run has it \(D\(mix\), autoencoder/fool_mix, .*\)\. Did "):
        titles("reel")
    with pytest.raises(ConfigError, match="--term : no run has it"):
        titles("")
    assert len(titles()) == 7
    assert titles("probe") == ["probe: loss", "probe: validation accuracy", "probe: test accuracy"]


def test_a_learning_rate_is_drawn_as_it_is_if_the_runs_have_one(folder):
    run = folder / "mixup-0"
    log(run, *({**train(step, 1.0), "lr": rate} for step, rate in ((10, 1e-3), (20, 5e-4))), evaluate(20, 0.5))
    figure = plot(find_runs([run]), smooth=2)
    assert [axes.get_title(loc="left") for axes in figure.axes][-1] == "learning rate (lr)"
    assert line(figure, "learning rate (lr)").get_ydata().tolist() == [1e-3, 5e-4]
    assert "All but accuracies and learning rates: running mean" in figure.get_supxlabel()
    for name in ("lr", "learning rate", "learning_rate", "learning rate (lr)", "Learning"):
        (axes,) = plot(find_runs([run]), name, log_scale=True).axes
        assert axes.get_title(loc="left") == "learning rate (lr)"
    with pytest.raises(
        ConfigError, match=r"--term lr: no run has it .* The learning rate is logged only for runs with"
    ):
        plot(find_runs([folder / "mixup-1"]), "lr")


def test_every_panel_is_found_by_its_title(folder):
    for axes in plot(find_runs([folder])).axes:
        title = axes.get_title(loc="left")
        assert [each.get_title(loc="left") for each in plot(find_runs([folder]), title).axes] == [title]
    with pytest.raises(ConfigError, match=r"--term  : no run has it"):
        plot(find_runs([folder]), " ")


def test_a_run_shorter_than_log_every_says_why_it_has_no_losses(folder):
    run = log(folder / "mixup-0", evaluate(400, 0.5))
    (run / "run.toml").write_text((run / "run.toml").read_text().replace("[train]", "[train]\nlog_every = 500"))
    why = (
        f"{run}: no losses, raw scores or learning rate, as it is shorter (400 steps) than --log-every 500; train it "
        "again with --log-every 40: its numbers stay the same"
    )
    assert plot(find_runs([run])).notes == (why,)
    assert plot(find_runs([folder]), "real").notes == (why,)
    assert plot(find_runs([run]), "test").notes == ()
    for term, words in (("real", "--log-every 40"), ("lr", "only for runs with --schedule or --warmup")):
        with pytest.raises(ConfigError, match=rf"--term {term}: no run has it \(probe/.*{words}"):
            plot(find_runs([run]), term)


def test_a_running_mean_is_of_the_lines_before_and_leaves_accuracies_alone(folder):
    values = {10: 1.0, 20: 3.0, 30: float("nan"), 40: 5.0}
    assert list(smoothed(values, 2).values()) == pytest.approx([1, 2, float("nan"), 5], nan_ok=True)
    assert list(smoothed(values, 9).values()) == pytest.approx([1, 2, float("nan"), 3], nan_ok=True)
    log(folder / "mixup-0", train(10, 1.0), train(20, 3.0), evaluate(10, 0.2), evaluate(20, 0.6))
    figure = plot(find_runs([folder / "mixup-0"]), smooth=2)
    assert line(figure, "discriminator: real").get_ydata().tolist() == [1, 2]
    assert line(figure, "probe: test accuracy").get_ydata().tolist() == [0.2, 0.6]
    assert figure.get_supxlabel() == "All but accuracies: running mean over 2 lines of the log."
    for wrong in (0, True):
        with pytest.raises(ConfigError, match=rf"smooth={wrong} must be an integer >= 1"):
            plot(find_runs([folder]), smooth=wrong)


def test_logarithmic_axes_are_those_of_terms_above_zero(folder):
    figure = plot(find_runs([folder]), log_scale=True)
    scales = {axes.get_title(loc="left"): axes.get_yscale() for axes in figure.axes}
    assert [title for title, scale in scales.items() if scale == "linear"] == [
        "mean raw score D(mix)", "probe: validation accuracy", "probe: test accuracy"
    ]  # fmt: skip
    log(folder / "mixup-0", train(100, -1.0))
    figure = plot(find_runs([folder / "mixup-0"]), "real", log_scale=True)
    assert figure.axes[0].get_title(loc="left") == "discriminator: real (linear: not all above 0)"


def test_a_run_of_one_line_is_a_dot_and_a_value_that_is_not_finite_a_gap(folder):
    run = log(folder / "mixup-0", train(100, 1.0))
    one = line(plot(find_runs([run])), "discriminator: real")
    assert (one.get_xdata().tolist(), one.get_marker(), one.get_markevery()) == ([100], "o", [0])
    values = [1.0, float("nan"), 2.0, float("inf"), *[3.0] * 30]
    log(run, *(train(i, value) for i, value in enumerate(values, 1)))
    figure = plot(find_runs([run]), "discriminator")
    drawn = line(figure, "discriminator: real")
    assert np.flatnonzero(np.isnan(drawn.get_ydata())).tolist() == [1, 3]
    assert drawn.get_markevery() == [0, 2]
    assert figure.notes == (f"{run}: discriminator/real is not finite at step 2 and 1 more: the line has a gap there",)


def test_a_repeated_step_counts_once_and_a_mean_ends_where_the_shortest_run_does(folder):
    log(folder / "mixup-0", train(100, 9.0), train(200, 9.0), train(100, 1.0), train(200, 2.0), '{"kind": "tr')
    (folder / "mixup-0" / "metrics.jsonl").write_bytes(
        (folder / "mixup-0" / "metrics.jsonl").read_bytes().removesuffix(b"\n")
    )
    (folder / "mixup-0" / "status.json").write_text('{"state": "running", "last_committed": 100}')
    figure = plot(find_runs([folder / "mixup-0", folder / "mixup-1"]), "real")
    drawn = line(figure, "discriminator: real")
    assert drawn.get_xdata().tolist() == [100, 200]
    assert drawn.get_ydata().tolist() == [1.5, 1.75]
    assert figure.notes == (f"{folder / 'mixup-0'}: running, its metrics end at step 200 of 400",)
    log(folder / "mixup-0", {"kind": "train", "step": 50, "autoencoder/l1": 1.0})  # it lacks the term that is drawn
    notes = plot(find_runs([folder / "mixup-0", folder / "mixup-1"]), "real").notes
    assert notes == (f"{folder / 'mixup-0'}: running, its metrics end at step 50 of 400",)
    log(folder / "mixup-0", train(7, 1.0))
    notes = plot(find_runs([folder / "mixup-0", folder / "mixup-1"]), "real").notes
    assert notes[0] == "all runs: its runs have no step of discriminator/real in common, so it has no line"


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, ConfigError, r"completed, its metrics\.jsonl has no line yet"),
        ("", ConfigError, r"completed, its metrics\.jsonl has no line yet"),
        ('{"step": 1}\n\0\0\n', CheckpointError, r"cannot be read: line 2 is .*, expected a JSON object with a step"),
        ("[1]\n", CheckpointError, r"cannot be read: line 1 is '\[1\]', expected a JSON object with a step"),
        (b"\xff\n", CheckpointError, "cannot be read: 'utf-8' codec can't decode"),
    ],
)
def test_a_run_without_metrics_gets_one_line_and_the_others_are_drawn(folder, content, error, message):
    file = folder / "mixup-0" / "metrics.jsonl"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(error, match=rf"^no run has metrics to plot \(.*{message}"):
        plot(find_runs([folder / "mixup-0"]))
    figure = plot(find_runs([folder]), "real")
    assert len(figure.axes[0].lines) == 2
    assert str(file.parent) in figure.notes[0]


def test_files_are_of_the_kind_that_their_ending_says_and_the_same_bytes_again(folder, tmp_path):
    beginnings = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    for ending, beginning in beginnings.items():
        first, second = (plot(find_runs([folder]), "real").save(tmp_path / f"{i}{ending}") for i in (1, 2))
        assert first.read_bytes().startswith(beginning)
        assert first.read_bytes() == second.read_bytes()
    with pytest.raises(
        ConfigError, match=r"a\.jpg: a figure is a PNG, SVG or PDF; end the name in \.pdf, \.png, \.svg"
    ):
        plot(find_runs([folder]), "real").save(tmp_path / "a.jpg")
    whole = plot(find_runs([folder]))
    assert whole.save(tmp_path / "3.png").read_bytes() == whole.save(tmp_path / "4.png").read_bytes()


def test_more_variants_than_can_be_told_apart_are_refused(tmp_path):
    for i in range(MOST_VARIANTS + 1):
        log(made(tmp_path / f"{i}", lam=float(i)), train(1, 1.0))
    with pytest.raises(ConfigError, match=rf"{MOST_VARIANTS + 1} variants; a figure has {MOST_VARIANTS} at most"):
        plot(find_runs([tmp_path]))
    with pytest.raises(ConfigError, match="there are no runs to plot"):
        plot([])


def test_the_command_draws_without_torch_and_overwrites_nothing_unasked(folder, mixzoo, monkeypatch):
    monkeypatch.chdir(folder.parent)
    program = (
        "import sys; from mixzoo.cli.app import main\ntry: main()\n"
        "finally: assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", program, "plot", "sweep", "--where", "mixer=mixup", "--term", "real"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "sweep-curves.png\n", "")
    assert free_path([folder]).name == "sweep-curves-2.png"
    assert str(free_path([folder / "mixup-0", folder])) == "curves.png"
    assert free_path([folder / "mixup-0"]) == folder / "mixup-0-curves.png"
    code, out, _ = mixzoo("plot", folder, "--score", "test", "--smooth", "2", "--log-scale", "--out", "a.svg")
    assert (code, out) == (0, "a.svg\n")
    assert mixzoo("plot", folder, "--smooth", "0")[0] == 2
    assert mixzoo("plot", folder, "--out", "a.gif")[0] == 2
    code, _, err = mixzoo("plot", folder, "--where", "mixer=cutmix")
    assert (code, err.startswith("mixzoo: none of the 4 runs has mixer=cutmix")) == (2, True)


def test_python_draws_what_the_command_draws(folder):
    import mixzoo

    by_python = mixzoo.plot([folder], terms="real", where="mixer=mixup")
    by_command = plot([record for record in find_runs([folder]) if record.part("mixer") == "mixup"], "real")
    assert [axes.lines[0].get_xydata().tolist() for axes in by_python.axes] == [
        axes.lines[0].get_xydata().tolist() for axes in by_command.axes
    ]
    with pytest.raises(ConfigError, match="none of the 4 runs has mixer=cutmix"):
        mixzoo.plot(folder, where="mixer=cutmix")
