"""The command line as a user types it: its output, on which stream, and its exit code."""

import json
import os
import re
import signal
from dataclasses import dataclass, field, fields
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated

import pytest
import torch
from annotated_types import Ge, Le

import warm
from mixzoo import LinearMixer, Mixer, Part
from mixzoo.cli.schema import SECTIONS
from mixzoo.cli.sections import TITLES
from mixzoo.registry.catalogue import catalogue_of
from mixzoo.registry.config import Train
from mixzoo.registry.zoo import RegisteredPart, load_zoo
from toys import SMALL, TOY_PLUGIN, TOYS, toy_zoo


def trained(mixzoo, *arguments, home="run"):
    code, out, err = mixzoo("train", *TOYS, *SMALL, "--out", home, *arguments)
    assert code == 0, err
    return out, err


def test_train_prints_the_scores_the_picture_and_what_to_do_next(mixzoo, tmp_path):
    out, err = trained(mixzoo)
    assert "probe: test accuracy at best validation" in out
    assert "logistic regression: test accuracy" in out
    assert "reconstruction: l1" in out
    picture = next(line for line in out.split("\n") if line.startswith("picture")).split()[1]
    assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert "more     mixzoo interpolate run" in out
    assert "step 4/4  probe: validation" in err
    assert "D(mix)" in err
    assert "images/s" in err


def test_train_without_out_makes_a_dated_directory_for_each_run(mixzoo, tmp_path):
    for _ in range(2):
        assert mixzoo("train", *TOYS, *SMALL)[0] == 0
    names = [path.name for path in (tmp_path / "runs").iterdir()]
    assert len(names) == 2
    assert all("toy_data-amr-mixup" in name for name in names)


def test_flags_of_every_kind_reach_the_run_file(mixzoo, tmp_path):
    trained(mixzoo, "--mixer", "dirichlet:k=3,alpha=0.5", "--objective", "aegan:lam=5", "--d-steps", "2", "--seed", "7")
    text = (tmp_path / "run" / "run.toml").read_text()
    for line in (
        'name = "dirichlet"',
        "k = 3",
        "alpha = 0.5",
        'name = "aegan"',
        "lam = 5.0",
        "d_steps = 2",
        "seed = 7",
    ):
        assert line in text


def test_a_run_file_repeats_a_run_and_flags_override_it(mixzoo, tmp_path):
    trained(mixzoo)
    code, _, err = mixzoo("train", "--config", "run/run.toml", "--seed", "5", "--out", "again")
    assert code == 0, err
    before, after = ((tmp_path / name / "run.toml").read_text() for name in ("run", "again"))
    assert before.replace("seed = 0", "seed = 5") == after


def test_resume_of_a_finished_run_shows_its_scores_again(mixzoo):
    out, _ = trained(mixzoo)
    code, again, _ = mixzoo("resume", "run")
    assert (code, again) == (0, out)


BAD_INPUT = {
    "unknown mixer": (["--mixer", "mixpu"], 2, "--mixer mixpu: unknown mixer 'mixpu'"),
    "unknown option": (
        ["--mixer", "dirichlet:kk=3"],
        2,
        "'kk' is not an option (allowed: alpha, k). Did you mean 'k'?",
    ),
    "wrong type": (["--mixer", "dirichlet:k=two"], 2, "k='two' must be an integer >= 2 and <= 64"),
    "out of range": (["--objective", "amr:lam=0"], 2, "lam='0' must be a number > 0"),
    "malformed spec": (["--mixer", "dirichlet:k=="], 2, "mixzoo: --mixer: expected a value"),
    "ignored setting": (["--objective", "acai:lam=3"], 2, "lam= has no meaning with variant='official'"),
    "bad number": (["--steps", "0"], 2, "--steps: steps=0 must be an integer >= 1"),
    "no number": (["--lr", "nan"], 2, "--lr: lr=nan must be a number > 0"),
    "missing run file": (["--config", "nothing.toml"], 2, "nothing.toml: no such run file"),
    "bad device": (["--device", "toaster"], 2, "--device 'toaster' cannot be used here"),
    "graph on a CPU": (
        ["--engine", "graph", "--device", "cpu"],
        2,
        "--engine graph captures CUDA graphs, but the run is",
    ),
    "tf32 on a CPU": (["--precision", "tf32", "--device", "cpu"], 2, "--precision tf32 needs a GPU"),
    "missing data": (
        ["--data", "mnist:root=nowhere"],
        3,
        "nowhere: no such folder; give root=FOLDER, the folder that holds MNIST; download=true fetches it",
    ),
    "missing folder": (["--data", "folder:path=nowhere"], 3, "nowhere: no such folder; give path=FOLDER"),
    "small data": (["--batch-images", "97"], 3, "a batch of 97 images from 96 train images makes 0 batches per epoch"),
    "odd size": (["--autoencoder", "amr:scales=4"], 2, "autoencoder 'amr': images of 8x8 cannot be halved 4 times"),
}


