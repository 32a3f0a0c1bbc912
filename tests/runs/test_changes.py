"""A run that goes on otherwise than it began: run.toml edited, another last step."""

import json
import shutil
from dataclasses import replace

import pytest

from mixzoo.core.errors import CheckpointError, ConfigError
from mixzoo.runs.run import resume, start
from mixzoo.training.checkpoint import saved
from mixzoo.training.logs import CLOCK, ProgressDisplay, read_metrics
from toys import TOYS, toy_config, toy_zoo


class Notes(ProgressDisplay):
    """Keeps the notes; stops the run with a KeyboardInterrupt in place of step `stop`, if there is one."""

    def __init__(self, stop=None):
        self.notes, self.stop = [], stop

    def train(self, line):
        if line["step"] == self.stop:
            raise KeyboardInterrupt

    def note(self, text):
        self.notes.append(text)


def config(**numbers):
    """Without metrics, which take longer than the steps."""
    flags = {"mixer": "dirichlet:k=3", "autoencoder": "toy_net:dropout=0.2"} | numbers.pop("flags", {})
    return replace(toy_config(toy_zoo(), flags=flags, log_every=1, **numbers), metrics=())


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run of 12 steps killed at step 11, with checkpoints of steps 5 and 10."""
    home = tmp_path_factory.mktemp("killed") / "run"
    with pytest.raises(KeyboardInterrupt):
        start(toy_zoo(), config(), home, lambda *_: Notes(11))
    return home


@pytest.fixture
def run(killed, tmp_path):
    return shutil.copytree(killed, tmp_path / "run")


def edit(run, old, new):
    text = (run / "run.toml").read_text()
    assert old in text
    (run / "run.toml").write_text(text.replace(old, new))


def weights(home):
    newest = saved(home / "checkpoints")[-1]
    return {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}


def metrics(home):
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in read_metrics(home / "metrics.jsonl")]


# run.toml edited between stop and resume

EDITS = {
    "lr": ("\nlr = 0.001", "\nlr = 0.1", "train.lr was 0.001 and is 0.1"),
    "mixer": (
        'name = "dirichlet"\nk = 3\nalpha = 1.0',
        'name = "bernoulli"\nk = 3',
        'mixer.name was "dirichlet" and is',
    ),
    "alpha": ("alpha = 1.0", "alpha = 2.0", "mixer.alpha was 1.0 and is 2.0"),
    "k": ("k = 3", "k = 4", "mixer.k was 3 and is 4"),
    "seed": ("seed = 0", "seed = 3", "train.seed was 0 and is 3"),
    "batch": ("batch_images = 16", "batch_images = 8", "train.batch_images was 16 and is 8"),
    "beta": ("beta1 = 0.5", "beta1 = 0.9", "train.beta1 was 0.5 and is 0.9"),
    "data": ("salt = 0", "salt = 1", "dataset.salt was 0 and is 1"),
    "more": ("d_steps = 1", "d_steps = 1\nlabelled_images = 9", "train.labelled_images was missing and is 9"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_run_file_that_was_edited_is_refused_with_what_was_and_what_is(run, name):
    *edited, reason = EDITS[name]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "run.toml"}
    edit(run, *edited)
    with pytest.raises(CheckpointError, match="not what the run was trained with up to step 10: ") as refused:
        resume(toy_zoo(), run)
    assert reason in str(refused.value)
    assert "Undo the change, or add --allow-change" in str(refused.value)
    assert {path: path.read_bytes() for path in before} == before
    edit(run, *reversed(edited))
    resume(toy_zoo(), run)


def test_a_change_that_is_allowed_is_recorded_and_asked_for_once(run):
    edit(run, *EDITS["lr"][:2])
    show = Notes(12)
    with pytest.raises(KeyboardInterrupt):
        resume(toy_zoo(), run, lambda *_: show, allow_change=True)
    assert "warning: train.lr was 0.001 and is 0.1" in show.notes
    resume(toy_zoo(), run)
    recorded = json.loads((run / "environment.json").read_text())["changes"]
    assert recorded == [{"step": 10, "key": "train.lr", "was": "0.001", "now": "0.1"}]


def test_an_allowed_change_changes_what_is_trained_from_there(run, killed, tmp_path):
    plain = shutil.copytree(killed, tmp_path / "plain")
    resume(toy_zoo(), plain)
    edit(run, *EDITS["lr"][:2])
    resume(toy_zoo(), run, allow_change=True)
    assert metrics(run)[:12] == metrics(plain)[:12]
    assert weights(run) != weights(plain)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("checkpoint_every = 5", "checkpoint_every = 1"),
        ("keep_checkpoints = 2", "keep_checkpoints = 9"),
        ('device = "auto"', 'device = "cpu"'),
    ],
)
def test_where_and_how_often_may_change_without_a_word(run, killed, tmp_path, old, new):
    plain = shutil.copytree(killed, tmp_path / "plain")
    resume(toy_zoo(), plain)
    edit(run, old, new)
    resume(toy_zoo(), run)
    assert (metrics(run), weights(run)) == (metrics(plain), weights(plain))


def test_a_completed_run_whose_file_was_edited_says_so(tmp_path):
    start(toy_zoo(), config(), tmp_path / "run")
    edit(tmp_path / "run", *EDITS["lr"][:2])
    with pytest.raises(CheckpointError, match=r"up to step 12: train\.lr was 0\.001 and is 0\.1"):
        resume(toy_zoo(), tmp_path / "run")


def test_a_run_file_in_a_checkpoint_that_is_no_toml_is_damaged(run):
    from test_checkpoint_faults import seal

    for checkpoint in saved(run / "checkpoints"):
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        seal(checkpoint, {**manifest, "run": "x = ["})
    with pytest.raises(CheckpointError, match="its run file is not valid TOML"):
        resume(toy_zoo(), run)


# another last step


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """A run that began with 20 steps."""
    home = tmp_path_factory.mktemp("twenty") / "run"
    start(toy_zoo(), config(steps=20), home)
    return home


@pytest.mark.parametrize("steps", [5, 11, 12])
def test_a_finished_run_trained_further_equals_one_that_began_with_more_steps(tmp_path, twenty, steps):
    """12 is a multiple of evaluate_every; 5 and 11 are not, and have an evaluation that the longer run has not."""
    home = tmp_path / "run"
    start(toy_zoo(), config(steps=steps), home)
    result = resume(toy_zoo(), home, steps=20)
    assert result.steps == 20
    assert (metrics(home), weights(home)) == (metrics(twenty), weights(twenty))
    assert (home / "run.toml").read_bytes() == (twenty / "run.toml").read_bytes()
    assert (home / "results.json").read_bytes() == (twenty / "results.json").read_bytes()
    assert json.loads((home / "status.json").read_text())["state"] == "completed"
    changes = json.loads((home / "environment.json").read_text())["changes"]
    assert changes == [{"step": steps, "key": "train.steps", "was": str(steps), "now": "20"}]


def test_a_stopped_run_trained_further_equals_one_that_began_with_more_steps(run, twenty):
    resume(toy_zoo(), run, steps=20)
    assert (metrics(run), weights(run)) == (metrics(twenty), weights(twenty))


def test_steps_edited_in_the_run_file_count_as_if_they_were_asked_for(tmp_path, twenty):
    home = tmp_path / "run"
    start(toy_zoo(), config(), home)
    edit(home, "steps = 12\n", "steps = 20\n")
    resume(toy_zoo(), home)
    assert (metrics(home), weights(home)) == (metrics(twenty), weights(twenty))


@pytest.mark.parametrize("steps", [11, 12])
def test_a_run_trained_further_and_killed_goes_on_to_the_same_end(tmp_path, twenty, steps):
    home = tmp_path / "run"
    start(toy_zoo(), config(steps=steps), home)
    with pytest.raises(KeyboardInterrupt):
        resume(toy_zoo(), home, lambda *_: Notes(14), steps=20)
    show = Notes()
    resume(toy_zoo(), home, lambda *_: show)
    assert show.notes == []
    assert (metrics(home), weights(home)) == (metrics(twenty), weights(twenty))


@pytest.mark.parametrize("steps", [4, 9, 10])
def test_fewer_steps_than_are_done_are_refused(run, steps):
    with pytest.raises(ConfigError, match=f"--steps {steps}: the run has done 10 steps; give more than that"):
        resume(toy_zoo(), run, steps=steps)


def test_the_steps_that_a_finished_run_has_change_nothing(tmp_path):
    start(toy_zoo(), config(), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert resume(toy_zoo(), tmp_path / "run", steps=12).steps == 12
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(ConfigError, match="the run has done 12 steps"):
        resume(toy_zoo(), tmp_path / "run", steps=11)
    with pytest.raises(ConfigError, match=r"--steps.*0"):
        resume(toy_zoo(), tmp_path / "run", steps=0)


def test_a_finished_run_without_checkpoints_is_not_begun_again(tmp_path):
    start(toy_zoo(), config(), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(CheckpointError, match="it has no checkpoint left to continue from"):
        resume(toy_zoo(), tmp_path / "run", steps=20)


@pytest.mark.parametrize(("mixer", "follows"), [("schedule:a=bernoulli,b=mixup", True), ("dirichlet:k=3", False)])
def test_a_law_that_follows_the_progress_says_that_it_is_of_the_new_length(tmp_path, mixer, follows):
    start(toy_zoo(), config(flags={"mixer": mixer}), tmp_path / "run")
    show = Notes()
    resume(toy_zoo(), tmp_path / "run", lambda *_: show, steps=16)
    said = [note for note in show.notes if "the mixer's law follows the progress of the training" in note]
    assert bool(said) is follows
    if follows:
        assert "its first 12 steps were those of a run of another length, the others are of 16" in said[0]


def test_the_command_takes_both(mixzoo, tmp_path):
    flags = ["--steps", "4", "--batch-images", "8", "--evaluate-every", "4", "--log-every", "2"]
    assert mixzoo("train", *TOYS, *flags, "--out", "run")[0] == 0
    code, out, _ = mixzoo("resume", "run", "--steps", "6")
    assert (code, "after 6 steps" in out) == (0, True)
    edit(tmp_path / "run", "\nlr = 0.001", "\nlr = 0.1")
    code, _, err = mixzoo("resume", "run", "--steps", "8")
    assert (code, err.count("\n")) == (4, 1)
    assert "train.lr was 0.001 and is 0.1" in err
    code, out, err = mixzoo("resume", "run", "--steps", "8", "--allow-change")
    assert (code, "after 8 steps" in out) == (0, True)
    assert "warning: train.lr was 0.001 and is 0.1" in err
    code, _, err = mixzoo("resume", "run", "--steps", "6", "--allow-change")
    assert (code, err) == (2, "mixzoo: run: --steps 6: the run has done 8 steps; give more than that\n")
