"""Randomness as data: every random number of a run is a function of (seed, purpose, step).

Nothing depends on how many numbers were drawn before, so a run resumes bit for bit with no generator state to save, and
a mix can be drawn again at any time. Draws are made on the CPU, whatever the device of the run.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from mixzoo.mixing import drawn
from mixzoo.protocols import CodeShape, Draw, Mixer


def seed_for(seed: int, purpose: str, step: int = 0) -> int:
    """A 63-bit seed for one purpose at one step; hashed, so that neighbouring triples share nothing."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def rng_for(seed: int, purpose: str, step: int = 0) -> Generator:
    """A CPU generator for one purpose at one step."""
    return Generator().manual_seed(seed_for(seed, purpose, step))


@dataclass(frozen=True)
class StepDraws:
    """All the randomness of one optimisation step."""

    index: Int[Tensor, " batch"]  # which images of the train split
    partners: Int[Tensor, "others batch"]  # for each of the k-1 other sources, which example of the batch
    mix: Draw


def order(seed: int, images: int, start: int, count: int) -> Int[Tensor, " count"]:
    """Positions start .. start+count of the endless sequence made of one permutation of the data set after another.

    Every image is seen once per epoch, and a batch may straddle two epochs, so batches are all of one size.
    """
    end = start + count
    epochs = range(start // images, (end - 1) // images + 1)
    pieces = []
    for epoch in epochs:
        first = epoch * images
        pieces.append(_permutation(seed, images, epoch)[max(start - first, 0) : end - first])
    return torch.cat(pieces)


@lru_cache(maxsize=4)
def _permutation(seed: int, images: int, epoch: int) -> Int[Tensor, " images"]:
    return torch.randperm(images, generator=rng_for(seed, "order", epoch))


def partners(k: int, batch: int, rng: Generator) -> Int[Tensor, "others batch"]:
    """k-1 permutations of the batch: which examples each example is mixed with (AMR's pairing inside the batch).

    As in the authors' code the permutations are independent, so an example may meet itself.
    """
    return torch.stack([torch.randperm(batch, generator=rng) for _ in range(k - 1)])


def draw_step(seed: int, step: int, mixer: Mixer, shape: CodeShape, images: int, progress: float = 1.0) -> StepDraws:
    """The draws of step number `step` (from 0) of a run over `images` train images, `progress` of it done."""
    return StepDraws(
        index=order(seed, images, step * shape.batch, shape.batch),
        partners=partners(mixer.k, shape.batch, rng_for(seed, "partners", step)),
        mix=drawn(mixer, shape, rng_for(seed, "mix", step), progress),
    )


def to_device(draw: Draw, device: torch.device) -> Draw:
    """The same draw on `device`."""
    if isinstance(draw, Tensor):
        return draw.to(device, non_blocking=True)
    return {name: tensor.to(device, non_blocking=True) for name, tensor in draw.items()}
