"""Imports: importing mixzoo is light, and the core names no plugin."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mixzoo

CORE = Path(mixzoo.__file__).parent
HEAVY = {"torch", "numpy", "timm", "matplotlib", "sklearn", "hypothesis", "PIL", "scipy"}  # typer loads pydantic itself


def loaded_by(code):
    """The modules that a fresh interpreter has loaded after running the code."""
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(printed.stdout.split("\n")[-2].split())


def test_importing_mixzoo_loads_nothing_heavy_and_no_plugin():
    modules = loaded_by("import mixzoo")
    assert not modules & (HEAVY | {"pydantic", "typer", "rich", "pluggy"})
    assert not [name for name in modules if name.startswith("mixzoo_")]


@pytest.mark.parametrize("arguments", ["['--help']", "['train', '--help']", "['--version']"])
def test_help_loads_no_torch_and_no_plugin(arguments):
    code = (
        f"import sys; sys.argv[1:] = {arguments}\nfrom mixzoo.cli.app import main\ntry: main()\nexcept SystemExit: pass"
    )
    modules = loaded_by(code)
    assert not modules & HEAVY
    assert not [name for name in modules if name.startswith("mixzoo_")]


def test_the_import_log_of_help_shows_no_torch():
    run = [sys.executable, "-X", "importtime", "-m", "mixzoo", "--help"]
    log = subprocess.run(run, capture_output=True, text=True, check=True).stderr
    assert "mixzoo.cli.app" in log
    assert "torch" not in log


def test_listing_plugins_loads_none_of_their_parts():
    modules = loaded_by(
        "from mixzoo.registry.hookspecs import hookimpl\nimport mixzoo_mixers.plugin, mixzoo_convnets.plugin"
    )
    assert not modules & HEAVY


def test_a_data_set_in_the_hugging_face_format_loads_its_package_only_when_it_is_read():
    modules = loaded_by("from mixzoo_datasets.hf import HF\nHF(hub='a/b')")
    assert "mixzoo_datasets.hf_rows" in modules
    assert not modules & {"datasets", "pyarrow", "huggingface_hub"}


def test_a_light_public_name_loads_nothing_heavy():
    assert not loaded_by("from mixzoo import hookimpl, API_VERSION, ConfigError, PluginError") & HEAVY


def test_importing_the_kit_needs_neither_hypothesis_nor_pytest_nor_torch():
    assert not loaded_by("import mixzoo.testing\nfrom mixzoo.testing import Check, run_checks") & (HEAVY | {"pytest"})


def test_importing_the_lookup_of_plugins_loads_no_plugin():
    modules = loaded_by("import mixzoo.registry.zoo")
    assert not modules & HEAVY
    assert not [name for name in modules if name.startswith("mixzoo_")]


def test_every_public_name_exists_and_is_documented():
    for name in mixzoo.__all__:
        assert getattr(mixzoo, name) is not None
    assert sorted(mixzoo.__all__, key=lambda name: (not name.isupper(), name)) == mixzoo.__all__  # constants first
    assert {name for name in mixzoo.__all__ if getattr(mixzoo, name).__doc__ is None} == {
        "Better"
    }  # a Literal has none
    with pytest.raises(AttributeError, match="module 'mixzoo' has no attribute 'Mixup'"):
        _ = mixzoo.Mixup


def test_the_core_names_no_plugin_package():
    for file in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith("mixzoo_")], file
