"""Whether every number of every step is finite, found out on the device, before an optimiser moves.

    terms, mean scores     as they are
    gradients              the norm of each tensor
    weights and buffers    the norm of each tensor before the step, and `weight_decay` times it, which Adam adds to the
                           gradient

A step is bad if the sum of the squares of these numbers is not finite in float32. Adam's moments are means of gradients
and of their squares, so a step that is not bad leaves them finite. From the first bad step on no optimiser moves:
weights and moments stay those of the last good one, whenever somebody looks.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from mixzoo.core.objective import Terms

HISTORY = 20  # steps whose gradient norms are kept
LARGEST = math.sqrt(torch.finfo(torch.float32).max)  # norm whose square float32 holds
ABSENT = -1.0  # in place of the gradient norm of a player that a step does not update


@dataclass(frozen=True)
class Evidence:
    """The numbers of a step by name. Norms are those of whole tensors."""

    terms: dict[str, float]
    gradients: dict[str, float]  # the norm of each weight's gradient, by the weight's name
    state: dict[str, float]  # the norm of each weight and buffer before the step
    decay: float  # Adam's weight decay

    @property
    def is_bad(self) -> bool:
        """Whether a sum of these is beyond float32."""
        everything = [*self.terms.values(), *self.gradients.values(), *self.state.values()]
        return bool(self.bad_gradients()) or _is_beyond(math.hypot(*everything))

    def bad_terms(self) -> list[str]:
        """Terms and scores that are a NaN, an infinity, or have a square that no float32 holds."""
        return [name for name, value in self.terms.items() if _is_beyond(abs(value))]

    def bad_state(self) -> list[str]:
        """Weights and buffers with a NaN or an infinity, or whose square no float32 holds."""
        return [name for name, norm in self.state.items() if _is_beyond(norm)]

    def bad_gradients(self) -> list[str]:
        """Weights whose gradient, decay included, has a NaN or an infinity, or a square that no float32 holds."""
        return [n for n, norm in self.gradients.items() if _is_beyond(norm + self.decay * self.state.get(n, 0.0))]


def _is_beyond(norm: float) -> bool:
    return not norm < LARGEST  # a NaN is not less


class FiniteCheck:
    """The check of a run's steps.

    `deferred`: what is found stays on the device until it is asked for; the optimisers ask the device whether to move,
    and the loop asks where it waits anyway. On a CPU asking costs nothing, so there a step is judged at once.
    """

    def __init__(self, modules: Mapping[str, nn.Module], optimisers: Mapping[str, Optimizer]) -> None:
        self.players = tuple(optimisers)
        weights = [p for optimiser in optimisers.values() for group in optimiser.param_groups for p in group["params"]]
        device = weights[0].device if weights else torch.device("cpu")
        self.deferred = device.type != "cpu"
        decays = [g.get("weight_decay", 0.0) for o in optimisers.values() for g in o.param_groups]
        self._decay = float(max(decays, default=0.0))
        self._names = {id(p): f"{part}.{key}" for part, m in modules.items() for key, p in m.named_parameters()}
        self._buffers = [
            (f"{part}.{path}.{key}".replace("..", "."), module._buffers, key)
            for part, whole in modules.items()
            for path, module in whole.named_modules()
            for key, buffer in module._buffers.items()
            if buffer is not None and buffer.is_floating_point()
        ]
        self._first_step = 0
        self._on_device, self._at_once = _OnDevice(self.players, device), _AtOnce(self.players)

    @property
    def _found(self) -> "_OnDevice | _AtOnce":
        return self._on_device if self.deferred else self._at_once

    def begin(self, step: int) -> None:
        """Count steps from this one, which is the number of those that the run has taken."""
        self._first_step = step
        self._found.count_anew()

    @torch.no_grad()
    def look(self, report: Terms, moving: Mapping[str, Sequence[Parameter]]) -> "Seen":
        """Take note of a step before its optimisers move, with the gradients in `grad`."""
        having = {name: [p for p in own if p.grad is not None] for name, own in moving.items()}
        gradients = [p.grad for own in having.values() for p in own]
        weights = [p for own in having.values() for p in own]
        weights += [p for own in moving.values() for p in own if p.grad is None]
        buffers = [owner[key] for _, owner, key in self._buffers]

        # A norm has a NaN or an infinity wherever its tensor has one.
        tensors = [*gradients, *weights, *buffers]
        norms = torch._foreach_norm(tensors) if tensors else ()
        numbers = torch.stack([*report.values(), *norms])
        total = torch.dot(numbers, numbers)
        if self._decay > 1:  # less of it is covered by the norm of the weights
            decayed = numbers[len(report) + len(gradients) :] * self._decay
            total = total + torch.dot(decayed, decayed)
        counts = {name: len(own) for name, own in having.items()}
        seen = Seen(numbers, len(report), counts)
        self._found.add(_Layout(tuple(report), len(gradients), tuple(map(id, weights))), seen, total)
        return seen

    def may_move(self, optimisers: Sequence[Optimizer]) -> bool:
        """Whether these optimisers' `step` is to be called; where that is deferred, they ask the device themselves."""
        if self.deferred and all(group.get("fused") for o in optimisers for group in o.param_groups):
            for optimiser in optimisers:
                # as torch.amp.GradScaler sets it
                optimiser.found_inf = self._on_device.found_inf  # type: ignore[attr-defined]
            return True
        return not self.is_bad

    @property
    def is_bad(self) -> bool:
        """Whether any step so far was bad; waits for the device."""
        return self._found.is_bad

    @property
    def good_steps(self) -> int:
        """The steps before the first bad one, since `begin`; waits for the device."""
        return self._found.good_steps

    @property
    def newest_step(self) -> int:
        """The number of the first bad step or, if none is, of the last; the run's first is 1."""
        return self._first_step + self.good_steps + self.is_bad

    @property
    def gradient_norms(self) -> dict[str, list[float]]:
        """Each player's gradient norm in the last steps, oldest first, the bad step included."""
        columns = dict(zip(self.players, zip(*self._found.gradient_norms())))
        return {name: [norm for norm in columns.get(name, ()) if norm != ABSENT] for name in self.players}

    def evidence(self) -> Evidence:
        """The numbers of the first bad step; if none is, those of the newest step of some kind."""
        buffers = [name for name, _, _ in self._buffers]
        found = [layout.read(seen, self._names, buffers, self._decay) for layout, seen in self._found.numbers()]
        return next((one for one in found if one.is_bad), found[-1])

    def tensors(self) -> dict[object, Tensor]:
        """What a step changes here, by key: a recording is warmed up by steps that must leave no trace."""
        return self._on_device.tensors()


