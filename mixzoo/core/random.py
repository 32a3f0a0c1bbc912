"""Randomness as data: every random number of a run is a function of (seed, purpose, step).

Nothing depends on how many numbers were drawn before, so a run resumes bit for bit without a saved generator state, and
a mix can be drawn again at any time. Draws are made on the CPU, whatever the device of the run.
"""

import hashlib
import threading
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

_own = threading.local()  # each thread's generators of draw_request


def seed_for(seed: int, purpose: str, step: int = 0) -> int:
    """A 63-bit seed for one purpose at one step, hashed so that neighbouring triples give unrelated seeds."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def rng_for(seed: int, purpose: str, step: int = 0) -> Generator:
    """A CPU generator for one purpose at one step."""
    return Generator().manual_seed(seed_for(seed, purpose, step))


def _reseeded(seed: int, purpose: str, step: int) -> Generator:
    """`rng_for` without a new generator: one of this thread, for this purpose, as if it were new.

    To seed a generator sets all of its state. Valid until the next call for the purpose in this thread.
    """
    generators: dict[str, Generator] = _own.__dict__
    if purpose not in generators:
        generators[purpose] = Generator()
    return generators[purpose].manual_seed(seed_for(seed, purpose, step))


def seed_modules(seed: int, device: torch.device) -> None:
    """Seed the global generators that modules on `device` draw from, as dropout does.

    torch.manual_seed would seed every device, which takes a hundred times as long. This does not wait for a GPU: its
    generator is on the host. A captured CUDA graph reads it at each replay, so a replayed step uses the new seed too.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


@dataclass(frozen=True)
class DrawRequest:
    """One named draw that an objective asks for at every step: the partners and draw of a mix, noise, or a mask."""

    kind: Literal["mix", "normal", "uniform", "keep"]
    shape: tuple[int, ...]  # of one example; of one code for a mix
    p: float = 0.0  # keep: the chance that an element is dropped, in [0, 1]
    mixer: "Mixer | None" = None  # mix: the objective's own mixer; None for the run's mixer

    def key(self, name: str) -> str:
        """The name of the draw in `StepDraws.named`: "mix", "mix/NAME" or "noise/NAME"."""
        if self.kind == "mix":
            return f"mix/{name}" if name else "mix"
        return f"noise/{name}"


@dataclass(frozen=True)
class StepDraws:
    """All the randomness of one optimisation step."""

    named: Mapping[str, Any] = field(default_factory=dict)  # by `DrawRequest.key`; (partners, draw) for a mix
    labelled: Bool[Tensor, " batch"] | None = None  # images whose labels the objective may use; None for all

    def mix(self, name: str = "") -> tuple[Int[Tensor, "others batch"], Draw]:
        """The partners of each example, as indices into the batch, and the mixer's draw."""
        partners_and_draw: tuple[Tensor, Draw] = self.named[f"mix/{name}" if name else "mix"]
        return partners_and_draw

    def map(self, function: "Callable[[Tensor], Tensor]") -> "StepDraws":
        """The same draws with `function` applied to every tensor."""
        return StepDraws(*mapped(function, (self.named, self.labelled)))


