"""Finds NaN and infinity in a data set before a run begins."""

import torch
from torch import Tensor

from mixzoo.core.data import Dataset
from mixzoo.core.errors import DataError

ROWS = 1000  # images checked at a time


def check_finite(data: Dataset, name: str) -> None:
    """Raises DataError, naming the first image, if float images or factors of a split contain NaN or infinity."""
    for which in ("train", "validation", "test"):
        split = getattr(data, which)
        for what, verb, numbers in (
            ("image", "contains", split.images),
            ("factors of image", "contain", split.factors),
        ):
            if not isinstance(numbers, Tensor) or not numbers.is_floating_point() or not len(numbers):
                continue
            bad = torch.cat([~some.flatten(1).isfinite().all(1) for some in numbers.split(ROWS)])
            if bad.any():
                first, count = int(bad.nonzero()[0]), int(bad.sum())
                where = f"data set {name!r}: {what} {first} of the {which} split"
                raise DataError(f"{where} {verb} NaN or infinity ({count} of {len(bad)} do); fix or remove them")
