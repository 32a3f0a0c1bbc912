"""The documentation is correct: snippets install and run, commands parse, names exist."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import pytest

import mixzoo
import warm
from mixzoo.core import errors
from mixzoo.registry.kinds import KINDS
from mixzoo.registry.spec import parse_spec
from mixzoo.registry.zoo import load_zoo

pytestmark = pytest.mark.scripts

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
TIMM = (ROOT / "docs/timm.md").read_text()
CONDITIONED = (ROOT / "docs/conditioned.md").read_text()
OWN_IMAGES = (ROOT / "docs/own_images.md").read_text()
LARGE_DATA = (ROOT / "docs/large_data.md").read_text()
FIGURES = (ROOT / "docs/figures.md").read_text()
REPORT = (ROOT / "docs/report.md").read_text()
LOGGERS = (ROOT / "docs/write_a_logger.md").read_text()
WRITE_A_FIGURE = (ROOT / "docs/write_a_figure.md").read_text()
PARTS = (ROOT / "docs/parts.md").read_text()
RUNS = (ROOT / "docs/runs.md").read_text()
SWEEPS = (ROOT / "docs/sweeps.md").read_text()
AFTER_TRAINING = (ROOT / "docs/after_training.md").read_text()
LAUNCHERS = (ROOT / "docs/launchers.md").read_text()
WRITE_A_LAUNCHER = (ROOT / "docs/write_a_launcher.md").read_text()
PROCESSES = (ROOT / "docs/several_processes.md").read_text()
INDEX = (ROOT / "docs/README.md").read_text()
RUN_FILES = (ROOT / "zoo_configs/README.md").read_text()
PAGES = (PARTS, RUNS, SWEEPS, AFTER_TRAINING, PROCESSES, TIMM, CONDITIONED, OWN_IMAGES, LARGE_DATA, FIGURES, REPORT)
WITH_COMMANDS = (README, CONTRIBUTING, *PAGES, RUN_FILES, LOGGERS, WRITE_A_FIGURE, LAUNCHERS, WRITE_A_LAUNCHER)


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text):
    """Every mixzoo command in a shell block, without comments and shell operators."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("#")[0].split("&&")]
    return [shlex.split(part)[1:] for part in parts if part.startswith("mixzoo ")]


@pytest.fixture(scope="module")
def plugin_home(tmp_path_factory):
    """The plugin of CONTRIBUTING.md, built and installed into a separate folder as the text says."""
    source, home = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (module,) = [block for block in blocks(CONTRIBUTING, "python") if "@hookimpl" in block]
    (project,) = blocks(CONTRIBUTING, "toml")
    (source / "poles.py").write_text(module)
    (source / "pyproject.toml").write_text(project)
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", home, source]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    return home


def run_with(plugin_home, *arguments):
    done = warm.run("-m", "mixzoo", *arguments, env={**os.environ, "PYTHONPATH": str(plugin_home)})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_plugin_of_contributing_is_short():
    (module,) = [block for block in blocks(CONTRIBUTING, "python") if "@hookimpl" in block]
    assert len([line for line in module.splitlines() if line.strip()]) <= 15


def test_the_plugin_of_contributing_is_found_and_shown(plugin_home):
    assert "poles" in run_with(plugin_home, "list", "mixers")
    assert "mixzoo-poles" in run_with(plugin_home, "plugins")
    assert "arcsine" in run_with(plugin_home, "show", "mixer", "poles")


def test_a_strangers_mixer_trains_through_the_command_line(plugin_home, tmp_path):
    small = ["--steps", "2", "--batch-images", "8", "--autoencoder", "amr:depth=2", "--discriminator", "amr:depth=2"]
    out = run_with(plugin_home, "train", "--mixer", "poles", *small, "--out", str(tmp_path / "run"))
    assert "probe: test accuracy" in out
    assert 'name = "poles"' in (tmp_path / "run" / "run.toml").read_text()
    assert '"mixzoo-poles/poles": "0.1"' in (tmp_path / "run" / "environment.json").read_text()


@cache
def help_of(*command):
    done = warm.run("-m", "mixzoo", *command, "--help")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [c for text in WITH_COMMANDS for c in commands(text)], ids=" ".join)
def test_every_command_in_the_documents_names_real_commands_flags_and_parts(arguments):
    command, *rest = arguments
    printed = help_of(command, *rest[:1] if command == "data" else ())
    for flag in (part for part in rest if part.startswith("--")):
        assert flag in printed
    zoo = load_zoo()
    for flag, value in pairwise(rest):
        kind = {"--data": "dataset", "--on": "launcher"}.get(flag, flag[2:])
        if kind in KINDS and value.partition(":")[0] not in ("poles", "ssh", "nicely"):
            zoo.recipe(kind, parse_spec(value))
        if kind == "config":
            assert (ROOT / value).is_file()


