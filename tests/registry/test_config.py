"""The run file: one schema, flag over file over default, and nothing unknown."""

import os
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixzoo.core.errors import ConfigError
from mixzoo.registry.config import DEFAULT_METRICS, DEFAULT_PARTS, Train, resolve, under_data_root
from mixzoo.registry.options import as_text, options_of, to_table
from mixzoo.registry.spec import parse_spec
from mixzoo.registry.zoo import load_zoo


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
    assert [parse_spec(spec).name for spec, _ in config.metrics] == list(DEFAULT_METRICS)


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
    absent = {"deterministic", "image_cache", "labelled_images", "workers"}  # None when not given
    assert set(written["train"]) == {option.name for option in options_of(Train)} - absent


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mixer=st.builds("dirichlet:k={},alpha={}".format, st.integers(2, 64), st.floats(0.01, 1e6)) | st.just("mixup"),
    lr=st.floats(0, exclude_min=True, allow_infinity=False),
    seed=st.integers(0, 2**63 - 1),
    device=st.text(max_size=10),
)
def test_any_config_survives_its_own_run_file(zoo, file, mixer, lr, seed, device):
    config = resolved(zoo, flags={"mixer": mixer}, lr=lr, seed=seed, device=device)
    assert resolved(zoo, file(config.to_toml())) == config


def test_a_number_on_the_command_line_goes_before_the_same_number_in_the_file(zoo, file):
    path = file("[train]\nsteps = 7\nlr = 0.5\ndeterministic = true")
    train = resolved(zoo, path, steps=8).train
    assert (train.steps, train.lr, train.deterministic) == (8, 0.5, True)
    assert resolved(zoo, path, deterministic=False).train.deterministic is False


def test_a_bad_file_is_refused_even_where_a_flag_would_replace_its_fault(zoo, file):
    with pytest.raises(ConfigError, match=r"\[train\]: steps=0 must be an integer >= 1"):
        resolved(zoo, file("[train]\nsteps = 0"), steps=3)


def test_windows_line_ends_are_fine(zoo, file):
    assert resolved(zoo, file("[train]\r\nsteps = 3\r\n")).train.steps == 3


def test_metrics_are_specs_in_a_list(zoo, file):
    config = resolved(zoo, file('metrics = ["logistic_regression:images=100"]'))
    assert config.metrics[0][1].images == 100
    with pytest.raises(ConfigError, match="metrics='reconstruction' must be a list of specs"):
        resolved(zoo, file('metrics = "reconstruction"'))
    with pytest.raises(ConfigError, match=r"unknown metric 'fid' \(.*\). Did you mean 'fidelity'\? The word"):
        resolved(zoo, file('metrics = ["fid"]'))


