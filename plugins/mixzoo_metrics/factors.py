"""Codes and the factors that generated their images, for scores of disentanglement."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixzoo import DataError, Dataset, FinishedRun, Split, encode, rng_for, seed_for
from mixzoo_metrics.representations import Features

MANY = 64  # a factor with more values than this is continuous: its values are grouped
GROUPS = 20


@dataclass(frozen=True)
class FactorPool:
    """Codes of images in random order, and each factor that varies among them as the index of its value."""

    codes: Features
    factors: Int[np.ndarray, "n factors"]

    def split(self, share: float) -> tuple["FactorPool", "FactorPool"]:
        """The first `share` of the images, and the others."""
        cut = max(1, min(len(self.codes) - 1, round(share * len(self.codes))))
        return FactorPool(self.codes[:cut], self.factors[:cut]), FactorPool(self.codes[cut:], self.factors[cut:])

    def standardised(self) -> "FactorPool":
        """Each number of the code with mean 0 and deviation 1, without the constant ones; one 0 if none is left."""
        deviation = self.codes.std(0)
        kept = deviation > 1e-12 * np.abs(self.codes).max(0)  # a constant may deviate from its own mean by rounding
        if not kept.any():
            return FactorPool(np.zeros((len(self.codes), 1)), self.factors)
        codes = self.codes[:, kept]
        return FactorPool((codes - codes.mean(0)) / deviation[kept], self.factors)


def check_has_factors(data: Dataset, least: int = 1) -> None:
    """Raises DataError if the data have no known factors, or fewer than `least` that vary."""
    if data.train.factors is None or data.validation.factors is None or data.test.factors is None:
        raise DataError(f"{data.source}: its factors are not known, so disentanglement cannot be scored")
    varying = int((data.train.factors != data.train.factors[0]).any(0).sum())
    if not varying:
        raise DataError(f"{data.source}: none of its factors varies, so there is nothing to disentangle")
    if varying < least:
        raise DataError(f"{data.source}: {varying} of its factors varies, and this score needs {least} to tell apart")


def factor_pool(run: FinishedRun, images: int) -> FactorPool:
    """The codes and factors of `images` images of all splits, or of all images if there are fewer."""
    codes, factors = codes_and_factors(run, choose_images(run, images))
    order = torch.randperm(len(codes), generator=rng_for(run.seed, "disentanglement/order"))
    columns = [value_indices(column) for column in factors[order].double().numpy().T]
    varying = [column for column in columns if column.any()]  # the least value has index 0
    if not varying:
        raise DataError(f"{run.data.source}: none of its factors varies among {len(codes)} images")
    return FactorPool(codes[order].numpy(), np.stack(varying, 1))


def value_indices(values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The index of each value among the different ones in order; many are grouped into 20 of equally many images."""
    different, indices = np.unique(values, return_inverse=True)
    if len(different) > MANY:
        edges = np.quantile(values, np.arange(1, GROUPS) / GROUPS)
        indices = np.unique(np.searchsorted(edges, values), return_inverse=True)[1]
    return indices.astype(np.int64)


def numpy_seed(run: FinishedRun, purpose: str) -> int:
    """A seed that numpy and scikit-learn take."""
    return seed_for(run.seed, purpose) % 2**32


def choose_images(run: FinishedRun, count: int) -> Int[Tensor, " n"]:
    """Random images, numbered over all splits, in order."""
    total = sum(map(len, splits_of(run.data)))
    return torch.randperm(total, generator=rng_for(run.seed, "disentanglement/pool"))[:count].sort().values


def codes_and_factors(
    run: FinishedRun, chosen: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "n numbers"], Float[Tensor, "n factors"]]:
    """The codes and factors of the chosen images."""
    codes, factors = [], []
    for split, here in numbered(run.data, chosen):
        assert split.factors is not None, "see check_has_factors"
        codes.append(encode(run.autoencoder, split.images, run.device, here).flatten(1).double())
        factors.append(split.factors[here])
    return torch.cat(codes), torch.cat(factors)


def splits_of(data: Dataset) -> tuple[Split, Split, Split]:
    return (data.train, data.validation, data.test)


def numbered(data: Dataset, chosen: Int[Tensor, " n"]) -> Iterator[tuple[Split, Int[Tensor, " some"]]]:
    """Each split with its chosen images, numbered within the split; `chosen` numbers them over all splits."""
    start = 0
    for split in splits_of(data):
        here = chosen[(chosen >= start) & (chosen < start + len(split))] - start
        if len(here):
            yield split, here
        start += len(split)
