"""GpuPool that several runs share: who gets which, and how much of its memory."""

import pytest
import torch

from mixzoo.core import gpu_pool
from mixzoo.core.errors import ConfigError
from mixzoo.core.gpu_pool import GpuPool, free_memory, memory_advice, memory_fraction
from mixzoo.data.free_memory import device_free
from mixzoo.runs import sweep
from mixzoo.runs.run import check_startable
from mixzoo.training.devices import pick_device
from simulated_cuda import fake_tensors, install_cards
from toys import toy_config, toy_zoo

ANY, FIRST, SECOND, CPU = (torch.device(name) for name in ("cuda", "cuda:0", "cuda:1", "cpu"))


def test_a_card_is_used_again_once_its_process_has_ended():
    cards = GpuPool(dict.fromkeys("abc", torch.device("cuda")), ["4", "7"])
    assert [cards.take(name)["CUDA_VISIBLE_DEVICES"] for name in "ab"] == ["4", "7"]
    cards.leave("b")
    assert cards.take("c") == {"CUDA_VISIBLE_DEVICES": "7"}


@pytest.mark.parametrize(
    ("devices", "at_once", "expected"),
    [
        ([ANY] * 9, 8, 4),  # eight at a time on two cards
        ([ANY] * 9, 3, 2),
        ([ANY] * 9, 2, None),  # each has one to itself
        ([ANY] * 3, 8, 2),  # there are only three
        ([ANY] * 2 + [CPU] * 9, 11, None),
        ([FIRST] * 3 + [SECOND] * 9, 12, 3),
        ([FIRST] * 3 + [SECOND] * 9, 2, 2),
        ([ANY, FIRST, ANY, FIRST], 4, 4),  # the named ones may come while both others are there
        ([CPU] * 4, 4, None),
    ],
)
def test_a_process_is_told_how_many_may_be_on_its_card(devices, at_once, expected):
    pool = GpuPool({str(i): device for i, device in enumerate(devices)}, ["4", "7"])
    assert pool.take("0", at_once).get(gpu_pool.RUNS_PER_GPU) == (None if expected is None else str(expected))


def test_no_card_ever_has_more_processes_than_they_were_told():
    """Whatever the order in which they begin and end."""
    devices = {str(i): [ANY, FIRST, SECOND, ANY, CPU][i % 5] for i in range(60)}
    rng = torch.Generator().manual_seed(0)
    for at_once in (1, 2, 3, 5, 8, 13):
        pool, running, told = GpuPool(devices, ["0", "1"]), [], {}
        for name in map(str, torch.randperm(60, generator=rng).tolist()):
            while len(running) >= at_once:
                pool.leave(running.pop(int(torch.randint(len(running), (), generator=rng))))
            told[name] = int(pool.take(name, at_once).get(gpu_pool.RUNS_PER_GPU, 1))
            running.append(name)
            for card in (0, 1):
                here = [each for each in running if pool._uses.get(each) == card]
                assert all(told[each] >= len(here) for each in here)


def test_a_run_keeps_to_its_part_of_a_card(monkeypatch):
    driver = install_cards(monkeypatch, 2)
    with fake_tensors():
        pick_device("cuda")
        assert driver.fractions == {}
        assert device_free(ANY) == driver.memory
        monkeypatch.setenv(gpu_pool.RUNS_PER_GPU, "4")
        driver.current = 1
        pick_device("cuda")  # set_per_process_memory_fraction takes no device without a number
        pick_device("cuda:0")
    part = 1 / 4 - gpu_pool.CONTEXT_BYTES / driver.memory
    assert driver.fractions == {0: part, 1: part}
    assert device_free(ANY) == free_memory(FIRST) == int(part * driver.memory)
    assert 4 * (part * driver.memory + gpu_pool.CONTEXT_BYTES) <= driver.memory
    assert memory_advice() == ", or fewer --jobs: 4 runs share the GPU"


def test_a_share_is_never_nothing(monkeypatch):
    monkeypatch.setenv(gpu_pool.RUNS_PER_GPU, "10")
    assert memory_fraction(2 << 30) == 1 / 20
    monkeypatch.delenv(gpu_pool.RUNS_PER_GPU)
    assert memory_fraction(2 << 30) == 1
    assert memory_advice() == ""


@pytest.mark.parametrize("given", ["0", "-1", "", "four", "\N{SUPERSCRIPT TWO}", "2.5"])
def test_a_number_of_runs_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv(gpu_pool.RUNS_PER_GPU, given)
    with pytest.raises(ConfigError, match=r"the variable MIXZOO_RUNS_PER_GPU is .*, and should be a number >= 1"):
        memory_advice()


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_the_process_of_a_sweep_opens_no_card(monkeypatch, device):
    """It checks all that its runs would refuse; a context on each card would take hundreds of megabytes of it."""
    driver = install_cards(monkeypatch, 2)
    config = toy_config(toy_zoo(), device=device)
    sweep._gpu_pool({"a": config})
    check_startable(toy_zoo(), [config])
    assert driver.opened == []