@pytest.mark.parametrize("kind", BAD_INPUT)
def test_bad_input_is_one_line_with_its_exit_code_and_leaves_nothing(mixzoo, tmp_path, kind):
    arguments, expected, message = BAD_INPUT[kind]
    code, out, err = mixzoo("train", *TOYS, *SMALL, "--out", "run", *arguments)
    assert code == expected
    assert message in err
    assert err.startswith("mixzoo: ")
    assert err.count("\n") == (3 if kind == "malformed spec" else 1)  # a malformed spec has a caret under the mistake
    assert (out, list(tmp_path.iterdir())) == ("", [])


def test_an_existing_directory_is_an_error(mixzoo):
    trained(mixzoo)
    code, _, err = mixzoo("train", *TOYS, "--out", "run")
    assert code == 2
    assert "--out run: exists already; `mixzoo resume run` continues a run, or choose another directory" in err


@pytest.mark.parametrize("command", ["resume", "interpolate"])
def test_a_path_that_is_no_run_is_an_error(mixzoo, command):
    code, _, err = mixzoo(command, "nothing")
    assert (code, err) == (4, "mixzoo: nothing: no such directory; `mixzoo train` makes one\n")


def test_more_sources_than_images_is_one_warning(mixzoo):
    _, err = trained(mixzoo, "--mixer", "bernoulli:k=9")
    assert err.count("warning:") == 1
    assert "warning: the mixer takes k=9 sources from batches of 8 images" in err


def test_list_names_each_part_its_plugin_and_a_line_about_it(mixzoo):
    code, out, _ = mixzoo("list", "mixers")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert names == sorted(names)
    assert {"bernoulli", "channel", "dirichlet", "mixup"} <= set(names)
    assert "A convex combination of two codes" in out
    assert "[mixzoo/mixers]" in out


@pytest.mark.parametrize("kind", ["autoencoders", "discriminators", "mixers", "objectives", "datasets", "metrics"])
def test_list_as_json_is_a_list_of_objects(mixzoo, kind):
    code, out, _ = mixzoo("list", kind, "--json")
    assert code == 0
    rows = json.loads(out)
    assert rows
    assert all({"name", "plugin", "summary"} <= set(row) and row["summary"] for row in rows)


def test_an_unknown_kind_names_the_nearest(mixzoo):
    code, _, err = mixzoo("list", "mixxers")
    assert code == 2
    assert "'mixxers' is not a kind of part" in err
    assert "Did you mean 'mixers'?" in err


def test_show_gives_the_equation_and_every_option(mixzoo):
    code, out, _ = mixzoo("show", "mixer", "bernoulli")
    assert code == 0
    assert "m ~ Bernoulli(p)" in out
    assert "k=2  integer >= 2 and <= 64" in out
    assert "p=(not given)  number >= 0 and <= 1" in out
    assert "p_per=example  'unit', 'example', 'batch'" in out
    part = json.loads(mixzoo("show", "mixers", "bernoulli", "--json")[1])
    assert [option["name"] for option in part["options"]] == ["k", "p", "p_per"]
    assert part["options"][0]["default"] == 2
    assert "It has no options." in mixzoo("show", "mixer", "slerp")[1]


