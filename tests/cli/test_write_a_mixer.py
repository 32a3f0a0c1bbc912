"""docs/write_a_mixer.md and docs/write_an_objective.md, followed to the letter in a fresh environment."""

import os
import re
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

import warm

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "write_a_mixer.md").read_text()
KIT = find_spec("mixzoo.testing") is not None


def steps_of(page):
    """(what the block is, file, language, text) of each block of code."""
    return re.findall(r"(?:<!-- (file|in): (\S+) -->\n)?```(\w+)\n(.*?)```", page, flags=re.DOTALL)


STEPS = steps_of(PAGE)
SHELL = [text for _, _, language, text in STEPS if language == "sh"]


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Runs shell text in an empty folder, in an environment in which pip installs offline."""
    folder, home = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    site = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (site / "here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    (home / "bin" / "pip").write_text(f'#!/bin/sh\nexec "{home}/bin/python" -m pip "$@"\n')
    (home / "bin" / "pip").chmod(0o755)
    for command in ("mixzoo", "pytest"):
        warm.executable(home / "bin" / command, "-m", command, installed=[site])
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_QUIET": "1"}
    path = os.pathsep.join([str(home / "bin"), os.environ["PATH"]])
    python_path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    env = {**os.environ, **offline, "PATH": path, "PYTHONPATH": python_path, "PYTEST_ADDOPTS": "-p no:cacheprovider"}

    def run(text):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=env, text=True, capture_output=True
        )

    run.folder = folder
    return run


def without_kit(text):
    """The text, without the commands that need mixzoo.testing if it is not installed."""
    return text if KIT else re.sub(r"(?m)^(pytest|mixzoo check) .*$", "", text)


def followed(steps, shell):
    """Write each file and run each command in order; returns the output."""
    printed = ""
    for kind, path, language, text in steps:
        if kind == "file":
            (shell.folder / path).write_text(text)
        elif kind == "in":
            assert text in (shell.folder / path).read_text(), path
        elif language == "sh":
            done = shell(without_kit(text))
            assert done.returncode == 0, text + done.stdout + done.stderr
            printed += done.stdout
    return printed


def test_the_page_on_objectives_works_as_written(shell):
    page = (ROOT / "docs" / "write_an_objective.md").read_text()
    printed = followed(steps_of(page), shell)
    assert "Reconstruct x with Huber's loss; make decoded mixes look real." in printed
    assert 'name = "soft"' in (shell.folder / "runs" / "soft" / "run.toml").read_text()
    for path in re.findall(r"`(\w+\.py)`", page.partition("## 3")[2]):
        assert (ROOT / "plugins" / "mixzoo_objectives" / path).exists(), path


def test_every_command_and_file_of_the_page_works_in_order(shell):
    printed = followed(STEPS, shell)
    assert "Bands of the code, each from one of k sources." in printed
    assert "stripes  (mixzoo-stripes 0.1.0)  mixer stripes" in printed
    assert 'name = "stripes"' in (shell.folder / "runs" / "stripes" / "run.toml").read_text()
    assert '"mixzoo-stripes"' in (shell.folder / "runs" / "stripes" / "environment.json").read_text()
    assert list((shell.folder / "runs" / "stripes" / "pictures").glob("triangle-*.png"))
    assert list((shell.folder / "runs" / "fade" / "pictures").glob("step-*.png"))


def test_the_page_leaves_no_step_out():
    """A newcomer creates, installs, shows, checks and trains a mixer, draws its mixes, and looks for errors."""
    commands = " ".join(SHELL)
    for step in ("new-plugin", "pip install -e", "show", "pytest", "check", "train", "interpolate", "plugins --errors"):
        assert step in commands
    for path in re.findall(r"\]\((\.\./.*?)\)", PAGE):
        assert (ROOT / "docs" / path).exists(), path