def cached_tensor(maxsize: int) -> Callable[[Callable[_P, Tensor]], Callable[_P, Tensor]]:
    """`lru_cache` for a function that returns a tensor. Fake tensors (FakeTensorMode) are not cached."""

    def decorate(function: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
        cached = lru_cache(maxsize)(function)

        @wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
            tensor: Tensor = cached(*args, **kwargs)  # type: ignore[arg-type]
            if type(tensor) is not Tensor:
                cached.cache_clear()
            return tensor

        return call

    return decorate


def order(seed: int, images: int, start: int, count: int) -> Int[Tensor, " count"]:
    """Elements start .. start+count-1 of an endless sequence: a new permutation of 0 .. images-1 for each epoch.

    Every image is seen once per epoch. A batch may straddle two epochs, so all batches have the same size.
    """
    end = start + count
    epochs = range(start // images, (end - 1) // images + 1)
    pieces = []
    for epoch in epochs:
        first = epoch * images
        pieces.append(_permutation(seed, images, epoch)[max(start - first, 0) : end - first])
    return torch.cat(pieces)


def batch_index(seed: int, images: int, batch_images: int, step: int) -> Int[Tensor, " batch"]:
    """Indices of the train images of step `step` (from 0): the next `batch_images` elements of `order`."""
    return order(seed, images, step * batch_images, batch_images)


@cached_tensor(maxsize=4)
def _permutation(seed: int, images: int, epoch: int) -> Int[Tensor, " images"]:
    return torch.randperm(images, generator=rng_for(seed, "order", epoch))


def partners(
    k: int, batch: int, rng: Generator, labelled: Bool[Tensor, " batch"] | None = None
) -> Int[Tensor, "others batch"]:
    """k-1 permutations of the batch: the examples that each example is mixed with (AMR pairs within the batch).

    The permutations are independent, as in the authors' code, so an example may be its own partner. With `labelled`,
    labelled examples are mixed only with labelled ones, and unlabelled with unlabelled: if few examples have labels,
    random pairs would hardly ever have two.
    """
    rows = torch.stack([torch.randperm(batch, generator=rng) for _ in range(k - 1)])
    if labelled is None:
        return rows

    # A permutation restricted to a group, in the order in which it occurs, is a uniform permutation of the group.
    grouped = torch.empty_like(rows)
    for group in (labelled, ~labelled):
        grouped[:, group] = torch.stack([row[group[row]] for row in rows])
    return grouped


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
    """All draws of step `step` (from 0) for a batch of `batch` images, at the run's `progress` in [0, 1].

    `labelled` marks the images of the batch whose labels the objective may use; None means all of them. With
    `by_label`, the run's mixer mixes labelled images only with labelled ones (`partners`).
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
    """One named draw for a whole batch: a function of (seed, name, step) only, whatever else is drawn.

    For a mix, returns (partners, draw) by the request's own mixer or, if it has none, by the run's `mixer`; only
    partners for the run's mixer are grouped by `labelled`. Otherwise returns a tensor [batch, *request.shape].
    """
    if request.kind == "mix":
        suffix = f"/{name}" if name else ""
        chosen = mixer if request.mixer is None else request.mixer
        assert chosen is not None
        # Supervised terms use mixes by the run's mixer, so only its partners need to have labels in common.
        groups = labelled if request.mixer is None else None
        others = partners(chosen.k, batch, _reseeded(seed, f"partners{suffix}", step), groups)
        return others, draw_for(
            chosen, CodeShape(batch, request.shape), _reseeded(seed, f"mix{suffix}", step), progress
        )

    shape, rng = (batch, *request.shape), _reseeded(seed, f"noise/{name}", step)
    if request.kind == "normal":
        return torch.randn(shape, generator=rng)
    uniform = torch.rand(shape, generator=rng)
    return uniform >= request.p if request.kind == "keep" else uniform


def mapped(function: Callable[[Tensor], Tensor], draw: Any) -> Any:
    """The draw with `function` applied to each of its tensors, in a fixed order."""
    if isinstance(draw, Tensor):
        return function(draw)
    if isinstance(draw, Mapping):
        return {name: mapped(function, value) for name, value in draw.items()}
    if isinstance(draw, tuple):
        return tuple(mapped(function, value) for value in draw)
    return draw


def to_device(draw: Draw, device: torch.device) -> Draw:
    """The same draw on `device`."""
    moved: Draw = mapped(lambda tensor: tensor.to(device, non_blocking=True), draw)
    return moved


def draws_to_device(draws: StepDraws, device: torch.device) -> StepDraws:
    """All the draws of a step on `device`."""
    return draws.map(lambda tensor: tensor.to(device, non_blocking=True))


def draw_tensors(draws: StepDraws) -> list[Tensor]:
    """Every tensor of the draws, in a fixed order."""
    tensors: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    draws.map(collect)
    return tensors
