"""What a plugin changes of the process while it loads is put back and named."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from mixzoo.registry.isolation import GLOBAL_STATE, isolated


def another_handler(number):
    """A process that was started in the background may ignore SIGINT from the beginning."""
    ignored = signal.getsignal(number) == signal.SIG_IGN
    signal.signal(number, signal.SIG_DFL if ignored else signal.SIG_IGN)


CHANGES = {
    "the working directory": lambda: os.chdir("/"),
    "the handler of SIGINT": lambda: another_handler(signal.SIGINT),
    "the handler of SIGTERM": lambda: another_handler(signal.SIGTERM),
    "Python's random state": lambda: random.seed(0),
    "NumPy's random state": lambda: np.random.seed(0),  # noqa: NPY002
    "torch's random state": lambda: torch.manual_seed(0),
    "torch's default dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch's default device": lambda: torch.set_default_device("meta"),
    "torch's gradient mode": lambda: torch.set_grad_enabled(False),
    "torch's deterministic mode": lambda: torch.use_deterministic_algorithms(
        not torch.are_deterministic_algorithms_enabled()
    ),
    "torch's precision of float32 products": lambda: torch.set_float32_matmul_precision("medium"),
    "torch's number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
}


def state():
    return [str(state.read(sys.modules[state.module])) for state in GLOBAL_STATE]


def test_every_shared_thing_has_a_case_here():
    assert {state.name for state in GLOBAL_STATE} == CHANGES.keys()


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("raised", [None, ImportError, SystemExit, StopIteration])
def test_a_change_is_put_back_and_named_whatever_is_raised(tmp_path, monkeypatch, name, raised):
    monkeypatch.chdir(tmp_path)
    random.seed(7), np.random.seed(7), torch.manual_seed(7)  # noqa: NPY002
    before, changed = state(), []

    def load():
        nonlocal changed
        with isolated() as changed:
            CHANGES[name]()
            if raised:
                raise raised

    if raised:
        with pytest.raises(raised):
            load()
    else:
        load()
    assert changed == ([] if name == "Python's random state" else [name])
    assert state() == before


def test_a_block_that_changes_nothing_is_not_blamed():
    with isolated() as changed:
        torch.rand(3, generator=torch.Generator().manual_seed(0))
    assert changed == []


def test_a_folder_that_is_removed_meanwhile_is_no_trouble(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with isolated() as changed:
        pass
    assert changed == []


def test_what_is_printed_goes_to_standard_error(capsys):
    with isolated():
        print("hello")
    assert capsys.readouterr() == ("", "hello\n")


def test_torch_loaded_by_a_plugin_is_put_back_and_mixzoos_own_plugins_change_nothing():
    """In a fresh process, where the plugin is the first to import torch."""
    code = """
import sys
from mixzoo.registry.isolation import isolated
from mixzoo.registry.zoo import first_party, load_zoo
with isolated() as nothing:
    pass
assert "torch" not in sys.modules, "the probe imported torch"
print(nothing, {p.changed for p in load_zoo(first_party()).plugins})
"""
    own = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert own.stdout == "[] {()}\n", own.stderr
    code = """
from mixzoo.registry.isolation import isolated
with isolated() as changed:
    import torch
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
print(*changed, torch.get_default_dtype(), torch.is_grad_enabled(), sep=", ")
"""
    rude = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert rude.stdout == "torch's default dtype, torch's gradient mode, torch.float32, True\n", rude.stderr