REFUSED = {
    "[trian]\nsteps = 3": r"\[trian\] is not a table of a run file \(.*train.*\). Did you mean 'train'\?",
    "[train]\nstep = 3": r"run.toml \[train\]: 'step' is not an option .* Did you mean 'steps'\?",
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
    '[mixer]\nname = "mixpu"': r"run.toml \[mixer\]: unknown mixer 'mixpu' \(available: .*\). Did you mean 'mixup'\?",
    "[mixer]\nk = 3": r"\[mixer\]: name= must be the name of a mixer, such as name = \"mixup\"",
    '[mixer]\nname = "dirichlet"\nk = 65': r"\[mixer\]: k=65 must be an integer >= 2 and <= 64",
    'mixer = "mixpu"': r"run.toml mixer = mixpu: unknown mixer 'mixpu' \(available: .*\). Did you mean 'mixup'\?",
    'mixer = "Dirichlet:K=3"': r"run.toml mixer = Dirichlet:K=3: names are lower .* Did you mean 'dirichlet:k=3'\?",
    'dataset = "/path/MNIST"': r"run.toml dataset = /path/MNIST: .* Did you mean 'mnist:root=/path/MNIST'",
    "mixer = 3": r"\[mixer\]: 3 must be a table of name and options or a spec, such as mixer = \"mixup\"$",
    "steps = 3": r"run.toml: steps is a number of the run; put it in the table \[train\]",
    "[train]\nsteps = [1, 2]": r"\[train\]: steps=\[1, 2\] must be an integer >= 1\. Give one value, not a list\.",
    "": r"run.toml: it is empty; a run file has tables, such as \[train\] or \[mixer\]",
    " \n": r"run.toml: it is empty",
    "[train]\nsteps = 3\nsteps = 4": r"Cannot overwrite a value .*line 3.*; a key or table occurs twice",
    "[train\nsteps = 3": r"not valid TOML: .*line 1, column 7",
    "a = " + "[" * 2000: r"not valid TOML",
    b"\xef\xbb\xbf[trian]": r"\[trian\] is not a table of a run file",
    "[train]\nsteps = 3".encode("utf-16"): r"it is UTF-16 text, and TOML is UTF-8; save it as UTF-8",
    b"[train]\nsteps = 3\n# \xe9": r"not UTF-8 text \(byte 20, line 3\); save it as UTF-8",
    "[train]\nb = " + "[" * 2000: r"not valid TOML: nested too deeply \(at line 2\)",
    b"name = '\xe9'": r"not UTF-8 text \(byte 8, line 1\)",
    b"[train]\0": r"not valid TOML",
    "[train]\nsteps = " + "9" * 5000: r"not valid TOML: a number of too many digits \(at line 2\)",
    "[train]\nsteps" + ".a" * 3_000 + " = 1": r"\[train\]: steps=.* must be an integer >= 1",
    "metrics" + ".a" * 3_000 + " = 1": r"metrics=.* must be a list of specs",
    "mixer = " + "[" * 300 + "]" * 300: r"\[mixer\]: .* must be a table of name and options",
    '[train]\nsteps = "' + "9" * 60_000 + '"': r"\[train\]: steps='9999.* must be an integer >= 1",
    '[train]\n"' + "x" * 60_000 + '" = 1': r"\[train\]: 'xxx.* is not an option",
    '"a\\nb\\u001b[2J" = 1': r"\[a.*b.* is not a table of a run file",
    b"#" * 64_001: r"64001 bytes, a run file has at most 64000",
    "[train]\nsteps = 3\nsteps = 4\n": r"not valid TOML: .*line 3, column 10",
    "[train]\nsteps = ": r"not valid TOML: Invalid value \(at line 2, the end of the file\)",
    "[train]\nsteps = 3\n[train]": r"not valid TOML: .*line 3, column 7",
    '[mixer]\nname = "mixup': r"not valid TOML: .*\(at line 2, the end of the file\)",
    "[train]\nsteps = 007": r"not valid TOML: .*line 2, column 10",
    "[train]\nsteps = -3": r"steps=-3 must be an integer >= 1",
    "[train]\nlr = true": r"lr=True must be a number > 0",
    "[train]\nseed = 9223372036854775808": r"seed=9223372036854775808 must be .* < 9223372036854775808",
    "[train]\ndevice = 0": r"device=0 must be text",
    "[train]\ndeterministic = 1": r"deterministic=1 must be true or false \(or not given\)",
    "[train.steps]\nx = 3": r"steps=\{'x': 3\} must be an integer",
    "[[mixer]]\nname = 'mixup'": r"\[mixer\]: \[\{'name': 'mixup'\}\] must be a table",
    "[mixer]\nname = 3": r"\[mixer\]: name= must be the name of a mixer, not 3, such as",
    '[mixer]\nname = "dirichlet:k=3"': r"\[mixer\]: name=.* is a spec\. Did you mean mixer = \"dirichlet:k=3\",",
    '[mixer]\nname = "dirichlet"\nalhpa = 1': r"\[mixer\]: 'alhpa' is not an option .* Did you mean 'alpha'\?",
    "metrics = [3]": r"metrics=\[3\] must be a list of specs",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:24]))
def test_a_bad_run_file_is_one_line_that_names_it(zoo, file, text):
    refuses(zoo, file(text), REFUSED[text])


def refuses(zoo, path, message):
    with pytest.raises(ConfigError, match=message) as caught:
        resolved(zoo, path)
    assert str(caught.value).isprintable()
    assert "run.toml" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[mixer]\nname = "{}"', r"\[mixer\]: unknown mixer .*xxx.* \(available: "),
        ('"{}" = 1', r"\[.*xxx.*\] is not a table of a run file"),
    ],
)
def test_an_endless_name_is_not_shown_whole(zoo, file, text, message):
    refuses(zoo, file(text.format("x" * 60_000)), message)


def test_the_written_file_pins_the_options_of_metrics_too(zoo):
    config = resolved(zoo)
    written = tomllib.loads(config.to_toml())["metrics"]
    assert [parse_spec(spec).options for spec in written] == [
        {key: as_text(value) for key, value in to_table(metric).items()} for _, metric in config.metrics
    ]


@pytest.mark.parametrize("kind", ["mixr", "metrics"])
def test_a_flag_that_would_be_ignored_is_refused(zoo, kind):
    with pytest.raises(AssertionError, match=kind):  # only our own command line could pass one
        resolved(zoo, flags={kind: "nonsense"})


def test_a_malformed_metric_shows_the_caret(zoo, file):
    with pytest.raises(
        ConfigError, match=r"run.toml metrics: expected an option .* at character 16\n  recon.*:\n {17}\^$"
    ):
        resolved(zoo, file('metrics = ["reconstruction:"]'))


def test_a_missing_file_a_folder_and_a_pipe_are_no_run_files(zoo, tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "nothing.toml", tmp_path / "pipe.toml"):
        with pytest.raises(ConfigError, match="no such run file"):
            resolved(zoo, path)
    (tmp_path / "pipe.toml").unlink()
    with pytest.raises(ConfigError, match=r"it is a folder; a run file is a TOML file$"):
        resolved(zoo, tmp_path)


