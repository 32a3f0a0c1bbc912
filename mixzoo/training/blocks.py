"""What a step takes that is known before it begins, its draws and the numbers of its images: made ahead for a GPU.

A thread makes the block of the next steps while the steps of this block run, and writes it to pinned memory; one
transfer, which the host does not wait for, takes a block to the device. Steps are functions of (seed, step), so it does
not matter when they are made, or in which thread.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from mixzoo.core.random import StepDraws, draw_tensors
from mixzoo.training.worker import Worker, beside_steps

BLOCK = 64  # steps of a block, at most
BLOCK_BYTES = 64 << 20  # of the block in use and the one ahead together, since noise for large images is large
ALIGNMENT = 256  # bytes, as of tensors that CUDA allocates: kernels that read several numbers at once need it
NAME = "draws"  # of the thread

Kinds: TypeAlias = tuple[tuple[torch.Size, torch.dtype], ...]


@dataclass(frozen=True)
class StepInputs:
    """What is made ahead of a step."""

    draws: StepDraws
    index: Int[Tensor, " own"] | None = None  # this process's images, where they are picked on the device

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return draw_tensors(self.draws) + ([] if self.index is None else [self.index])

    def with_tensors(self, tensors: Sequence[Tensor]) -> "StepInputs":
        """The same with these tensors in place of its own, in the order of `tensors`."""
        replacements = iter(tensors)
        draws = self.draws.map(lambda _: next(replacements))
        return StepInputs(draws, None if self.index is None else next(replacements))


class Blocks:
    """The inputs of each step before `end`, on the device; a context manager that ends the thread that makes them.

    An error of a step is raised by `at` for that step, and not before. With `ahead` (`beside_steps` if not given) there
    is a thread, unless the draws of the first step use torch's global generator: the loop seeds it at every step, so
    such draws are made between the steps.
    """

    def __init__(
        self,
        draw: Callable[[int], StepDraws],
        device: torch.device,
        end: int,
        index: Callable[[int], Tensor] | None = None,
        *,
        ahead: bool | None = None,
    ) -> None:
        self._draw, self._index, self._device, self._end = draw, index, device, end
        self._ahead = beside_steps(device) if ahead is None else ahead
        self._thread: Worker[tuple[int, Packed], Block] | None = None
        self._asked: Future[Block] | None = None
        self._block = Block(0)

    def at(self, step: int) -> StepInputs:
        """The inputs of step `step` (from 0). Raises what drawing them raised."""
        if step not in self._block:
            self._block = Block(0)  # its memory is free for the next one
            self._block = self._next_block(step)
        return self._block.at(step)

    def __enter__(self) -> "Blocks":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread, after the step that it is making. `at` then makes steps one by one."""
        self._ahead, self._asked = False, None
        if self._thread is not None:
            self._thread.close()

    def _next_block(self, step: int) -> "Block":
        """The block that begins with `step`: the one made ahead, or of this step alone. Asks for the one after it."""
        asked, self._asked = self._asked, None
        made = Block(0) if asked is None else asked.result()
        if step not in made:
            made = self._alone(step)
        if made.packed is not None:
            made = made.on(self._device)
            if self._ahead and made.error is None:
                self._ask(made)
        return made

    def _alone(self, step: int) -> "Block":
        """The block of this step alone, made in this thread."""
        if self._ahead and self._thread is None:
            before = global_generator()
            inputs = self._make(step)
            self._ahead = before == global_generator()
        else:
            inputs = self._make(step)
        if not (self._ahead or self._device.type == "cuda"):
            return Block(step, [inputs])
        packed = Packed.empty(kinds_of(inputs), 1, self._device)
        return Block(step, [packed.put(0, inputs)], packed)

    def _ask(self, before: "Block") -> None:
        """Let the thread make the block after this one. Blocks grow, so that the first steps wait for few draws."""
        assert before.packed is not None
        at_once = BLOCK_BYTES // max(1, 2 * before.packed.step_bytes)
        steps = min(2 * len(before.made), max(1, min(BLOCK, at_once)), self._end - before.end)
        if steps < 1:
            return
        if self._thread is None:
            self._thread = Worker(NAME, self._make_block)
        # Memory is pinned in this thread, so that the other one makes no call to CUDA.
        self._asked = self._thread.ask((before.end, Packed.empty(before.packed.kinds, steps, self._device)))

    def _make_block(self, asked: "tuple[int, Packed]") -> "Block":
        """In the thread: the block, up to a step that cannot be made or has tensors of other shapes."""
        first, packed = asked
        block = Block(first, [], packed)
        for i in range(packed.steps):
            if self._thread is None or self._thread.closing:
                break
            try:
                inputs = self._make(first + i)
                if kinds_of(inputs) != packed.kinds:
                    break
                block.made.append(packed.put(i, inputs))
            except BaseException as err:
                block.error = err
                break
        return block

    def _make(self, step: int) -> StepInputs:
        return StepInputs(self._draw(step), None if self._index is None else self._index(step))