def test_every_part_can_be_shown(mixzoo, monkeypatch):
    catalogue = catalogue_of(toy_zoo())
    monkeypatch.setattr("mixzoo.registry.catalogue.load_catalogue", lambda *found: catalogue)
    for entry in load_zoo().registered:
        code, out, _ = mixzoo("show", entry.kind, entry.name)
        assert code == 0
        assert entry.summary in out
        json.loads(mixzoo("show", entry.kind, entry.name, "--json")[1])


def test_show_describes_an_option_that_is_a_part_by_its_kind_and_its_default_by_its_spec(mixzoo, monkeypatch):
    @dataclass(frozen=True)
    class Usual:
        """A mixer with an optional part."""

        a: Annotated[Part[Mixer], "the usual"] = field(default=load_zoo().part("mixer", "bernoulli", {"p": 0.5}))

    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("mixer", "usual", TOY_PLUGIN, Usual))
    monkeypatch.setattr("mixzoo.registry.zoo.load_zoo", lambda: zoo)
    spec = "bernoulli:k=2,p=0.5,p_per=example"
    assert f"  a={spec}  mixer\n      the usual" in mixzoo("show", "mixer", "usual")[1]
    option = json.loads(mixzoo("show", "mixer", "usual", "--json")[1])["options"][0]
    assert (option["type"], option["default"], option["required"]) == ("mixer", spec, False)
    assert zoo.canonical("mixer", "usual") == f"usual:a=({spec})"


def test_train_and_interpolate_take_a_mixer_made_of_mixers(mixzoo):
    spec = "one_of:a=(dirichlet:k=3),b=(chain:a=mixup,b=bernoulli)"
    assert mixzoo("train", *TOYS, *SMALL, "--mixer", spec, "--out", "run")[0] == 0
    assert mixzoo("interpolate", "run", "--mixer", "schedule:a=mixup,b=(bernoulli:k=3)")[0] == 0
    assert mixzoo("train", "--config", "run/run.toml", "--out", "again")[0] == 0
    assert Path("again/run.toml").read_text() == Path("run/run.toml").read_text()
    code, _, err = mixzoo("train", *TOYS, "--mixer", "one_of:a=(mixup,b=mixup")
    assert code == 2
    assert "--mixer: expected ':' and options, or the ')' of the '(' at character 10 at character 16" in err


def test_plugins_lists_what_is_installed_and_what_is_broken(mixzoo, monkeypatch):
    from mixzoo.registry.zoo import Plugin

    zoo = toy_zoo()
    zoo.plugins.append(Plugin("bad", "acme-bad", "2.1", problem="ImportError: no"))
    monkeypatch.setattr("mixzoo.registry.zoo.load_zoo", lambda: zoo)
    code, out, _ = mixzoo("plugins")
    assert code == 0
    assert "bad  (acme-bad 2.1)  BROKEN, left out: ImportError: no" in out
    assert "mixer bernoulli" in out
    rows = {row["name"]: row for row in json.loads(mixzoo("plugins", "--json")[1])}
    assert rows["bad"]["problem"] == "ImportError: no"
    assert "mixer mixup" in rows["mixers"]["parts"]


def test_interpolate_draws_strips_and_a_triangle_and_prints_where(mixzoo, tmp_path):
    trained(mixzoo, "--mixer", "dirichlet:k=4")
    code, out, _ = mixzoo("interpolate", "run")
    assert code == 0
    assert out.split() == [
        "strips",
        "run/pictures/strips-dirichlet.png",
        "triangle",
        "run/pictures/triangle-dirichlet.png",
    ]
    code, out, err = mixzoo("interpolate", "run", "--mixer", "bernoulli", "--json")
    assert json.loads(out) == {"strips": "run/pictures/strips-bernoulli.png"}
    assert "no triangle: bernoulli mixes 2 sources; try --mixer dirichlet:k=3" in err
    assert (tmp_path / "run/pictures/strips-bernoulli.png").read_bytes().startswith(b"\x89PNG")


