"""Randomness as data: every random number of a run is a function of (seed, purpose, step).

Nothing depends on how many numbers were drawn before, so a run resumes bit for bit with no generator state to save, and
a mix can be drawn again at any time. Draws are made on the CPU, whatever the device of the run.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from mixzoo.mixing import draw_for
from mixzoo.protocols import CodeShape, Draw, Mixer, Needs

A_MIX = Needs(mix=True)
BLOCK = 64  # steps drawn ahead for a GPU
BLOCK_BYTES = 64 << 20  # at most, of more than one step's: noise on large images is large


def seed_for(seed: int, purpose: str, step: int = 0) -> int:
    """A 63-bit seed for one purpose at one step; hashed, so that neighbouring triples share nothing."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def rng_for(seed: int, purpose: str, step: int = 0) -> Generator:
    """A CPU generator for one purpose at one step."""
    return Generator().manual_seed(seed_for(seed, purpose, step))


def seed_modules(seed: int, device: torch.device) -> None:
    """Seed the generators from which a module on `device` draws numbers of its own, as dropout does.

    torch.manual_seed does that for every device there is and takes a hundred times as long. Nothing waits for a GPU:
    its generator is on the host, and a recorded step reads it at each replay, so that seeds reach that too.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        card = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[card].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


@dataclass(frozen=True)
class StepDraws:
    """All the randomness of one optimisation step."""

    index: Int[Tensor, " batch"]  # which images of the train split
    partners: Int[Tensor, "others batch"] | None = None  # for each of the k-1 other sources, which example of the batch
    mix: Draw | None = None  # neither where nothing is mixed
    second: "tuple[Tensor, Draw] | None" = None  # partners and draw of the objective's second mixer
    noise: Mapping[str, Tensor] = field(default_factory=dict)  # "input", "code", "kept": see `noise`
    labelled: Bool[Tensor, " batch"] | None = None  # whose labels the objective may use; None for all

    def map(self, function: "Callable[[Tensor], Tensor]") -> "StepDraws":
        """The same with `function` of every tensor but for `index`."""
        parts = (self.partners, self.mix, self.second, self.noise, self.labelled)
        return StepDraws(self.index, *mapped(function, parts))


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
    needs: Needs = A_MIX,
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
        second = others, draw_for(needs.second, shape, rng_for(seed, "mix/second", step), progress)
    others_of_mix = mix = None
    if needs.mix:
        paired = known if needs.labels else None
        others_of_mix = partners(mixer.k, shape.batch, rng_for(seed, "partners", step), paired)
        mix = draw_for(mixer, shape, rng_for(seed, "mix", step), progress)
    return StepDraws(
        index=index,
        partners=others_of_mix,
        mix=mix,
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


def mapped(function: Callable[[Tensor], Tensor], draw: Any) -> Any:
    """`function` of every tensor of a draw, in a fixed order."""
    if isinstance(draw, Tensor):
        return function(draw)
    if isinstance(draw, Mapping):
        return {name: mapped(function, part) for name, part in draw.items()}
    if isinstance(draw, tuple):
        return tuple(mapped(function, part) for part in draw)
    return draw


def to_device(draw: Draw, device: torch.device) -> Draw:
    """The same draw on `device`."""
    there: Draw = mapped(lambda tensor: tensor.to(device, non_blocking=True), draw)
    return there


def sent(draws: StepDraws, device: torch.device) -> StepDraws:
    """All the draws of a step on `device`, but for `index`, which the data take as it is."""
    return draws.map(lambda tensor: tensor.to(device, non_blocking=True))


class Blocks:
    """The draws of the steps before `end`, made a block of steps at a time on the CPU and sent to a GPU together."""

    def __init__(self, draw: Callable[[int], StepDraws], device: torch.device, end: int) -> None:
        self._draw, self._device, self._end = draw, device, end
        self._steps = BLOCK if device.type == "cuda" else 1  # beside the data there is nothing to send
        self._ready: dict[int, StepDraws] = {}

    def at(self, step: int) -> StepDraws:
        if step not in self._ready:
            made = [self._draw(step)]
            steps = min(self._steps, max(1, BLOCK_BYTES // max(1, sum(t.nbytes for t in tensors_of(made[0])))))
            made += [self._draw(number) for number in range(step + 1, min(step + steps, self._end))]
            self._ready = {step + i: draws for i, draws in enumerate(together(made, self._device))}
        return self._ready[step]


def together(draws: list[StepDraws], device: torch.device) -> list[StepDraws]:
    """The draws on `device`, by one transfer for each of their tensors; one by one where their shapes differ."""
    shapes = [[tensor.shape for tensor in tensors_of(one)] for one in draws]
    if len(draws) == 1 or any(other != shapes[0] for other in shapes):
        return [sent(one, device) for one in draws]

    stacked = [torch.stack(tensors) for tensors in zip(*(tensors_of(one) for one in draws))]
    pinned = [block.pin_memory() for block in stacked] if device.type == "cuda" else stacked
    there = [block.to(device, non_blocking=True) for block in pinned]
    return [_filled(one, [block[i] for block in there]) for i, one in enumerate(draws)]


def _filled(draws: StepDraws, tensors: list[Tensor]) -> StepDraws:
    """The draws with these tensors in place of their own, in the order of tensors_of."""
    rest = iter(tensors)
    return draws.map(lambda _: next(rest))


def tensors_of(draws: StepDraws) -> list[Tensor]:
    """Every tensor of the draws but for `index`, in a fixed order."""
    found: list[Tensor] = []

    def noted(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    draws.map(noted)
    return found
