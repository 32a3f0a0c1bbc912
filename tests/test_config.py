"""The run file: one schema, flag over file over default, and nothing unknown."""

import tomllib

import pytest

from mixzoo.config import DEFAULT_PARTS, Train, resolve
from mixzoo.errors import ConfigError
from mixzoo.options import options_of
from mixzoo.plugins import load_zoo


@pytest.fixture(scope="module")
def zoo():
    return load_zoo()


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "run.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def resolved(zoo, path=None, *, flags=None, **numbers):
    return resolve(zoo, path, flags or {}, numbers)


def test_without_file_or_flags_everything_is_the_default(zoo):
    config = resolved(zoo)
    assert config.names == {kind: spec.name for kind, spec in DEFAULT_PARTS.items()}
    assert config.train == Train()
    assert [spec for spec, _ in config.metrics] == ["logistic_regression", "reconstruction"]


def test_a_flag_goes_before_the_file_and_the_file_before_the_default(zoo, file):
    path = file(
        '[mixer]\nname = "dirichlet"\nk = 5\n[objective]\nname = "aegan"\nlam = 5\n[train]\nsteps = 7\nseed = 3'
    )
    config = resolved(zoo, path, flags={"mixer": "bernoulli:k=3"}, seed=9)
    assert (config.names["mixer"], config.parts["mixer"].k) == ("bernoulli", 3)
    assert (config.names["objective"], config.parts["objective"].lam) == ("aegan", 5.0)
    assert (config.train.steps, config.train.seed, config.train.lr) == (7, 9, Train().lr)
    assert config.names["dataset"] == "digits"


def test_a_flag_replaces_a_part_whole(zoo, file):
    path = file('[mixer]\nname = "dirichlet"\nk = 5\nalpha = 0.5')
    assert resolved(zoo, path, flags={"mixer": "dirichlet:k=4"}).parts["mixer"].alpha == 1.0


def test_the_written_file_is_complete_and_gives_the_same_run(zoo, file):
    flags = {"mixer": "bernoulli:p=0.25", "objective": "acai:variant=amr", "dataset": 'folder:path="a \\"b\\", c"'}
    config = resolved(zoo, flags=flags, steps=3, lr=1e-5)
    text = config.to_toml()
    assert resolved(zoo, file(text)) == config
    written = tomllib.loads(text)
    for table, part in {**config.parts, "train": config.train}.items():
        given = {option.name for option in options_of(type(part)) if getattr(part, option.name) is not None}
        assert set(written[table]) - {"name"} == given
    assert set(written["train"]) == {option.name for option in options_of(Train)} - {"deterministic"}


def test_metrics_are_specs_in_a_list(zoo, file):
    config = resolved(zoo, file('metrics = ["logistic_regression:images=100"]'))
    assert config.metrics[0][1].images == 100
    with pytest.raises(ConfigError, match="metrics='reconstruction' must be a list of specs"):
        resolved(zoo, file('metrics = "reconstruction"'))
    with pytest.raises(ConfigError, match=r"run.toml metrics: 'fid' is not on offer"):
        resolved(zoo, file('metrics = ["fid"]'))


REFUSED = {
    "[trian]\nsteps = 3": r"\[trian\] is no table of a run file \(.*train.*\). Did you mean 'train'\?",
    "[train]\nstep = 3": r"run.toml \[train\]: 'step' is no option here .* Did you mean 'steps'\?",
    "[train]\nsteps = 0": r"\[train\]: steps=0 must be an integer >= 1",
    '[train]\nsteps = "many"': r"steps='many' must be an integer",
    "[train]\nsteps = 2.5": r"steps=2.5 must be an integer",
    "[train]\nsteps = true": r"steps=True must be an integer",
    "[train]\nsteps = 2020-01-01": r"must be an integer",
    "[train]\nlr = nan": r"lr=nan must be a number > 0",
    "[train]\nlr = inf": r"lr=inf must be a number > 0",
    "[train]\nlr = 1e400": r"lr=inf must be a number > 0",
    "[train]\nlr = -1": r"lr=-1 must be a number > 0",
    "train = 3": r"\[train\]: 3 must be a table of name and options",
    '[mixer]\nname = "mixpu"': r"run.toml \[mixer\]: 'mixpu' is not on offer \(.*\). Did you mean 'mixup'\?",
    "[mixer]\nk = 3": r"\[mixer\]: name=None must be the name of a mixer",
    '[mixer]\nname = "dirichlet"\nk = 65': r"\[mixer\]: k=65 must be an integer >= 2 and <= 64",
    'mixer = "mixup"': r"\[mixer\]: 'mixup' must be a table of name and options",
    "[train]\nsteps = 3\nsteps = 4": r"not valid TOML: Cannot overwrite a value",
    "[train\nsteps = 3": r"not valid TOML: .*line 1, column 7",
    "a = " + "[" * 2000: r"not valid TOML",
    b"\xef\xbb\xbf[train]": r"not valid TOML: .*line 1, column 1",
    b"name = '\xe9'": r"not UTF-8 text \(byte 8\)",
    b"[train]\0": r"not valid TOML",
    b"#" * 1_000_001: r"1000001 bytes, a run file has at most 1000000",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:24]))
def test_a_bad_run_file_is_one_line_that_names_it(zoo, file, text):
    with pytest.raises(ConfigError, match=REFUSED[text]) as caught:
        resolved(zoo, file(text))
    assert str(caught.value).count("\n") == 0
    assert "run.toml" in str(caught.value)


def test_a_missing_file_and_a_folder_are_no_run_files(zoo, tmp_path):
    for path in (tmp_path, tmp_path / "nothing.toml"):
        with pytest.raises(ConfigError, match="no such run file"):
            resolved(zoo, path)


def test_a_bad_flag_names_the_flag(zoo):
    with pytest.raises(ConfigError, match=r"^--mixer dirichlet:k=1: k='1' must be an integer >= 2"):
        resolved(zoo, flags={"mixer": "dirichlet:k=1"})
    with pytest.raises(ConfigError, match=r"^--data digit: 'digit' is not on offer .* Did you mean 'digits'\?"):
        resolved(zoo, flags={"dataset": "digit"})
    with pytest.raises(ConfigError, match=r"^--batch-images: batch_images=0 must be an integer >= 1"):
        resolved(zoo, batch_images=0)


def test_more_than_64_sources_are_refused_before_any_data_is_read(zoo):
    with pytest.raises(ConfigError, match="k='65' must be an integer >= 2 and <= 64"):
        resolved(zoo, flags={"mixer": "bernoulli:k=65", "dataset": "mnist:root=nowhere"})


def test_a_slug_names_data_objective_and_mixer(zoo):
    assert resolved(zoo, flags={"mixer": "mixzoo/dirichlet"}).slug == "digits-amr-dirichlet"