def test_interpolate_draws_every_mixer_and_those_that_the_run_has_learned(mixzoo):
    """Learned mixers appear if the run has them; all other mixers are in the sheet too."""
    from mixzoo.runs.fitting_mixers import mixers_for
    from mixzoo.runs.opening import open_run

    trained(mixzoo, "--mixer", "one_of:a=(network:k=3),b=dirichlet")
    code, out, _ = mixzoo("interpolate", "run", "--every-mixer", "--json")
    assert code == 0
    assert json.loads(out)["mixers"] == "run/pictures/mixers.png"
    assert Path("run/pictures/mixers.png").read_bytes().startswith(b"\x89PNG")
    zoo = toy_zoo()
    mixers, notes = mixers_for(zoo, open_run(zoo, Path("run"), "cpu"))
    names = list(mixers)
    assert names[:2] == ["one_of, the run's", "a=network, the run's"]
    needs_no_training = {o.name for o in zoo.of_kind("mixer")} - {"label", "network", "one_of", "chain", "schedule"}
    assert {spec.partition(":")[0] for spec in names[2:]} == needs_no_training
    assert notes == ["not in the sheet, as they need options or training: chain, label, network, one_of, schedule"]


@dataclass(frozen=True)
class Pair(LinearMixer):
    """Takes exactly two sources."""

    k: Annotated[int, Ge(2), Le(2), "sources"] = 2

    def draw(self, shape, rng):
        return shape.broadcast(torch.full((2, shape.batch), 0.5))


def test_a_mixer_that_cannot_take_three_sources_has_a_row_with_two(mixzoo):
    from mixzoo.runs.fitting_mixers import mixers_for
    from mixzoo.runs.opening import open_run

    trained(mixzoo, "--mixer", "dirichlet:k=3")
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("mixer", "pair", TOY_PLUGIN, Pair))
    mixers = mixers_for(zoo, open_run(zoo, Path("run"), "cpu"))[0]
    assert mixers["pair"].k == 2
    assert [spec for spec in mixers if spec.startswith("dirichlet")] == ["dirichlet, the run's"]


def test_interpolate_draws_as_many_pairs_as_there_are_and_says_how_many(mixzoo):
    trained(mixzoo)
    code, _, err = mixzoo("interpolate", "run", "--pairs", "4000")
    assert code == 0
    assert "24 pairs, not 4000: there are 48 test images, two to a pair" in err
    code, _, err = mixzoo("interpolate", "run", "--pairs", "24")
    assert (code, "pairs" in err) == (0, False)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--pairs", "0", "--pairs: pairs=0 must be an integer >= 1 and <= 10000."),
        ("--pairs", "1k", "--pairs: pairs='1k' must be an integer >= 1 and <= 10000. Did you mean 1000?"),
        ("--steps", "1", "--steps: steps=1 must be an integer >= 2 and <= 1000."),
        ("--side", "1e9", "--side: side=1000000000 must be an integer >= 2 and <= 100."),
        ("--side", "ten", "--side: side='ten' must be an integer >= 2 and <= 100."),
        ("--mixer", "Dirichlet:K=3", "--mixer Dirichlet:K=3: names are lower case. Did you mean 'dirichlet:k=3'?"),
        ("--mixer", "mixup:k=3", "--mixer mixup:k=3: 'k' is not an option (allowed: law). Its k is always 2. "),
    ],
)
def test_interpolate_reports_what_it_cannot_draw_in_one_line(mixzoo, tmp_path, flag, value, message):
    trained(mixzoo)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = mixzoo("interpolate", "run", flag, value)
    assert (code, out) == (2, "")
    assert err.startswith(f"mixzoo: {message}")
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_interpolate_names_an_unknown_mixer(mixzoo):
    trained(mixzoo)
    code, _, err = mixzoo("interpolate", "run", "--mixer", "cutmixx")
    assert code == 2
    assert "--mixer cutmixx: unknown mixer 'cutmixx'" in err


