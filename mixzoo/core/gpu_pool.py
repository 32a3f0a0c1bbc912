"""Which GPU each process of a sweep uses: the least used one, but where a run names its own. And how much of it."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil

import torch

from mixzoo.core.errors import ConfigError, truncated_repr

VARIABLE = "CUDA_VISIBLE_DEVICES"
RUNS_PER_GPU = "MIXZOO_RUNS_PER_GPU"  # tells a process how many runs its card is for
CONTEXT_BYTES = 600 << 20  # of a card that each process takes beside its tensors: CUDA's context, libraries, kernels


class GpuPool:
    """The cards on which processes run, each of a given device, and what is in use of them."""

    def __init__(self, devices: Mapping[str, torch.device], names: Sequence[str]) -> None:
        self._devices = devices  # process -> 'cuda' where any card will do, 'cuda:1' where one is named
        self._names = list(names)  # of the cards, as VARIABLE has them
        self._uses: dict[str, int] = {}  # process that runs -> the number of its card

    @property
    def wanted(self) -> int:
        """How many cards the processes can use at a time."""
        cards = [device.index for device in self._devices.values() if device.type == "cuda"]
        return len(self._names) if None in cards else len(set(cards))

    def take(self, process: str, at_once: int = 1) -> dict[str, str]:
        """The variables that show a process the least used card and no other; none where it names one or uses none.

        Where `at_once` processes put several on one card, a variable says so, and each keeps to its part of the memory.
        """
        device = self._devices[process]
        if device.type != "cuda":
            return {}
        if device.index is not None:
            self._uses[process] = device.index
            return self._runs_per_gpu(device.index, at_once)
        used = Counter(self._uses.values())
        card = self._uses[process] = min(range(len(self._names)), key=lambda card: used[card])
        return {VARIABLE: self._names[card], **self._runs_per_gpu(card, at_once)}

    def _runs_per_gpu(self, card: int, at_once: int) -> dict[str, str]:
        on_cards = [device.index for device in self._devices.values() if device.type == "cuda"]
        running, most = min(at_once, len(on_cards)), on_cards.count(card)
        if None in on_cards:  # the least used card is taken, so no card gets more of these than an equal part
            most += ceil(running / len(self._names))
        most = min(most, running)
        return {RUNS_PER_GPU: str(most)} if most > 1 else {}

    def leave(self, process: str) -> None:
        """The process has ended."""
        self._uses.pop(process, None)


def visible() -> list[str]:
    """The cards that this process may use, as VARIABLE names them."""
    count = torch.cuda.device_count()
    given = os.environ.get(VARIABLE)
    names = given.split(",") if given else [str(card) for card in range(count)]
    return [name.strip() for name in names[:count]]


def runs_per_card() -> int:
    """How many runs this process's card is for, this one among them; ConfigError if the variable is no such number."""
    given = os.environ.get(RUNS_PER_GPU, "1")
    if not (given.isascii() and given.isdecimal() and int(given) > 0):
        raise ConfigError(
            f"the variable {RUNS_PER_GPU} is {truncated_repr(given)}, and should be a number >= 1; leave it out"
        )
    return int(given)


def memory_share(total: int) -> float:
    """The part of a card's memory, of `total` bytes, that tensors of this process may take."""
    runs = runs_per_card()
    return 1.0 if runs == 1 else max(1 / runs - CONTEXT_BYTES / total, 1 / (2 * runs))


def limit_memory(device: torch.device) -> None:
    """Keep this process to its part of a card that several runs share: one that needs more fails alone."""
    if device.type == "cuda" and runs_per_card() > 1:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(memory_share(total), device.index)  # it takes no 'cuda' without one


def free_memory(device: torch.device) -> int:
    """Bytes of the card that this process may still take."""
    free, total = torch.cuda.mem_get_info(device)
    return min(free, int(memory_share(total) * total) - torch.cuda.memory_reserved(device))


def memory_advice() -> str:
    """What to do, beside smaller batches, if a run takes more memory than it may; '' if it has the card to itself."""
    runs = runs_per_card()
    return f", or fewer --jobs: {runs} runs share the GPU" if runs > 1 else ""
