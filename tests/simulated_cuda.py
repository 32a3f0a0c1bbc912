"""CUDA on a machine without a card: torch's own Python runs, and only the driver under it is a stand-in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode


@dataclass
class Driver:
    """The cards of a simulated machine, and what was asked of them."""

    cards: int
    current: int = 0
    opened: list[str] = field(default_factory=list)  # calls that open a context on a card

    def set_device(self, card: int) -> None:
        assert 0 <= card < self.cards, f"invalid device ordinal {card}"
        self.opened.append(f"cuda:{card}")
        self.current = card


def install_cards(monkeypatch: pytest.MonkeyPatch, cards: int) -> Driver:
    """Let torch find that many cards. `torch.cuda`'s own checks of arguments run; what needs a card still fails."""
    driver = Driver(cards)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: driver.opened.append("init"))
    monkeypatch.setattr(torch._C, "_cuda_setDevice", driver.set_device, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_getDevice", lambda: driver.current, raising=False)
    return driver


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Inside, tensors have a shape, a dtype and a device, and no numbers, so that they may be on a card."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
