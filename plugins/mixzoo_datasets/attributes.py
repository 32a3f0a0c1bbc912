"""Attributes that an option names: `attributes=square+large`."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

SEPARATOR = "+"  # a comma would end the option of a spec string


def named(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names in the text, between + or commas; ValueError for one that is unknown, empty or there twice."""
    names = tuple(name.strip() for name in text.replace(",", SEPARATOR).split(SEPARATOR))
    for name in names:
        if name not in known:
            raise ValueError(f"attributes={text!r}: {name!r} is none of {', '.join(known)}")
        if names.count(name) > 1:
            raise ValueError(f"attributes={text!r}: {name!r} is there twice")
    return names


def chosen(whole: Int[Tensor, "n known"], known: Sequence[str], names: Sequence[str]) -> Int[Tensor, "n named"]:
    """The columns of those names."""
    return whole[:, torch.tensor([known.index(name) for name in names])]
