"""Randomness as data: every random number of a run is a function of (seed, purpose, step).

Nothing depends on how many numbers were drawn before, so a run resumes bit for bit with no generator state to save, and
a mix can be drawn again at any time. Draws are made on the CPU, whatever the device of the run.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from mixzoo.mixing import drawn
from mixzoo.protocols import CodeShape, Draw, Mixer, Needs

NOTHING = Needs()


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
    second: "tuple[Tensor, Draw] | None" = None  # partners and draw of the objective's second mixer
    noise: Mapping[str, Tensor] = field(default_factory=dict)  # "input", "code", "kept": see `noise`
    labelled: Bool[Tensor, " batch"] | None = None  # whose labels the objective may use; None for all


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


def partners(
    k: int, batch: int, rng: Generator, labelled: Bool[Tensor, " batch"] | None = None
) -> Int[Tensor, "others batch"]:
    """k-1 permutations of the batch: which examples each example is mixed with (AMR's pairing inside the batch).

    As in the authors' code the permutations are independent, so an example may meet itself. Where only some are
    `labelled`, those meet one another, and so do the others: of few labels, chance would leave hardly a pair.
    """
    rows = torch.stack([torch.randperm(batch, generator=rng) for _ in range(k - 1)])
    if labelled is None:
        return rows
    apart = torch.empty_like(rows)
    for kind in (labelled, ~labelled):
        apart[:, kind] = torch.stack([row[kind[row]] for row in rows])
    return apart


def draw_step(
    seed: int,
    step: int,
    mixer: Mixer,
    shape: CodeShape,
    images: int,
    progress: float = 1.0,
    *,
    needs: Needs = NOTHING,
    image_shape: tuple[int, int, int] | None = None,
    labelled: Bool[Tensor, " images"] | None = None,
) -> StepDraws:
    """The draws of step number `step` (from 0) of a run over `images` train images, `progress` of it done.

    `labelled` says of each train image whether the objective may use its label; all of them when not given.
    """
    index = order(seed, images, step * shape.batch, shape.batch)
    known = None if labelled is None else labelled[index]
    second = None
    if needs.second is not None:
        others = partners(needs.second.k, shape.batch, rng_for(seed, "partners/second", step))
        second = others, drawn(needs.second, shape, rng_for(seed, "mix/second", step), progress)
    return StepDraws(
        index=index,
        partners=partners(mixer.k, shape.batch, rng_for(seed, "partners", step), known if needs.labels else None),
        mix=drawn(mixer, shape, rng_for(seed, "mix", step), progress),
        second=second,
        noise=noise(seed, step, shape, needs, image_shape),
        labelled=known,
    )


def noise(
    seed: int, step: int, shape: CodeShape, needs: Needs, image_shape: tuple[int, int, int] | None
) -> dict[str, Tensor]:
    """What the objective's needs ask for at this step, standard normal numbers and a mask:

    input  [batch channels height width], of the noise on x      code  [batch *latent], of the sample of the posterior
    kept   [batch *latent], the numbers of a code that dropout leaves
    """
    found: dict[str, Tensor] = {}
    code = (shape.batch, *shape.latent)
    if needs.input_noise:
        assert image_shape is not None
        found["input"] = torch.randn(shape.batch, *image_shape, generator=rng_for(seed, "noise/input", step))
    if needs.posterior:
        found["code"] = torch.randn(code, generator=rng_for(seed, "noise/code", step))
    if needs.code_dropout:
        found["kept"] = torch.rand(code, generator=rng_for(seed, "noise/kept", step)) >= needs.code_dropout
    return found


def to_device(draw: Draw, device: torch.device) -> Draw:
    """The same draw on `device`."""
    if isinstance(draw, Tensor):
        return draw.to(device, non_blocking=True)
    return {name: tensor.to(device, non_blocking=True) for name, tensor in draw.items()}


def sent(draws: StepDraws, device: torch.device) -> StepDraws:
    """All the draws of a step on `device`, but for `index`, which the data take as it is."""

    def there(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    return StepDraws(
        index=draws.index,
        partners=there(draws.partners),
        mix=to_device(draws.mix, device),
        second=None if draws.second is None else (there(draws.second[0]), to_device(draws.second[1], device)),
        noise={name: there(tensor) for name, tensor in draws.noise.items()},
        labelled=None if draws.labelled is None else there(draws.labelled),
    )
