"""Resuming a run after its run.toml was edited, or with another last step."""

import json
import shutil
from dataclasses import replace

import pytest

from mixzoo.core.errors import CheckpointError, ConfigError
from mixzoo.runs.comparing import compare
from mixzoo.runs.listing import find_runs
from mixzoo.runs.run import prepare, resume, start
from mixzoo.training.checkpoint import saved
from mixzoo.training.logs import CLOCK, ProgressDisplay, read_metrics
from toys import TOYS, toy_config, toy_zoo


class Notes(ProgressDisplay):
    """Records the notes, and stops the run with a KeyboardInterrupt at step `stop`, if given."""

    def __init__(self, stop=None):
        self.notes, self.stop = [], stop

    def train(self, line):
        if line["step"] == self.stop:
            raise KeyboardInterrupt

    def note(self, text):
        self.notes.append(text)


def config(**numbers):
    """A config without metrics, because they take longer than the steps."""
    flags = {"mixer": "dirichlet:k=3", "autoencoder": "toy_net:dropout=0.2"} | numbers.pop("flags", {})
    return replace(toy_config(toy_zoo(), flags=flags, log_every=1, **numbers), metrics=())


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run of 12 steps killed at step 11, with checkpoints of steps 5 and 10."""
    run_dir = tmp_path_factory.mktemp("killed") / "run"
    with pytest.raises(KeyboardInterrupt):
        start(toy_zoo(), config(), run_dir, lambda *_: Notes(11))
    return run_dir


@pytest.fixture
def run(killed, tmp_path):
    return shutil.copytree(killed, tmp_path / "run")


def edit(run, old, new):
    text = (run / "run.toml").read_text()
    assert old in text
    (run / "run.toml").write_text(text.replace(old, new))


def weights(run_dir):
    newest = saved(run_dir / "checkpoints")[-1]
    return {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}


def metrics(run_dir):
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in read_metrics(run_dir / "metrics.jsonl")]


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
def test_an_edited_run_file_is_refused_with_the_old_and_new_values(run, name):
    *edited, reason = EDITS[name]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "run.toml"}
    edit(run, *edited)
    with pytest.raises(CheckpointError, match="not what the run was trained with up to step 10: ") as refused:
        resume(toy_zoo(), run)
    assert reason in str(refused.value)
    key = "mixer" if name == "mixer" else reason.split()[0]
    assert f"--allow-change {key} to continue with" in str(refused.value)
    assert {path: path.read_bytes() for path in before} == before
    edit(run, *reversed(edited))
    resume(toy_zoo(), run)


def test_an_allowed_change_is_recorded_and_needs_the_flag_only_once(run):
    edit(run, *EDITS["lr"][:2])
    display = Notes(12)
    with pytest.raises(KeyboardInterrupt):
        resume(toy_zoo(), run, lambda *_: display, allow_change=["train.lr"])
    assert "warning: train.lr was 0.001 and is 0.1" in display.notes
    resume(toy_zoo(), run)
    recorded = json.loads((run / "environment.json").read_text())["changes"]
    assert recorded == [{"step": 10, "key": "train.lr", "was": "0.001", "now": "0.1"}]


def test_an_allowed_change_takes_effect_from_the_next_step(run, killed, tmp_path):
    plain = shutil.copytree(killed, tmp_path / "plain")
    resume(toy_zoo(), plain)
    edit(run, *EDITS["lr"][:2])
    resume(toy_zoo(), run, allow_change=["train.lr"])
    assert metrics(run)[:12] == metrics(plain)[:12]
    assert weights(run) != weights(plain)


def test_only_the_named_keys_may_change(run):
    edit(run, *EDITS["lr"][:2])
    edit(run, *EDITS["mixer"][:2])
    with pytest.raises(
        CheckpointError, match=r"up to step 10: mixer\.name was .*add --allow-change mixer to "
    ) as refused:
        resume(toy_zoo(), run, allow_change=["train.lr"])
    assert "train.lr" not in str(refused.value)
    with pytest.raises(
        CheckpointError, match=r"these changes, or add --allow-change mixer --allow-change train\.lr to "
    ):
        resume(toy_zoo(), run, allow_change="train.beta1")
    resume(toy_zoo(), run, allow_change=["train.lr", "mixer"])
    recorded = json.loads((run / "environment.json").read_text())["changes"]
    assert [change["key"] for change in recorded] == ["mixer.name", "mixer.alpha", "train.lr", "mixer.p_per"]


def test_a_key_that_has_no_effect_is_told(run):
    told = {
        "train.beta1": "it has not changed, or the change is recorded already",
        "train.device": "it may change without this flag",
        "train.lrr": "run.toml has no such key; give one like train.lr, or a part like mixer. Did you mean 'train.lr'?",
    }
    for _ in range(2):  # to its end, and after it
        display = Notes()
        resume(toy_zoo(), run, lambda *_, display=display: display, allow_change=list(told))
        assert [n for n in display.notes if "--allow" in n] == [f"--allow-change {key}: {t}" for key, t in told.items()]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("checkpoint_every = 5", "checkpoint_every = 1"),
        ("keep_checkpoints = 2", "keep_checkpoints = 9"),
        ('device = "auto"', 'device = "cpu"'),
    ],
)
def test_device_and_intervals_may_change_without_a_flag(run, killed, tmp_path, old, new):
    plain = shutil.copytree(killed, tmp_path / "plain")
    resume(toy_zoo(), plain)
    edit(run, old, new)
    resume(toy_zoo(), run)
    assert (metrics(run), weights(run)) == (metrics(plain), weights(plain))


def test_resuming_a_completed_run_with_an_edited_file_is_refused(tmp_path):
    start(toy_zoo(), config(), tmp_path / "run")
    edit(tmp_path / "run", *EDITS["lr"][:2])
    with pytest.raises(CheckpointError, match=r"up to step 12: train\.lr was 0\.001 and is 0\.1"):
        resume(toy_zoo(), tmp_path / "run")


def test_a_run_file_in_a_checkpoint_that_is_not_toml_is_damaged(run):
    from test_checkpoint_faults import seal

    for checkpoint in saved(run / "checkpoints"):
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        seal(checkpoint, {**manifest, "run": "x = ["})
    with pytest.raises(CheckpointError, match="its run file is not valid TOML"):
        resume(toy_zoo(), run)


# another last step


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """A run of 20 steps from the start."""
    run_dir = tmp_path_factory.mktemp("twenty") / "run"
    start(toy_zoo(), config(steps=20), run_dir)
    return run_dir


@pytest.mark.parametrize("steps", [5, 11, 12])
def test_a_finished_run_trained_further_equals_a_longer_run(tmp_path, twenty, steps):
    """5 and 11 are not multiples of evaluate_every: there the short run has an evaluation that the long one lacks."""
    run_dir = tmp_path / "run"
    start(toy_zoo(), config(steps=steps), run_dir)
    result = resume(toy_zoo(), run_dir, steps=20)
    assert result.steps == 20
    assert (metrics(run_dir), weights(run_dir)) == (metrics(twenty), weights(twenty))
    assert (run_dir / "run.toml").read_bytes() == (twenty / "run.toml").read_bytes()
    assert (run_dir / "results.json").read_bytes() == (twenty / "results.json").read_bytes()
    assert json.loads((run_dir / "status.json").read_text())["state"] == "completed"
    changes = json.loads((run_dir / "environment.json").read_text())["changes"]
    assert changes == [{"step": steps, "key": "train.steps", "was": str(steps), "now": "20"}]


def test_a_stopped_run_trained_further_equals_a_longer_run(run, twenty):
    resume(toy_zoo(), run, steps=20)
    assert (metrics(run), weights(run)) == (metrics(twenty), weights(twenty))


def test_steps_edited_in_the_run_file_count_like_the_flag(tmp_path, twenty):
    run_dir = tmp_path / "run"
    start(toy_zoo(), config(), run_dir)
    edit(run_dir, "steps = 12\n", "steps = 20\n")
    resume(toy_zoo(), run_dir)
    assert (metrics(run_dir), weights(run_dir)) == (metrics(twenty), weights(twenty))


@pytest.mark.parametrize("steps", [11, 12])
def test_a_run_trained_further_and_killed_resumes_to_the_same_result(tmp_path, twenty, steps):
    run_dir = tmp_path / "run"
    start(toy_zoo(), config(steps=steps), run_dir)
    with pytest.raises(KeyboardInterrupt):
        resume(toy_zoo(), run_dir, lambda *_: Notes(14), steps=20)
    display = Notes()
    resume(toy_zoo(), run_dir, lambda *_: display)
    assert display.notes == []
    assert (metrics(run_dir), weights(run_dir)) == (metrics(twenty), weights(twenty))


@pytest.mark.parametrize("steps", [4, 9, 10])
def test_a_number_of_steps_that_is_done_already_is_refused(run, steps):
    with pytest.raises(ConfigError, match=f"--steps {steps}: the run has done 10 steps; give more than that"):
        resume(toy_zoo(), run, steps=steps)


def test_resuming_a_finished_run_with_its_own_steps_changes_nothing(tmp_path):
    start(toy_zoo(), config(), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert resume(toy_zoo(), tmp_path / "run", steps=12).steps == 12
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(ConfigError, match="the run has done 12 steps"):
        resume(toy_zoo(), tmp_path / "run", steps=11)
    with pytest.raises(ConfigError, match=r"--steps.*0"):
        resume(toy_zoo(), tmp_path / "run", steps=0)


def test_a_finished_run_without_checkpoints_is_not_restarted(tmp_path):
    start(toy_zoo(), config(), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(CheckpointError, match="it has no checkpoint left to continue from"):
        resume(toy_zoo(), tmp_path / "run", steps=20)


@pytest.mark.parametrize(("mixer", "follows"), [("schedule:a=bernoulli,b=mixup", True), ("dirichlet:k=3", False)])
def test_a_law_that_follows_the_progress_warns_of_the_new_length(tmp_path, mixer, follows):
    start(toy_zoo(), config(flags={"mixer": mixer}), tmp_path / "run")
    display = Notes()
    resume(toy_zoo(), tmp_path / "run", lambda *_: display, steps=16)
    notes = [note for note in display.notes if "the mixer's law follows the progress of the training" in note]
    assert bool(notes) is follows
    if follows:
        assert "its first 12 steps were drawn for a run of another length, the later ones for 16 steps" in notes[0]
    change = {"step": 12, "key": "train.steps", "was": "12", "now": "16"}
    recorded = json.loads((tmp_path / "run" / "environment.json").read_text())["changes"]
    assert recorded == [change | ({"mixer_follows": True} if follows else {})]

    # So that a comparison does not take it for a repeat of one that had this length from the start.
    start(toy_zoo(), config(flags={"mixer": mixer}, steps=16), tmp_path / "straight")
    start(toy_zoo(), config(flags={"mixer": mixer}, steps=16, seed=1), tmp_path / "straight-1")
    variants = compare(find_runs([tmp_path])).variants
    names = [(variant.name, len(variant.runs)) for variant in variants]
    assert names == ([("earlier=steps 12 up to step 12", 1)] if follows else []) + [("all runs", 2)]


def test_a_run_made_longer_before_its_first_step_has_no_earlier_settings(tmp_path):
    prepare(config(flags={"mixer": "schedule:a=bernoulli,b=mixup"}), tmp_path / "run")
    display = Notes()
    resume(toy_zoo(), tmp_path / "run", lambda *_: display, steps=16)
    assert not [note for note in display.notes if "follows the progress" in note]
    (variant,) = compare(find_runs([tmp_path])).variants
    assert variant.name == "all runs"


def test_the_resume_command_takes_steps_and_allow_change(mixzoo, tmp_path):
    flags = ["--steps", "4", "--batch-images", "8", "--evaluate-every", "4", "--log-every", "2"]
    assert mixzoo("train", *TOYS, *flags, "--out", "run")[0] == 0
    code, out, err = mixzoo("resume", "run", "--steps", "6")
    assert (code, "after 6 steps" in out) == (0, True)
    assert "\ntrain.steps was 4 and is 6" in f"\n{err}"  # asked for, so no warning
    edit(tmp_path / "run", "\nlr = 0.001", "\nlr = 0.1")
    code, _, err = mixzoo("resume", "run", "--steps", "8")
    assert (code, err.count("\n")) == (4, 1)
    assert "train.lr was 0.001 and is 0.1" in err
    code, out, err = mixzoo("resume", "run", "--steps", "8", "--allow-change", "train.lr")
    assert (code, "after 8 steps" in out) == (0, True)
    assert "warning: train.lr was 0.001 and is 0.1" in err
    code, _, err = mixzoo("resume", "run", "--steps", "6", "--allow-change", "train.lr")
    assert (code, err) == (2, "mixzoo: run: --steps 6: the run has done 8 steps; give more than that\n")
