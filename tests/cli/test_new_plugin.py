"""mixzoo new-plugin: the package that it writes works unchanged, and a bad name leaves nothing behind."""

import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import warm
from mixzoo.cli.scaffold import package_files, write_plugin
from mixzoo.core.errors import StorageError
from mixzoo.registry.kinds import KINDS
from mixzoo.registry.zoo import Plugin, add_plugin
from mixzoo.runs.drawing import draw
from mixzoo.runs.listing import find_runs
from mixzoo.runs.run import start
from mixzoo.runs.tracking import track_runs
from toys import toy_config, toy_zoo

pytestmark = pytest.mark.scripts

EXAMPLE = Path(__file__).parents[2] / "plugins" / "mixzoo-example"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A package of each kind, named after it."""
    folder = tmp_path_factory.mktemp("written")
    for kind in KINDS:
        write_plugin(f"new_{kind}", kind, folder)
    return folder


def test_the_command_writes_a_package_and_prints_the_next_commands(mixzoo, tmp_path):
    code, out, err = mixzoo("new-plugin", "soft_stripes")
    assert (code, err) == (0, "")
    home = tmp_path / "mixzoo-soft-stripes"
    expected = {
        "pyproject.toml",
        "README.md",
        "mixzoo_soft_stripes/__init__.py",
        "mixzoo_soft_stripes/plugin.py",
        "mixzoo_soft_stripes/soft_stripes.py",
        "tests/test_soft_stripes.py",
    }
    assert {str(path.relative_to(home)) for path in home.rglob("*.*") if path.is_file()} == expected
    assert all(f"mixzoo-soft-stripes/{path}\n" in out for path in expected)
    assert [path.name for path in tmp_path.iterdir()] == [home.name]
    for line in (
        "pip install -e './mixzoo-soft-stripes[test]'",
        "pytest mixzoo-soft-stripes",
        "mixzoo check soft_stripes",
        "mixzoo train --mixer soft_stripes",
    ):
        assert f"  {line}\n" in out
    assert "  mixzoo train --data blobs\n" in mixzoo("new-plugin", "blobs", "--dataset")[1]
    assert (
        "  echo 'metrics = [\"use\"]' > use.toml\n  mixzoo train --config use.toml\n"
        in mixzoo("new-plugin", "use", "--metric")[1]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_trains_unchanged(written, tmp_path, monkeypatch, kind):
    name = f"new_{kind}"
    monkeypatch.syspath_prepend(written / f"mixzoo-new-{kind}")
    zoo = toy_zoo()
    add_plugin(zoo, Plugin(name, "mixzoo-new", "1"), lambda: import_module(f"mixzoo_{name}.plugin"))
    assert zoo.plugins[-1].problem == ""
    assert zoo.find(kind, name).summary
    assert all(option.help for option in zoo.options(kind, name))
    spec = f"{name}:images=50,side=8" if kind == "dataset" else name
    file = tmp_path / "run.toml"
    file.write_text(f'metrics = ["{name}"]' if kind == "metric" else "")
    flags = {} if kind in ("metric", "logger", "figure", "launcher") else {kind: spec}
    result = start(zoo, toy_config(zoo, file if kind == "metric" else None, flags=flags, steps=2), tmp_path / "run")
    assert result.steps == 2
    if kind == "figure":
        assert draw(zoo, name, find_runs([tmp_path / "run"]), device="cpu").picture.height > 0
    if kind == "logger":
        (folder,) = track_runs(zoo, find_runs([tmp_path / "run"]), name, tmp_path / "logs")
        assert "probe.last_test_accuracy" in (folder / "log.jsonl").read_text()


def test_the_package_passes_ruff(written):
    for command in (["ruff", "check"], ["ruff", "format", "--check"]):
        done = subprocess.run([sys.executable, "-m", *command, "--no-cache", "."], cwd=written, capture_output=True)
        assert done.returncode == 0, done.stdout.decode()


@pytest.mark.skipif(find_spec("mixzoo.testing") is None, reason="needs mixzoo.testing")
def test_the_tests_of_the_package_pass(written):
    """Those of every kind and of the example; test_write_a_mixer.py runs the mixer's."""
    homes = [written / f"mixzoo-new-{kind}" for kind in KINDS if kind != "mixer"] + [EXAMPLE]
    path = os.pathsep.join([*map(str, homes), os.environ.get("PYTHONPATH", "")])
    run = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *homes]
    done = warm.run(*run, cwd=written, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stdout


def test_the_example_differs_from_a_new_package_in_its_mixer_alone():
    """The same files; those without the mixer are identical."""
    expected = {
        path.replace("mixzoo_voronoi", "mixzoo_example"): text.replace("mixzoo_voronoi", "mixzoo_example").replace(
            "mixzoo-voronoi", "mixzoo-example"
        )
        for path, text in package_files("voronoi", "mixer").items()
    }
    example = {str(path.relative_to(EXAMPLE)): path.read_text() for path in EXAMPLE.rglob("*.*") if path.is_file()}
    example = {path: text for path, text in example.items() if "cache" not in path and "egg-info" not in path}
    assert example.keys() == expected.keys()
    assert {path for path in expected if expected[path] != example[path]} == {
        "mixzoo_example/voronoi.py",
        "tests/test_voronoi.py",
    }


BAD_NAMES = {
    "upper case": (["Stripes"], "'Stripes' cannot name a mixer: use at most 40 letters a-z, digits and '_'"),
    "a digit first": (["2stripes"], "'2stripes' cannot name a mixer"),
    "a path": (["../stripes"], "'../stripes' cannot name a mixer"),
    "a hyphen": (["soft-stripes"], "'soft-stripes' cannot name a mixer"),
    "empty": ([""], "an empty word after new-plugin"),
    "too long": (["s" * 41], "cannot name a mixer: use at most 40"),
    "a keyword": (["class"], "'class' already means something in the package's own code; choose another name"),
    "a constant": (["none"], "'none' already means something"),
    "an import": (["mask_mixer"], "'mask_mixer' already means something"),
    "the plugin's module": (["plugin"], "'plugin' already means something"),
    "mixzoo's own": (["mixup"], "'mixup' is already the name of a mixzoo mixer ("),
    "an installed package": (["objectives"], "a package mixzoo_objectives is already installed; choose another name"),
    "two kinds": (["stripes", "--mixer", "--dataset"], "--mixer and --dataset: a new package has one part"),
}


@pytest.mark.parametrize("kind", BAD_NAMES)
def test_a_bad_name_is_one_line_and_leaves_nothing(mixzoo, tmp_path, kind):
    arguments, expected = BAD_NAMES[kind]
    code, out, err = mixzoo("new-plugin", *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(mixzoo, tmp_path):
    (tmp_path / "mixzoo-stripes").mkdir()
    code, _, err = mixzoo("new-plugin", "stripes")
    assert code == 2
    assert "mixzoo-stripes: already exists; choose another name, or run the command in another folder" in err
    assert list((tmp_path / "mixzoo-stripes").iterdir()) == []


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    whole = Path.write_text

    def full(self, *args, **kwargs):
        if self.name == "plugin.py":
            raise OSError(28, "No space left on device")
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageError, match="mixzoo-stripes: the plugin could not be written: No space left on device"):
        write_plugin("stripes", "mixer", tmp_path)
    assert list(tmp_path.iterdir()) == []
