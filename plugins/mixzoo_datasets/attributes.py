"""The `attributes=square+large` option of data sets."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

SEPARATOR = "+"  # a comma would end the option of a spec string


def parse_attributes(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names in the text, separated by + or commas. Raises ValueError if one is unknown, empty or repeated."""
    names = tuple(name.strip() for name in text.replace(",", SEPARATOR).split(SEPARATOR))
    for name in names:
        if name not in known:
            raise ValueError(f"attributes={text!r}: {name!r} is not one of {', '.join(known)}")
        if names.count(name) > 1:
            raise ValueError(f"attributes={text!r}: {name!r} is given twice")
    return names


def select_attributes(
    whole: Int[Tensor, "n known"], known: Sequence[str], names: Sequence[str]
) -> Int[Tensor, "n named"]:
    """The columns of the named attributes."""
    return whole[:, torch.tensor([known.index(name) for name in names])]
