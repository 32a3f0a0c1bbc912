"""Randomness as data: every random number of a run is a function of (seed, purpose, step).

Nothing depends on how many numbers were drawn before, so a run resumes bit for bit with no generator state to save, and
a mix can be drawn again at any time. Draws are made on the CPU, whatever the device of the run.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import Any, Literal, ParamSpec

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from mixzoo.core.mixing import draw_for
from mixzoo.core.parts import CodeShape, Draw, Mixer

_P = ParamSpec("_P")

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
class DrawRequest:
    """One named draw that an objective asks for at every step: the partners and draw of a mix, noise, or a mask."""

    kind: Literal["mix", "normal", "uniform", "keep"]
    shape: tuple[int, ...]  # of one example; of one code for a mix
    p: float = 0.0  # keep: chance of a number to be left out
    mixer: "Mixer | None" = None  # mix: the objective's own mixer; None for the run's

    def key(self, name: str) -> str:
        """What the draw is called among those of a step, and its purpose for the seed."""
        if self.kind == "mix":
            return f"mix/{name}" if name else "mix"
        return f"noise/{name}"


@dataclass(frozen=True)
class StepDraws:
    """All the randomness of one optimisation step."""

    named: Mapping[str, Any] = field(default_factory=dict)  # by `DrawRequest.key`; (partners, draw) for a mix
    labelled: Bool[Tensor, " batch"] | None = None  # whose labels the objective may use; None for all

    def mix(self, name: str = "") -> tuple[Int[Tensor, "others batch"], Draw]:
        """For each of the k-1 other sources, which example of the batch; and the mixer's draw."""
        partners_and_draw: tuple[Tensor, Draw] = self.named[f"mix/{name}" if name else "mix"]
        return partners_and_draw

    def map(self, function: "Callable[[Tensor], Tensor]") -> "StepDraws":
        """The same draws with `function` of every tensor."""
        return StepDraws(*mapped(function, (self.named, self.labelled)))


def cached_tensor(maxsize: int) -> Callable[[Callable[_P, Tensor]], Callable[_P, Tensor]]:
    """`lru_cache` for a function that makes a tensor. A fake tensor, made where a device is simulated, is not kept."""

    def decorate(function: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
        cached = lru_cache(maxsize)(function)

        @wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
            made: Tensor = cached(*args, **kwargs)  # type: ignore[arg-type]
            if type(made) is not Tensor:
                cached.cache_clear()
            return made

        return call

    return decorate


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


def batch_index(seed: int, images: int, batch_images: int, step: int) -> Int[Tensor, " batch"]:
    """Which of the train images step number `step` (from 0) takes: the next `batch_images` of the sequence `order`."""
    return order(seed, images, step * batch_images, batch_images)


@cached_tensor(maxsize=4)
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
    requests: Mapping[str, DrawRequest],
    mixer: Mixer,
    *,
    batch: int,
    progress: float = 1.0,
    labelled: Bool[Tensor, " batch"] | None = None,
    by_label: bool = False,
) -> StepDraws:
    """The draws of step number `step` (from 0), for a batch of `batch` images; `progress` in [0, 1] is the run's.

    `labelled` marks the images of the batch whose labels the objective may use; None means all of them. With `by_label`
    labelled images are paired only with labelled ones.
    """
    pairing = labelled if by_label else None
    named = {
        key: draw_request(request, key.partition("/")[2], seed, step, batch, mixer, progress, pairing)
        for key, request in requests.items()
    }
    return StepDraws(named, labelled)


def draw_request(
    request: DrawRequest,
    name: str,
    seed: int,
    step: int,
    batch: int,
    mixer: Mixer | None = None,
    progress: float = 1.0,
    labelled: Bool[Tensor, " batch"] | None = None,
) -> Tensor | tuple[Tensor, Draw]:
    """One named draw for a whole batch: a function of (seed, name, step) alone, whatever else is drawn.

    (partners, draw) for a mix by `mixer`, the run's, unless the request has its own; pairs are made within `labelled`
    for the run's alone. Otherwise a tensor [batch, *request.shape].
    """
    if request.kind == "mix":
        suffix = f"/{name}" if name else ""
        by = mixer if request.mixer is None else request.mixer
        assert by is not None
        pairing = labelled if request.mixer is None else None
        others = partners(by.k, batch, rng_for(seed, f"partners{suffix}", step), pairing)
        return others, draw_for(by, CodeShape(batch, request.shape), rng_for(seed, f"mix{suffix}", step), progress)
    shape, rng = (batch, *request.shape), rng_for(seed, f"noise/{name}", step)
    if request.kind == "normal":
        return torch.randn(shape, generator=rng)
    made = torch.rand(shape, generator=rng)
    return made >= request.p if request.kind == "keep" else made


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


def draws_to_device(draws: StepDraws, device: torch.device) -> StepDraws:
    """All the draws of a step on `device`."""
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
            steps = min(self._steps, max(1, BLOCK_BYTES // max(1, sum(t.nbytes for t in draw_tensors(made[0])))))
            made += [self._draw(number) for number in range(step + 1, min(step + steps, self._end))]
            self._ready = {step + i: draws for i, draws in enumerate(stacked_on_device(made, self._device))}
        return self._ready[step]


def stacked_on_device(draws: list[StepDraws], device: torch.device) -> list[StepDraws]:
    """The draws on `device`, by one transfer for each of their tensors; one by one where their shapes differ."""
    shapes = [[tensor.shape for tensor in draw_tensors(one)] for one in draws]
    if len(draws) == 1 or any(other != shapes[0] for other in shapes):
        return [draws_to_device(one, device) for one in draws]

    stacked = [torch.stack(tensors) for tensors in zip(*(draw_tensors(one) for one in draws))]
    pinned = [block.pin_memory() for block in stacked] if device.type == "cuda" else stacked
    there = [block.to(device, non_blocking=True) for block in pinned]
    return [_filled(one, [block[i] for block in there]) for i, one in enumerate(draws)]


def _filled(draws: StepDraws, tensors: list[Tensor]) -> StepDraws:
    """The draws with these tensors in place of their own, in the order of draw_tensors."""
    rest = iter(tensors)
    return draws.map(lambda _: next(rest))


def draw_tensors(draws: StepDraws) -> list[Tensor]:
    """Every tensor of the draws, in a fixed order."""
    found: list[Tensor] = []

    def noted(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    draws.map(noted)
    return found
