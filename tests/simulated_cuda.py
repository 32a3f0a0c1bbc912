"""CUDA on a machine without a card: torch's own Python runs, and only the driver under it is a stand-in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode


@dataclass
class Driver:
    """The cards of a simulated machine, and what was asked of them."""

    cards: int
    memory: int = 80 << 30  # bytes of each card, all of them free
    current: int = 0
    fractions: dict[int, float] = field(default_factory=dict)  # of the memory that the process may take
    opened: list[str] = field(default_factory=list)  # calls that open a context on a card

    def set_device(self, card: int) -> None:
        assert 0 <= card < self.cards, f"invalid device ordinal {card}"
        self.opened.append(f"cuda:{card}")
        self.current = card

    def limit(self, fraction: float, card: int) -> None:
        self.fractions[card] = fraction

    def cudaMemGetInfo(self, card: int) -> tuple[int, int]:
        self.opened.append(f"cuda:{card}")
        return self.memory, self.memory


def install_cards(monkeypatch: pytest.MonkeyPatch, cards: int) -> Driver:
    """Let torch find that many cards. `torch.cuda`'s own checks of arguments run; what needs a card still fails."""
    driver = Driver(cards)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    for module in (torch.cuda, torch.cuda.memory):
        monkeypatch.setattr(module, "_lazy_init", lambda: driver.opened.append("init"))
    monkeypatch.setattr(torch._C, "_cuda_setDevice", driver.set_device, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_getDevice", lambda: driver.current, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_setMemoryFraction", driver.limit, raising=False)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: driver)
    properties = SimpleNamespace(total_memory=driver.memory, major=9)
    monkeypatch.setattr(torch.cuda, "_get_device_properties", lambda card: properties, raising=False)
    return driver


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Inside, tensors have a shape, a dtype and a device, and no numbers, so that they may be on a card."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
