"""Which GPU each process of a fleet uses: the least used one, but where a run names its own."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence

import torch

VARIABLE = "CUDA_VISIBLE_DEVICES"


class Cards:
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

    def take(self, process: str) -> dict[str, str]:
        """The variables that show a process the least used card and no other; none where it names one or uses none."""
        device = self._devices[process]
        if device.type != "cuda":
            return {}
        if device.index is not None:
            self._uses[process] = device.index
            return {}
        used = Counter(self._uses.values())
        self._uses[process] = min(range(len(self._names)), key=lambda card: used[card])
        return {VARIABLE: self._names[self._uses[process]]}

    def leave(self, process: str) -> None:
        """The process has ended."""
        self._uses.pop(process, None)


def visible() -> list[str]:
    """The cards that this process may use, as VARIABLE names them."""
    count = torch.cuda.device_count()
    given = os.environ.get(VARIABLE)
    names = given.split(",") if given else [str(card) for card in range(count)]
    return [name.strip() for name in names[:count]]