def test_a_folder_or_a_misspelt_name_says_which_run_file_was_meant(zoo, tmp_path):
    (tmp_path / "seed=1").mkdir()
    (tmp_path / "seed=1" / "run.toml").write_text("[train]\n")
    with pytest.raises(ConfigError, match=r": it is a folder; did you mean .*seed=1/run\.toml\?$"):
        resolved(zoo, tmp_path)
    with pytest.raises(ConfigError, match=r"seed=1: it is a folder; did you mean .*seed=1/run\.toml\?$"):
        resolved(zoo, tmp_path / "seed=1")
    with pytest.raises(ConfigError, match=r"run\.tml: no such run file\. Did you mean 'run\.toml'\?$"):
        resolved(zoo, tmp_path / "seed=1" / "run.tml")


def test_a_run_file_of_another_format_says_so(zoo, tmp_path):
    for name, text in (("run.json", '{"train": {}}'), ("run.yaml", "train:\n  steps: 3\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(
            ConfigError, match=r"not valid TOML: .*line 1.* \(a run file is TOML, and .* files are not\)"
        ):
            resolved(zoo, tmp_path / name)


def test_a_part_may_be_a_spec_in_place_of_its_table_and_is_written_as_a_table(zoo, file):
    flags = {"autoencoder": "acai:depth=4", "mixer": "one_of:a=(dirichlet:k=3),b=mixup", "objective": "amr:lam=5"}
    config = resolved(zoo, file("".join(f'{kind} = "{spec}"\n' for kind, spec in flags.items())))
    assert config == resolved(zoo, flags=flags)
    written = tomllib.loads(config.to_toml())
    assert all(isinstance(written[kind], dict) for kind in DEFAULT_PARTS)


def test_a_byte_order_mark_is_passed_over(zoo, file):
    assert resolved(zoo, file(b"\xef\xbb\xbf[train]\nsteps = 3\n")).train.steps == 3


def test_a_bad_flag_names_the_flag(zoo):
    with pytest.raises(ConfigError, match=r"^--mixer dirichlet:k=1: k='1' must be an integer >= 2"):
        resolved(zoo, flags={"mixer": "dirichlet:k=1"})
    with pytest.raises(ConfigError, match=r"^--data digit: unknown data set 'digit' .* Did you mean 'digits'\?"):
        resolved(zoo, flags={"dataset": "digit"})
    with pytest.raises(ConfigError, match=r"^--batch-images: batch_images=0 must be an integer >= 1"):
        resolved(zoo, batch_images=0)


def test_more_than_64_sources_are_refused_before_any_data_is_read(zoo):
    with pytest.raises(ConfigError, match="k='65' must be an integer >= 2 and <= 64"):
        resolved(zoo, flags={"mixer": "bernoulli:k=65", "dataset": "mnist:root=nowhere"})


def test_a_slug_names_data_objective_and_mixer(zoo):
    assert resolved(zoo, flags={"mixer": "mixzoo/dirichlet"}).slug == "digits-amr-dirichlet"


def test_a_metric_named_twice_is_refused(zoo, file):
    with pytest.raises(ConfigError, match="metrics has 'reconstruction' twice; once is enough"):
        resolved(zoo, file('metrics = ["reconstruction", "reconstruction"]'))


# --- where data sets are


def rooted(flags=None, *, flag=None, environment=None, file=None):
    zoo = load_zoo()
    flags = {"dataset": "mnist"} if flags is None else flags
    config = resolve(zoo, file, flags, {})
    return under_data_root(config, flag=flag, environment=environment, data=flags.get("dataset")).parts["dataset"]


def test_the_flag_names_the_folder_of_data_before_a_file_that_says_one_before_the_variable(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('[dataset]\nname = "mnist"\nroot = "from the file"\n')
    assert rooted({}, file=file).root == "from the file"
    assert rooted({}, file=file, environment="/env").root == "from the file"
    assert rooted(environment="/env").root == "/env"
    assert rooted({}, file=file, environment="/env", flag="/flag").root == "/flag"
    assert rooted({"dataset": "mnist:root=mine"}, environment="/env").root == "mine"
    assert rooted({"dataset": "mnist"}, environment="").root == "data"


def test_a_variable_that_a_data_set_has_no_use_for_is_left_alone():
    assert not hasattr(rooted({"dataset": "digits"}, environment="/env"), "root")


@pytest.mark.parametrize(
    ("spec", "words"),
    [("digits", "data set 'digits' has no root="), ("mnist:root=mine", "--data states root= itself")],
)
def test_a_flag_for_the_folder_that_would_do_nothing_is_refused(spec, words):
    with pytest.raises(ConfigError, match=f"^--data-root /flag: {words}; leave one out$"):
        rooted({"dataset": spec}, flag="/flag")


def test_the_command_takes_the_folder_of_data(mixzoo, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXZOO_DATA", str(tmp_path / "env"))
    code, _, err = mixzoo("train", "--data", "mnist")
    assert (code, str(tmp_path / "env") in err) == (3, True)
    code, _, err = mixzoo("train", "--data", "mnist", "--data-root", str(tmp_path / "flag"))
    assert (code, str(tmp_path / "flag") in err) == (3, True)