def test_a_run_interrupted_by_a_signal_exits_75_and_resumes(tmp_path):
    """A separate process, stopped once it has written its first metrics."""
    from mixzoo.training.logs import read_metrics

    home = tmp_path / "run"
    small = ["--steps", "100000", "--batch-images", "16", "--log-every", "1", "--evaluate-every", "100000"]
    parts = ["--autoencoder", "acai:depth=1", "--discriminator", "acai:depth=1", "--threads", "1"]
    with open(os.devnull) as nothing, open(tmp_path / "errors", "w") as errors:
        streams = nothing, nothing, errors
        process = warm.start("-m", "mixzoo", "train", *small, *parts, "--out", home, streams=streams)
    end = monotonic() + 60
    while not ((home / "metrics.jsonl").exists() and read_metrics(home / "metrics.jsonl")) and monotonic() < end:
        sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    code, err = process.wait(60), (tmp_path / "errors").read_text()
    assert code == 75, err
    assert "stopped by SIGTERM after step" in err
    status = json.loads((home / "status.json").read_text())
    assert status["state"] == "interrupted"
    assert status["last_committed"] == read_metrics(home / "metrics.jsonl")[-1]["step"]


def test_every_command_shows_an_example_in_its_help(mixzoo):
    for command in ("train", "resume", "interpolate", "list", "show", "plugins", "new-plugin"):
        code, out, _ = mixzoo(command, "--help")
        assert code == 0
        assert "Example: mixzoo" in " ".join(out.split()), command


def test_the_help_of_train_lists_every_option_once_in_sections(mixzoo):
    code, out, _ = mixzoo("train", "--help")
    titles = [line[:-1] for line in out.splitlines() if line.endswith(":") and line[:1].isalpha()]
    assert (code, titles) == (0, [*TITLES, "Options"])
    found = {text.split(":\n")[0]: re.findall(r"^  (--[a-z0-9-]+)", text, re.M) for text in out.split("\n\n")}
    listed = [option for title in titles for option in found[title]]
    assert len(listed) == len(set(listed)) > len(fields(Train))
    assert found["Options"] == ["--help"]
    assert found["Hardware"][:2] == ["--device", "--engine"]
    assert found["Output"][:3] == ["--out", "--log-to", "--log-every"]
    assert SECTIONS.keys() <= {field.name for field in fields(Train)}


def test_version_is_that_of_the_distribution(mixzoo):
    from importlib.metadata import version

    assert mixzoo("--version") == (0, f"mixzoo {version('mixzoo')}\n", "")


def test_progress_goes_to_a_terminal_live_and_elsewhere_as_lines(tmp_path):
    """A pseudo-terminal shows a progress bar with the time left; scores stay on standard output."""
    import pty

    master, slave = pty.openpty()
    parts = ["--autoencoder", "acai:depth=1", "--discriminator", "acai:depth=1", "--threads", "1"]
    run = ["-m", "mixzoo", "train", *SMALL, *parts, "--out", tmp_path / "run"]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    with open(os.devnull) as nothing, open(tmp_path / "out", "w") as out:
        process = warm.start(*run, streams=(nothing, out, slave), env=env)
    os.close(slave)
    output = b""
    while True:
        try:
            block = os.read(master, 65536)
        except OSError:  # the other end has closed
            break
        output += block
    assert process.wait(60) == 0
    text = output.decode()
    for expected in ("4/4", "left", "images/s", "reconstruct", "D(mix)", "probe: validation"):
        assert expected in text
    assert "logistic regression" in (tmp_path / "out").read_text()
    assert Path(tmp_path / "run" / "results.json").exists()
