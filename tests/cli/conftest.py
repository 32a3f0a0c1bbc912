"""A shell in an empty folder and a fresh environment, for tests that follow a page of the documentation."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import warm

ROOT = Path(__file__).parents[2]


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