def global_generator() -> bytes:
    """The state of torch's global generator, which any random number from it changes."""
    return torch.default_generator.get_state().numpy().tobytes()


@dataclass
class Block:
    """The inputs of the steps from `first` on, and what was raised for the step after them."""

    first: int
    made: list[StepInputs] = field(default_factory=list)
    packed: "Packed | None" = None  # the memory that all of them lie in
    error: BaseException | None = None

    @property
    def end(self) -> int:
        """The step after those that were made."""
        return self.first + len(self.made)

    def __contains__(self, step: int) -> bool:
        return self.first <= step < self.end + (self.error is not None)

    def at(self, step: int) -> StepInputs:
        if step == self.end and self.error is not None:
            raise self.error
        return self.made[step - self.first]

    def on(self, device: torch.device) -> "Block":
        """The block on the device, after one transfer, which the host does not wait for."""
        assert self.packed is not None
        packed = self.packed.to(device)
        made = [inputs.with_tensors(packed.at(i)) for i, inputs in enumerate(self.made)]
        return Block(self.first, made, packed, self.error)


def kinds_of(inputs: StepInputs) -> Kinds:
    """Shape and dtype of every tensor."""
    return tuple((tensor.shape, tensor.dtype) for tensor in inputs.tensors)


@dataclass(frozen=True)
class Packed:
    """Tensors of the same shapes of several steps, in one piece of memory."""

    memory: Tensor  # bytes
    kinds: Kinds
    steps: int

    @classmethod
    def empty(cls, kinds: Kinds, steps: int, device: torch.device) -> "Packed":
        """Memory on the host for that many steps, pinned if the device is a GPU."""
        size = sum(_aligned(steps * _nbytes(kind)) for kind in kinds)
        return cls(host_memory(size, device), kinds, steps)

    @property
    def step_bytes(self) -> int:
        """Bytes of one step in a large block."""
        return sum(map(_nbytes, self.kinds))

    @cached_property
    def regions(self) -> list[Tensor]:
        """For each tensor of a step, those of all steps: [steps, *shape]."""
        found, start = [], 0
        for shape, dtype in self.kinds:
            size = self.steps * _nbytes((shape, dtype))
            found.append(self.memory[start : start + size].view(dtype).view(self.steps, *shape))
            start += _aligned(size)
        return found

    def at(self, i: int) -> list[Tensor]:
        """The tensors of step `i` of the block."""
        return [region[i] for region in self.regions]

    def put(self, i: int, inputs: StepInputs) -> StepInputs:
        """Copy the inputs of a step to step `i` of the block; returns them there."""
        places = self.at(i)
        for place, tensor in zip(places, inputs.tensors, strict=True):
            place.copy_(tensor)
        return inputs.with_tensors(places)

    def to(self, device: torch.device) -> "Packed":
        return Packed(self.memory.to(device, non_blocking=True), self.kinds, self.steps)


def host_memory(size: int, device: torch.device) -> Tensor:
    """Bytes on the host. For a GPU they are pinned: only copies from pinned memory are asynchronous."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")


def _nbytes(kind: tuple[torch.Size, torch.dtype]) -> int:
    return prod(kind[0]) * kind[1].itemsize


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