@dataclass(frozen=True)
class Seen:
    """The numbers of a step, on its device: terms, norms of gradients by player, norms of weights and buffers."""

    numbers: Float[Tensor, " numbers"]
    terms: int
    gradients: Mapping[str, int]  # of each player that the step updates

    def norms(self) -> dict[str, Float[Tensor, ""]]:
        """The norm of the whole gradient of each player that the step updates."""
        parts = self.numbers[self.terms :].split([*self.gradients.values(), self._rest])
        return {name: torch.linalg.vector_norm(part) for name, part in zip(self.gradients, parts)}

    @property
    def _rest(self) -> int:
        return len(self.numbers) - self.terms - sum(self.gradients.values())


@dataclass(frozen=True)
class _Layout:
    """What the numbers of a step are of: its terms, its gradients, then its weights and buffers."""

    terms: tuple[str, ...]
    gradients: int
    weights: tuple[int, ...]  # by id; those with a gradient come first

    def read(
        self, numbers: Sequence[float], names: Mapping[int, str], buffers: Sequence[str], decay: float
    ) -> Evidence:
        weights = [names.get(number, "a weight") for number in self.weights]
        terms, rest = numbers[: len(self.terms)], numbers[len(self.terms) :]
        gradients, state = rest[: self.gradients], rest[self.gradients :]
        of = dict(zip(self.terms, terms)), dict(zip(weights, gradients)), dict(zip([*weights, *buffers], state))
        return Evidence(*of, decay)


class _OnDevice:
    """What was found, in tensors that stay, as a CUDA graph needs them. From the first bad step on all of it stays."""

    def __init__(self, players: Sequence[str], device: torch.device) -> None:
        self._players = players
        self.found_inf = torch.zeros((), device=device)  # 1 from the first bad step on; Adam's name for it
        self._good = torch.zeros((), dtype=torch.int64, device=device)
        self._norms = torch.full((HISTORY, len(players)), ABSENT, device=device)  # the newest is the last
        self._absent = torch.full((), ABSENT, device=device)
        self._numbers: dict[_Layout, Tensor] = {}

    def add(self, layout: _Layout, seen: Seen, total: Float[Tensor, ""]) -> None:
        if layout not in self._numbers:
            self._numbers[layout] = self.found_inf.new_zeros(len(seen.numbers))
        numbers, was_bad = self._numbers[layout], self.found_inf.bool()
        numbers.copy_(torch.where(was_bad, numbers, seen.numbers))
        if self._players:
            of = seen.norms()
            row = torch.stack([of.get(name, self._absent) for name in self._players])
            self._norms.copy_(torch.where(was_bad, self._norms, torch.cat([self._norms[1:], row[None]])))
        is_bad = was_bad | ~total.isfinite()
        self._good.add_(~is_bad)
        self.found_inf.copy_(is_bad)

    def count_anew(self) -> None:
        self._good.zero_()

    @property
    def is_bad(self) -> bool:
        return bool(self.found_inf.item())

    @property
    def good_steps(self) -> int:
        return int(self._good.item())

    def gradient_norms(self) -> list[list[float]]:
        found: list[list[float]] = self._norms.tolist()
        return found

    def numbers(self) -> list[tuple[_Layout, list[float]]]:
        return [(layout, numbers.tolist()) for layout, numbers in self._numbers.items()]

    def tensors(self) -> dict[object, Tensor]:
        return {"found_inf": self.found_inf, "good": self._good, "norms": self._norms, **dict(self._numbers.items())}


class _AtOnce:
    """The same, where a number is read as soon as it is there: fewer operations, most of them only after a bad step."""

    def __init__(self, players: Sequence[str]) -> None:
        self._players = players
        self.is_bad, self.good_steps = False, 0
        self._seen: deque[tuple[_Layout, Seen]] = deque(maxlen=HISTORY)

    def add(self, layout: _Layout, seen: Seen, total: Float[Tensor, ""]) -> None:
        if self.is_bad:
            return
        self._seen.append((layout, seen))
        self.is_bad = not math.isfinite(total.item())
        self.good_steps += not self.is_bad

    def count_anew(self) -> None:
        self.good_steps = 0

    def gradient_norms(self) -> list[list[float]]:
        of = [{name: norm.item() for name, norm in seen.norms().items()} for _, seen in self._seen]
        return [[row.get(name, ABSENT) for name in self._players] for row in of]

    def numbers(self) -> list[tuple[_Layout, list[float]]]:
        return [(layout, seen.numbers.tolist()) for layout, seen in [*self._seen][-1:]]
