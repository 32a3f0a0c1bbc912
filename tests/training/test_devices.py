"""Names of devices: what is taken, what is refused, and in which words."""

import os
from pathlib import Path

import pytest
import torch

from mixzoo.core.errors import ConfigError
from mixzoo.registry.config import Train
from mixzoo.training.devices import check_device, first_sentence, parse_device, pick_device
from mixzoo.training.distributed import DistributedContext
from mixzoo.training.settings import WORKSPACE, settings
from mixzoo.training.trouble import as_trouble
from simulated_cuda import fake_tensors, install_cards


@pytest.mark.parametrize(
    ("name", "advice"),
    {
        "gpu": "cuda", "GPU": "cuda", "gpu:1": "cuda:1", "gpu2": "cuda:2", "Cuda": "cuda", "cuda0": "cuda:0",
        "cuda:01": "cuda:1", "0": "cuda:0", "rocm": "cuda", "hip:3x": "cuda", "cuda:-1": "cuda", "cuda:٣": "cuda",
        "cuda\n": "cuda", "metal": "mps", "CPU": "cpu", "cpu:x": "cpu", "toaster": "auto, cpu, cuda or cuda:NUMBER",
        "": "auto, cpu, cuda or cuda:NUMBER", "auto:1": "auto, cpu, cuda or cuda:NUMBER",
    }.items(),
)  # fmt: skip
def test_a_name_that_torch_does_not_know_is_refused_with_the_one_that_is_meant(name, advice):
    with pytest.raises(ConfigError) as refused:
        pick_device(name)
    assert str(refused.value) == (
        f"--device {name!r} cannot be used here (torch has no device of that name); use {advice}"
    )


@pytest.mark.parametrize("name", ["mps", "xpu", "mtia", "vulkan", "maia", "hpu", "opengl", "mkldnn", "privateuseone"])
def test_a_device_that_is_not_there_is_refused_in_one_sentence(name):
    if name in ("mps", "xpu") and getattr(torch, name).is_available():
        pytest.skip(f"there is an {name} here")
    with pytest.raises(ConfigError, match=r"cannot be used here \(.+\); use auto or cpu$") as refused:
        pick_device(name)
    assert len(str(refused.value)) < 250
    assert ". " not in str(refused.value)


def test_a_device_that_holds_no_numbers_and_a_cpu_of_its_own_number_are_refused():
    with pytest.raises(ConfigError, match=r"'meta' cannot be used here \(its tensors have no values\)"):
        pick_device("meta")
    with pytest.raises(ConfigError, match=r"'cpu:1' cannot be used here \(a machine has one CPU device"):
        pick_device("cpu:1")
    assert pick_device("cpu:0") == pick_device("cpu") == torch.device("cpu")


def test_a_page_of_text_is_cut():
    assert first_sentence(RuntimeError("It failed. " + "This could be because. " * 99)) == "It failed"
    assert len(first_sentence(RuntimeError("x" * 7777))) < 200
    assert first_sentence(RuntimeError("")) == "RuntimeError"
    assert first_sentence(RuntimeError("a\x1b[31m line.\nanother")) == "a\N{REPLACEMENT CHARACTER}[31m line"


# --- with cards


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_any_card_will_do_for_auto_and_cuda_and_the_name_says_so(monkeypatch, name):
    driver = install_cards(monkeypatch, 2)
    driver.current = 1
    with fake_tensors():
        assert pick_device(name) == torch.device("cuda")
    assert driver.current == 1


def test_a_card_that_is_named_is_the_one_that_streams_are_made_on(monkeypatch):
    driver = install_cards(monkeypatch, 2)
    with fake_tensors():
        assert pick_device("cuda:1") == torch.device("cuda:1")
    assert driver.current == 1


def test_each_process_of_a_machine_has_a_card_of_its_own(monkeypatch):
    driver = install_cards(monkeypatch, 2)
    with fake_tensors():
        assert pick_device("auto", DistributedContext(1, 2, 1)) == torch.device("cuda:1")
        assert driver.current == 1
        with pytest.raises(ConfigError, match=r"this machine has 2 GPUs, cuda:0 to cuda:1\)"):
            pick_device("cuda", DistributedContext(2, 3, 2))


@pytest.mark.parametrize(("cards", "has"), [(1, "one GPU, cuda:0"), (4, "4 GPUs, cuda:0 to cuda:3")])
def test_a_card_that_is_not_there_is_refused_with_those_that_are(monkeypatch, cards, has):
    install_cards(monkeypatch, cards)
    with fake_tensors(), pytest.raises(ConfigError) as refused:
        pick_device("cuda:7")
    assert str(refused.value) == (
        f"--device 'cuda:7' cannot be used here (this machine has {has}); use one of them, auto or cpu"
    )


def test_a_look_at_a_card_opens_none(monkeypatch):
    """Outside the fake mode torch.empty would fail here, so that it was not called."""
    driver = install_cards(monkeypatch, 2)
    for name in ("auto", "cuda", "cuda:1"):
        pick_device(name, untouched=True)
    assert driver.opened == []
    with pytest.raises(ConfigError):
        check_device(parse_device("cuda:1"))


def test_the_check_of_arguments_is_torchs_own(monkeypatch):
    """What set_device raises for a device without a number on a real machine, it raises here."""
    install_cards(monkeypatch, 2)
    with pytest.raises(ValueError, match=r"Expected a torch\.device with a specified index"):
        torch.cuda.set_device(torch.device("cuda"))


# --- runs that repeat


@pytest.fixture
def as_it_was(monkeypatch):
    monkeypatch.delenv(WORKSPACE, raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)


@pytest.mark.parametrize(
    ("deterministic", "device", "repeats"),
    [(None, "cpu", True), (False, "cpu", False), (None, "cuda", False), (True, "cuda", True), (True, "cuda:1", True)],
)
def test_a_gpu_repeats_if_it_is_asked_to_and_a_cpu_unless_it_is_asked_not_to(
    monkeypatch, as_it_was, deterministic, device, repeats
):
    with settings(Train(deterministic=deterministic), torch.device(device)):
        assert torch.are_deterministic_algorithms_enabled() == repeats
        assert torch.backends.cudnn.benchmark == (not repeats)
        assert os.environ.get(WORKSPACE) == (":4096:8" if repeats and device != "cpu" else None)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark


def test_products_that_would_not_repeat_are_refused(monkeypatch, as_it_was):
    monkeypatch.setenv(WORKSPACE, ":0:0")
    with settings(Train(), torch.device("cuda")):
        pass
    with pytest.raises(ConfigError) as refused, settings(Train(deterministic=True), torch.device("cuda")):
        pass
    assert str(refused.value) == (
        "--deterministic: the variable CUBLAS_WORKSPACE_CONFIG is ':0:0', with which products on a GPU may not repeat; "
        "use :4096:8 or :16:8, or leave it out"
    )
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with settings(Train(deterministic=True), torch.device("cuda")):
        assert os.environ[WORKSPACE] == ":16:8"
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_operation_that_does_not_repeat_is_one_line():
    with settings(Train(), torch.device("cpu")), pytest.raises(RuntimeError) as raised:
        torch.zeros(4).put_(torch.tensor([0]), torch.ones(1))
    trouble = as_trouble(raised.value, Train(), Path("run"))
    assert isinstance(trouble, ConfigError)
    assert str(trouble) == (
        "'put_' has no form that repeats bit for bit, and the run is deterministic; use --no-deterministic, or another "
        "part"
    )
