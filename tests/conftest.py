"""Shapes are checked while tests run; hypothesis draws the same examples every time in CI."""

import atexit
import os
import shutil
import sys
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: toy sizes gain nothing from more, and cores are shared
if "PYTEST_XDIST_WORKER" not in os.environ:  # what commands cache stays out of the user's own folder
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="mixzoo-tests-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from typechecker import check_cheaply

check_cheaply()
install_import_hook(
    [
        "mixzoo",
        "mixzoo_convnets",
        "mixzoo_datasets",
        "mixzoo_figures",
        "mixzoo_launchers",
        "mixzoo_loggers",
        "mixzoo_metrics",
        "mixzoo_mixers",
        "mixzoo_objectives",
        "mixzoo_timm",
    ],
    "typechecker.checked",
)

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=100)
settings.register_profile("local", deadline=None, max_examples=50)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_collection_modifyitems(items):
    for item in items:
        if "bit_for_bit" in item.name:
            item.add_marker("bit_exact")


@pytest.fixture
def unchecked(monkeypatch):
    """Without the checks of annotations that tests run under, which a user does not have."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)


@pytest.fixture
def mixzoo(monkeypatch, tmp_path, capsys):
    """Runs a command in this process, in an empty folder, with the toy parts installed."""
    from mixzoo.cli import app as cli
    from mixzoo.registry import zoo as plugins
    from mixzoo.registry.catalogue import catalogue_of
    from toys import toy_zoo

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mixzoo.registry.zoo.load_zoo", toy_zoo)
    monkeypatch.setattr(
        "mixzoo.registry.catalogue.load_catalogue", lambda *found: catalogue_of(plugins.load_zoo(*found))
    )
    monkeypatch.setattr("mixzoo.training.memory.keep_freed_memory", lambda: False)  # for the life of a process

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mixzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run