def test_the_metrics_of_the_page_on_labels_are_metrics():
    (toml,) = blocks(CONDITIONED, "toml")
    for spec in tomllib.loads(toml)["metrics"]:
        load_zoo().recipe("metric", spec)


def test_the_mixing_call_of_the_readme_works():
    (code,) = (block for block in blocks(README, "python") if "mixzoo.mix(" in block)
    names = {}
    exec(code, names)  # the text of the README
    mixed, soft = names["mixed"], names["soft_labels"]
    assert mixed.h.shape == names["h"].shape
    assert mixed.h.requires_grad
    assert (soft.sum(1) - 1).abs().max() < 1e-6


def test_the_example_of_manifold_mixup_is_short():
    assert len((ROOT / "docs/examples/manifold_mixup.py").read_text().splitlines()) <= 48


def accuracy_of_the_example(mixer, steps):
    """The accuracy that the example prints, in per cent."""
    done = warm.run(ROOT / "docs/examples/manifold_mixup.py", mixer, steps)
    assert done.returncode == 0, done.stderr
    (accuracy,) = re.findall(r"([\d.]+) % of 360 test images", done.stdout)
    return float(accuracy)


@pytest.mark.parametrize("mixer", ["mixup", pytest.param("cutmix:k=3", marks=pytest.mark.slow)])
def test_the_example_of_manifold_mixup_learns(mixer):
    assert accuracy_of_the_example(mixer, 70) > 50  # chance is 10


def test_the_example_of_manifold_mixup_takes_a_mixer_of_regions_and_more_sources():
    assert accuracy_of_the_example("cutmix:k=3", 6) > 0  # 6 steps: a mix before each stage


def test_the_page_of_parts_lists_every_part():
    table = PARTS[PARTS.index("`mixzoo list ...`") :]
    for entry in load_zoo().registered:
        assert f"`{entry.name}`" in table, entry.name


def test_the_page_of_runs_lists_every_exit_code():
    stated = {int(n) for n in re.findall(r"\b(\d+) [a-z]", RUNS[RUNS.index("Exit codes:") :].partition("\n\n")[0])}
    defined = {c.exit_code for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.MixzooError)}
    assert stated == defined - {1} | {0, errors.INTERRUPTED}


def test_the_pictures_of_the_readme_exist():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).read_bytes().startswith(b"\x89PNG")


def test_links_between_documents_exist():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for path in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / path).exists(), (page.name, path)


def test_the_index_names_every_page():
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in INDEX, page.name


def test_files_that_contributing_names_exist():
    folder = ROOT
    for path in re.findall(
        r"`([\w/.]+(?:/|\.py))`", CONTRIBUTING[CONTRIBUTING.index("## Find your way") :].split("##")[1]
    ):
        if path.startswith(("mixzoo/", "plugins/", "tests/", "benchmarks/")):
            folder = (ROOT / path).parent
            assert (ROOT / path).exists(), path
        else:  # in the folder of the name before it
            assert (folder / path).exists(), path
    for path in re.findall(r"`((?:mixzoo|plugins|tests)/[\w/.]+)`", CONTRIBUTING):
        assert (ROOT / path).exists(), path


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == mixzoo.__version__ == version("mixzoo")


def test_constraints_meet_the_lower_bounds_and_name_no_host():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    pinned = dict(line.split("==") for line in text.splitlines() if line and not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for name, _, least in (need.partition(">=") for need in wanted):
        assert name in pinned, name
        numbers = [tuple(int(n) for n in v.split(".")[:2]) for v in (pinned[name] + ".0", least + ".0")]
        assert numbers[0] >= numbers[1], name


def test_the_figures_of_the_page_on_labels_equal_those_of_its_table():
    rows = (ROOT / "benchmarks/results/supervised.md").read_text().splitlines()
    for system in ("label, ", "label:sees=mix", "bernoulli"):
        (row,) = [row.split("|") for row in rows if row.startswith(f"| {system}")]
        assert f"{row[2].strip()} %" in CONDITIONED


@pytest.mark.slow
def test_the_notebook_of_the_readme_trains_compares_and_mixes(tmp_path):
    (code,) = (block for block in blocks(README, "python") if "mixzoo.train(" in block)
    short = code.replace(
        "steps=400", "steps=2, evaluate_every=2, autoencoder='amr:depth=2', discriminator='amr:depth=2'"
    )
    assert short != code
    done = warm.run("-c", short, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "| mixer=cutmix:k=3 | 2 |" in done.stdout
    assert {path.name for path in tmp_path.glob("*.png")} == {"mix.png", "mixes.png", "python-strips.png"}
