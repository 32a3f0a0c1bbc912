"""The first step of a run whose numbers are not finite: a line about it, and a file in the run's directory."""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mixzoo.core.errors import NonFiniteError, StorageError, printable
from mixzoo.core.json_file import write_json
from mixzoo.core.random import StepDraws, mapped, seed_for
from mixzoo.data.batches import to_images
from mixzoo.training.checkpoint import path_of
from mixzoo.training.distributed import DistributedContext
from mixzoo.training.finite import LARGEST, Evidence

ASIDE = "nonfinite-"  # before the name of a checkpoint from which the next step fails
MOST_TERMS = 3  # in the line
MOST_NAMES = 10  # of tensors in the file
MOST_NUMBERS = 4096  # of a draw in the file; of a larger one its shape
SHOWN = 4  # gradient norms in the line
ADVICE = "Try a lower --lr, --clip-grad, or another lam"


@dataclass(frozen=True)
class BadStep:
    """All that is known of a step whose numbers are not finite."""

    checkpoints: Path  # in the run's directory
    step: int  # the run's first is 1
    seed: int  # of the run
    images: Sequence[int]  # of the batch, in the train split
    read: Callable[[Tensor], Tensor]  # the images as stored
    draws: StepDraws
    evidence: Evidence
    gradient_norms: dict[str, list[float]]  # of each player, oldest first
    distributed: DistributedContext
    taken: int  # good steps that this process has taken before it
    afterwards: str = ""  # the tensor that only the step's update made so

    @property
    def run_dir(self) -> Path:
        return self.checkpoints.parent

    @property
    def file(self) -> Path:
        return self.run_dir / f"nonfinite-step-{self.step:08d}.json"

    def error(self) -> NonFiniteError:
        """The error, which names the file; process 0 has written it."""
        images = self._bad_images()
        draws = [name for name, draw in self.draws.named.items() if _has_non_finite(draw)]
        cause, advice = self._cause(images, draws)
        kept = "the last checkpoint is kept"
        file = f"{printable(str(self.file))} has its batch and more"
        if self.distributed.is_main:
            try:
                write_json(self.file, self._content(f"{cause}. {advice}", images, draws))
            except StorageError as err:  # the step is what went wrong first
                file = str(err)
            if not (images or draws) and self._set_aside():
                kept = f"the checkpoint of step {self.step - 1}, from which it fails again, is set aside as {ASIDE}*"
        norms = ", ".join(
            f"{player} {' '.join(f'{norm:.3g}' for norm in found[-SHOWN:])}"
            for player, found in self.gradient_norms.items()
            if found
        )
        since = f"no weight has moved{f' since step {self.step - 1}' if self.step > 1 else ''}, and "
        since = "" if self.afterwards else since
        return NonFiniteError(
            f"step {self.step}: {cause}; {since}{kept}. {advice}. "
            f"Gradient norms of the last steps: {norms or 'none'}; {file}",
            self.file,
        )

    def _set_aside(self) -> bool:
        """Rename the checkpoint that this step began from, if there is one and this process made it.

        A run that goes on from it fails again at once, whatever its new learning rate. One that this process began
        from stays: it may be that of a completed run.
        """
        found = path_of(self.checkpoints, self.step - 1)
        if self.taken < 1 or not found.is_dir():
            return False
        aside = found.with_name(f"{ASIDE}{found.name}")
        try:
            shutil.rmtree(aside, ignore_errors=True)
            found.rename(aside)
        except OSError:
            return False
        return True

    def _cause(self, images: Sequence[int], draws: Sequence[str]) -> tuple[str, str]:
        """What is not finite, the earliest in the order of a step, and what to do about it."""
        if images:
            return f"train image {images[0]} is not finite", "Remove it from the data"
        if draws:
            return f"the draw {draws[0]!r} is not finite", "Look at the options of the mixer"
        found = self.evidence
        if self.afterwards:  # found at a commit
            return f"{self.afterwards} is not finite after it", ADVICE
        if state := found.bad_state():
            return f"{state[0]} {_beyond(found.state[state[0]])}{_of(state)}", ADVICE
        if terms := found.bad_terms():
            more = f" (and {len(terms) - MOST_TERMS} more)" if len(terms) > MOST_TERMS else ""
            which = ", ".join(terms[:MOST_TERMS])
            return f"{which} {_beyond(sum(abs(found.terms[name]) for name in terms), 'or')}{more}", ADVICE
        if gradients := found.bad_gradients():
            first, norm = gradients[0], found.gradients[gradients[0]]
            decay = found.decay * found.state.get(first, 0.0)
            if math.isfinite(norm) and decay > norm:
                return f"--weight-decay times {first} {_beyond(decay)}{_of(gradients)}", "Try a lower --weight-decay"
            return f"the gradient of {first} {_beyond(norm)}{_of(gradients)}", ADVICE
        return "the sum of all terms, or of all squared gradients or weights, is not finite", ADVICE

    def _bad_images(self) -> list[int]:
        """The images of the batch with a NaN or an infinity."""
        index = torch.tensor(self.images)
        stored = self.read(index)
        if not stored.is_floating_point():
            return []
        finite = to_images(stored).flatten(1).isfinite().all(1)
        found: list[int] = index[~finite].tolist()
        return found

    def _content(self, line: str, bad_images: Sequence[int], bad_draws: Sequence[str]) -> dict[str, Any]:
        found = self.evidence
        return {
            "problem": line,
            "step": self.step,
            "seed": self.seed,
            "torch_seed": seed_for(self.seed, "torch", self.step - 1),
            "terms": {name: _number(value) for name, value in found.terms.items()},
            "tensors_not_finite": found.bad_state()[:MOST_NAMES],
            "gradients_not_finite": {
                name: _number(found.gradients[name]) for name in found.bad_gradients()[:MOST_NAMES]
            },
            "gradient_norms": {name: [_number(norm) for norm in own] for name, own in self.gradient_norms.items()},
            "draws_not_finite": list(bad_draws),
            "draws": {name: _described(draw) for name, draw in self.draws.named.items()},
            "images_not_finite": list(bad_images),
            "images": list(self.images),
            "look": self._look(),
        }

    def _look(self) -> str:
        """How to see the images of the batch, in Python."""
        where = repr(str(self.run_dir))
        return (
            f"import json, mixzoo, pathlib, torch; run = mixzoo.load({where}); "
            f"step = json.loads(pathlib.Path({str(self.file)!r}).read_text()); "
            "data = run.config.parts['dataset'].load(run.config.train.seed); "
            "images = data.train.read(torch.tensor(step['images']))"
        )


