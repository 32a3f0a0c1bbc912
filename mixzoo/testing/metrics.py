"""What a metric promises, one function a promise; `metric_checks` runs them all on a recipe.

A metric runs on an artificial finished run: a small network that differs between training and evaluation mode (dropout,
batch norm), and noisy images of three classes.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from mixzoo.core.data import Dataset, Split
from mixzoo.core.errors import MixzooError
from mixzoo.core.metric import FinishedRun, HasBetter, Metric
from mixzoo.core.mixing import LinearMixer
from mixzoo.core.parts import CodeShape
from mixzoo.core.random import rng_for
from mixzoo.evaluation.scores import wrong_better
from mixzoo.registry.contract import reason, signatures
from mixzoo.testing.hypotheses import strategies
from mixzoo.testing.report import Check, check_from
from mixzoo.testing.watching import (
    first_difference,
    generators_untouched,
    process_untouched,
    seeded,
    state_of,
    unwritten,
)

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
CLASS_NAMES = ("top", "middle", "bottom")
SIDE = 16
EVAL_MODE = "`with mixzoo.eval_mode(run.autoencoder):`"


class Sketch(nn.Module):
    """An auto-encoder for images whose sides are multiples of 4, with layers that depend on the mode."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.latent_shape: tuple[int, ...] = (2, SIDE // 4, SIDE // 4)
        self.f = nn.Sequential(nn.Conv2d(channels, 2, 4, stride=4), nn.BatchNorm2d(2), nn.Dropout(0.5))
        self.g = nn.ConvTranspose2d(2, channels, 4, stride=4)

    def encode(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch *latent"]:
        code: Tensor = self.f(x)
        return code

    def decode(self, h: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch channels height width"]:
        image: Tensor = self.g(h)
        return image


@dataclass(frozen=True)
class Halves(LinearMixer):
    """Mixes two sources with a random weight per example."""

    k: int = 2

    def draw(self, shape: CodeShape, rng: torch.Generator) -> Float[Tensor, "k batch *ones"]:
        weight = torch.rand(shape.batch, generator=rng)
        return shape.broadcast(torch.stack([weight, 1 - weight]))


@dataclass(frozen=True)
class StreamedImages:
    """Images as a stream presents them to a metric: they must be read."""

    _images: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        n, channels, height, width = self._images.shape
        return (n, channels, height, width)

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: Int[Tensor, " some"]) -> UInt8[Tensor, "some channels height width"]:
        return self._images[index]


@dataclass(frozen=True)
class MetricCase:
    """A metric and the run that it scores."""

    metric: Any
    channels: int
    images: int  # of the train split; each other split has a third as many
    seed: int

    def __str__(self) -> str:
        return f"{self.images} train images of {self.channels}x{SIDE}x{SIDE}, seed {self.seed}"

    def run(self, *, streamed: bool = False) -> FinishedRun:
        """A new finished run, with the network in training mode, as the training loop leaves it."""
        with seeded(self.seed):
            network = Sketch(self.channels)
            network.encode(torch.randn(4, self.channels, SIDE, SIDE))  # running statistics that are not 0 and 1
        sizes = (self.images, self.images // 3, self.images // 3)
        splits = list(map(self._split, ("train", "validation", "test"), sizes))
        train, validation, test = (replace(s, images=StreamedImages(s.held)) for s in splits) if streamed else splits
        data = Dataset(
            train,
            validation,
            test,
            CLASS_NAMES,
            source="bars",
            fingerprint=str(self.seed),
            factor_names=("angle", "shade"),
        )
        mixer: Any = Halves()
        return FinishedRun(network, mixer, data, seed=self.seed, device="cpu", untrained=self._untrained)

    def _untrained(self) -> Sketch:
        with seeded(self.seed):
            return Sketch(self.channels)

    def scores(self, run: FinishedRun | None = None) -> Any:
        """The metric's scores of the run."""
        return self.metric(self.run() if run is None else run)

    def _split(self, name: str, count: int) -> Split:
        """Noisy images in which the third given by the class is bright.

        The factors are the class times 2π/3, and whether that third is less bright.
        """
        labels = torch.arange(count) % len(CLASS_NAMES)
        images = torch.randint(0, 60, (count, self.channels, SIDE, SIDE), generator=rng_for(self.seed, name))
        bright = torch.arange(SIDE)[None] // 6 == labels[:, None]
        angles = labels[:, None].float() * (2 * torch.pi / len(CLASS_NAMES))
        shade = torch.arange(count)[:, None] // len(CLASS_NAMES) % 2
        brighter = (180 - 60 * shade) * bright
        return Split((images + brighter[:, None, :, None]).to(torch.uint8), labels, torch.cat([angles, shade], 1))


def metric_cases(metric: Any) -> Any:
    """A strategy of cases for a metric: grey and colour, from a dozen to a hundred images."""
    st = strategies()
    sizes = st.sampled_from((12, 30, 96))
    return st.builds(MetricCase, st.just(metric), st.sampled_from((1, 3)), sizes, st.integers(0, 2**31))


def check_is_a_metric(case: MetricCase) -> None:
    """A call with a finished run returns a mapping of names to numbers that is not empty."""
    expected = f"expected {signatures('metric', ['__call__'])}"
    assert isinstance(case.metric, Metric), f"the metric cannot be called with a finished run; {expected}"
    try:
        scores = case.scores()
    except TypeError as err:
        raise AssertionError(f"the metric raises {reason(err)}; {expected}") from err
    assert isinstance(scores, Mapping), f"the metric returns a {type(scores).__name__}; {expected}"
    assert scores, f"the metric returns no numbers; {expected}"


def check_numbers_are_named_and_finite(case: MetricCase) -> None:
    """Every name is a short lower-case word, and every number is a finite float."""
    for name, value in case.scores().items():
        assert NAME.fullmatch(str(name)), (
            f"{name!r} is not a valid name; use up to 40 of a-z, 0-9 and _, a letter first"
        )
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        assert is_number, f"{name} is a {type(value).__name__}, expected a float; .item() gives one"
        assert isfinite(value), f"{name} is {value}, expected a finite number"
        json.dumps({name: value})


def check_better_names_its_scores(case: MetricCase) -> None:
    """`better`, if there is one, is "less", "more" or "", for all scores or by the name of each."""
    if wrong := wrong_better(case.metric):
        raise AssertionError(f"{wrong}; expected {signatures('metric', ['better'])}")
    if isinstance(case.metric, HasBetter) and isinstance(case.metric.better, Mapping):
        scores = case.scores()
        for name in case.metric.better:
            assert name in scores, f"`better` names {name!r}, which is none of the scores {', '.join(scores)}"


def check_scores_repeat(case: MetricCase) -> None:
    """Two calls on one run return the same numbers and use no global random generator."""
    try:
        with generators_untouched("the metric"):
            first, second = case.scores(), case.scores()
    except AssertionError as err:
        if draws_by_itself(case):
            raise
        raise AssertionError(
            "the metric runs the network in training mode, where its dropout draws from torch's global generator; use "
            f"evaluation mode, {EVAL_MODE}"
        ) from err
    assert dict(first) == dict(second), f"two calls on one run differ: {dict(first)} and {dict(second)}"


def draws_by_itself(case: MetricCase) -> bool:
    """Whether the metric itself draws from a global generator, with the network in evaluation mode."""
    run = case.run()
    module_of(run).eval()
    try:
        with generators_untouched("the metric"):
            case.scores(run)
    except AssertionError:
        return True
    return False


def check_leaves_the_process_as_it_was(case: MetricCase) -> None:
    """A metric leaves gradient mode, default dtype and device, threads, warnings and working directory as they were."""
    with suppress(AssertionError), process_untouched("the metric"):
        case.scores()  # imports happen now, and may change global state
    with process_untouched("the metric"):
        case.scores()


def check_the_mode_does_not_matter(case: MetricCase) -> None:
    """The numbers are those of the network in evaluation mode, whichever mode it is in at the call."""
    training, evaluation = case.run(), case.run()
    module_of(evaluation).eval()
    first, second = case.scores(training), case.scores(evaluation)
    assert dict(first) == dict(second), (
        f"the scores are {dict(first)} for a network in training mode and {dict(second)} in evaluation mode; use "
        f"evaluation mode, {EVAL_MODE}"
    )


def check_the_network_is_left_unchanged(case: MetricCase) -> None:
    """A metric leaves the weights, buffers, gradients, requires_grad and mode of the network as they were."""
    for training in (True, False):
        run = case.run()
        network = module_of(run).train(training)
        before, trained = state_of(network), flags(network)
        case.scores(run)
        differs = first_difference(before, state_of(network))
        assert not differs, f"the metric changes {differs!r} of the network"
        mode = "training" if training else "evaluation"
        assert all(m.training == training for m in network.modules()), (
            f"the metric does not restore {mode} mode of the network; use a context that does, {EVAL_MODE}"
        )
        assert flags(network) == trained, (
            "the metric changes the gradients or requires_grad of the network; use torch.no_grad()"
        )


def flags(network: nn.Module) -> list[tuple[bool, bool]]:
    """For each parameter, requires_grad and whether it has a gradient."""
    return [(p.requires_grad, p.grad is not None) for p in network.parameters()]


def module_of(run: FinishedRun) -> nn.Module:
    """The run's auto-encoder as a module."""
    assert isinstance(run.autoencoder, nn.Module)
    return run.autoencoder


def check_the_data_are_left_unchanged(case: MetricCase) -> None:
    """A metric does not write to images or labels in place."""
    run = case.run()
    splits = {name: getattr(run.data, name) for name in ("train", "validation", "test")}
    tensors = {f"the {name} {what}": getattr(s, what) for name, s in splits.items() for what in ("images", "labels")}
    with unwritten(tensors, "the metric"):
        case.scores(run)


def check_streamed_data_score_the_same(case: MetricCase) -> None:
    """Streamed data, which must be read with `split.read(index)`, get the same numbers as data in memory."""
    in_memory = case.scores()
    try:
        streamed = case.scores(case.run(streamed=True))
    except Exception as err:
        raise AssertionError(
            f"streamed data raise {type(err).__name__}: {err}; read images in batches, with "
            "mixzoo.evaluation.codes.batches or split.read(index)"
        ) from err
    assert dict(in_memory) == dict(streamed), (
        f"the scores are {dict(in_memory)} for data in memory and {dict(streamed)} for the same data streamed"
    )


def check_few_images_are_enough_or_refused(case: MetricCase) -> None:
    """With one test image a metric returns finite numbers, or raises ValueError or DataError with a message."""
    with rejection_allowed():
        for name, value in replace(case, images=3).scores().items():
            assert isfinite(value), f"{name} is {value} with 3 train images and 1 test image; raise ValueError instead"


@contextmanager
def rejection_allowed() -> Iterator[None]:
    """ValueError and Mixzoo's errors pass if they have a message; any other error becomes an AssertionError."""
    try:
        yield
    except (ValueError, MixzooError) as err:
        assert str(err).strip(), f"with 1 test image the {type(err).__name__} has no message"  # noqa: PT017  (the check)
    except AssertionError:
        raise
    except Exception as err:
        raise AssertionError(f"3 train images and 1 test image raise {type(err).__name__}: {err}") from err


_check = partial(check_from, kind="metric", cases=metric_cases, case_cost=3)

metric_checks: tuple[Check, ...] = (
    _check(check_is_a_metric, stops=True),
    *map(
        _check,
        (
            check_numbers_are_named_and_finite,
            check_better_names_its_scores,
            check_scores_repeat,
            check_leaves_the_process_as_it_was,
            check_the_mode_does_not_matter,
            check_the_network_is_left_unchanged,
            check_the_data_are_left_unchanged,
            check_few_images_are_enough_or_refused,
            check_streamed_data_score_the_same,
        ),
    ),
)
