"""Numbers of a data set that are no numbers, found before a run begins."""

import torch
from torch import Tensor

from mixzoo.errors import DataError
from mixzoo.protocols import Dataset

ROWS = 1000  # images looked at at a time


def check_finite(data: Dataset, name: str) -> None:
    """Raises DataError, with the first image, if float images or factors of a split hold NaN or infinity."""
    for which in ("train", "validation", "test"):
        split = getattr(data, which)
        for what, numbers in (("image", split.images), ("factors of image", split.factors)):
            if not isinstance(numbers, Tensor) or not numbers.is_floating_point() or not len(numbers):
                continue
            bad = torch.cat([~some.flatten(1).isfinite().all(1) for some in numbers.split(ROWS)])
            if bad.any():
                first, count = int(bad.nonzero()[0]), int(bad.sum())
                where = f"data set {name!r}: {what} {first} of the {which} split"
                raise DataError(f"{where}: NaN or infinity ({count} of {len(bad)} hold it); mend or leave out those")