def _beyond(number: float, what: str = "or its norm is") -> str:
    """What is wrong with that number; the norm of a tensor of large numbers is infinite, too."""
    return "is not finite" if math.isnan(number) else f"is not finite, {what} beyond {LARGEST:.1e}"


def _of(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more tensors)" if len(names) > 1 else ""


def _number(value: float) -> float | str:
    """The number, or the text "NaN", "Infinity" or "-Infinity", for which JSON has no number."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _has_non_finite(draw: Any) -> bool:
    found: list[bool] = []

    def look(tensor: Tensor) -> Tensor:
        found.append(tensor.is_floating_point() and not bool(tensor.isfinite().all()))
        return tensor

    mapped(look, draw)
    return any(found)


def _described(draw: Any) -> Any:
    """The draw with a list in place of each tensor, or the shape of one that is large."""
    if isinstance(draw, Tensor):
        return _numbers(draw.tolist()) if draw.numel() <= MOST_NUMBERS else f"a tensor {list(draw.shape)}"
    if isinstance(draw, dict):
        return {str(name): _described(value) for name, value in draw.items()}
    if isinstance(draw, (tuple, list)):
        return [_described(value) for value in draw]
    return draw if isinstance(draw, (bool, int, str)) or draw is None else str(draw)


def _numbers(values: Any) -> Any:
    if isinstance(values, list):
        return [_numbers(value) for value in values]
    return _number(values) if isinstance(values, float) else values
