"""What a metric promises, one function a promise; `metric_checks` runs them all on a recipe.

A metric is tried on a made-up run: a small network that tells training from evaluation mode (dropout, batch norm), and
a few noisy images of three classes.
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
from mixzoo.core.metric import FinishedRun, Metric
from mixzoo.core.mixing import LinearMixer
from mixzoo.core.parts import CodeShape
from mixzoo.core.random import rng_for
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
EVALUATING = "`with mixzoo.eval_mode(run.autoencoder):`"


class Sketch(nn.Module):
    """An auto-encoder of images whose sides are multiples of 4, with layers that know the mode they are in."""

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
    """A random weight for each example of two."""

    k: int = 2

    def draw(self, shape: CodeShape, rng: torch.Generator) -> Float[Tensor, "k batch *ones"]:
        weight = torch.rand(shape.batch, generator=rng)
        return shape.broadcast(torch.stack([weight, 1 - weight]))


@dataclass(frozen=True)
class Unheld:
    """Images as a stream of them looks to a metric: there for those who read them."""

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
    """A metric and the size of the run that it scores."""

    metric: Any
    channels: int
    images: int  # of the train split; a third of it is held out in each of the others
    seed: int

    def __str__(self) -> str:
        return f"{self.images} train images of {self.channels}x{SIDE}x{SIDE}, seed {self.seed}"

    def run(self, *, streamed: bool = False) -> FinishedRun:
        """The finished run, made anew, its network in training mode as the loop leaves it."""
        with seeded(self.seed):
            network = Sketch(self.channels)
            network.encode(torch.randn(4, self.channels, SIDE, SIDE))  # running statistics that are not 0 and 1
        sizes = (self.images, self.images // 3, self.images // 3)
        splits = list(map(self._split, ("train", "validation", "test"), sizes))
        train, validation, test = (replace(s, images=Unheld(s.held)) for s in splits) if streamed else splits
        data = Dataset(
            train, validation, test, CLASS_NAMES, source="bars", fingerprint=str(self.seed), factor_names=("angle",)
        )
        mixer: Any = Halves()
        return FinishedRun(network, mixer, data, seed=self.seed, device="cpu")

    def scores(self, run: FinishedRun | None = None) -> Any:
        """What the metric says of the run."""
        return self.metric(self.run() if run is None else run)

    def _split(self, name: str, count: int) -> Split:
        """Noisy images; the class says which third is bright, and the factor is that third of 2π."""
        labels = torch.arange(count) % len(CLASS_NAMES)
        images = torch.randint(0, 60, (count, self.channels, SIDE, SIDE), generator=rng_for(self.seed, name))
        bright = torch.arange(SIDE)[None] // 6 == labels[:, None]
        angles = labels[:, None].float() * (2 * torch.pi / len(CLASS_NAMES))
        return Split((images + 180 * bright[:, None, :, None]).to(torch.uint8), labels, angles)


def metric_cases(metric: Any) -> Any:
    """Strategy of cases of a metric: grey and colour, from a few images to a hundred."""
    st = strategies()
    sizes = st.sampled_from((12, 30, 96))
    return st.builds(MetricCase, st.just(metric), st.sampled_from((1, 3)), sizes, st.integers(0, 2**31))


def check_is_a_metric(case: MetricCase) -> None:
    """Calling it with a finished run gives a mapping that is not empty."""
    expected = f"expected {signatures('metric', ['__call__'])}"
    assert isinstance(case.metric, Metric), f"it cannot be called with a finished run; {expected}"
    try:
        scores = case.scores()
    except TypeError as err:
        raise AssertionError(f"it raised {reason(err)}; {expected}") from err
    assert isinstance(scores, Mapping), f"it gives a {type(scores).__name__}, expected names and numbers; {expected}"
    assert scores, "it gives no number"


def check_numbers_are_named_and_finite(case: MetricCase) -> None:
    """Every name is a short lower-case word, every number a finite float that JSON can hold."""
    for name, value in case.scores().items():
        assert NAME.fullmatch(str(name)), f"{name!r} is no name; use up to 40 of a-z, 0-9 and _"
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        assert is_number, f"{name} is a {type(value).__name__}, expected a float; .item() gives one"
        assert isfinite(value), f"{name} is {value}"
        json.dumps({name: value})


def check_scores_repeat(case: MetricCase) -> None:
    """The same run gets the same numbers twice, and no global generator moves."""
    try:
        with generators_untouched("the metric"):
            first, second = case.scores(), case.scores()
    except AssertionError as err:
        if draws_by_itself(case):
            raise
        raise AssertionError(
            "the metric runs the network in training mode, where its dropout draws from torch's global generator; put "
            f"it in evaluation mode, {EVALUATING}"
        ) from err
    assert dict(first) == dict(second), f"two scores of one run differ: {dict(first)} and {dict(second)}"


def draws_by_itself(case: MetricCase) -> bool:
    """Whether the metric draws from a global generator even when the network it gets is in evaluation mode."""
    run = case.run()
    module_of(run).eval()
    try:
        with generators_untouched("the metric"):
            case.scores(run)
    except AssertionError:
        return True
    return False


def check_leaves_the_process_as_it_was(case: MetricCase) -> None:
    """Gradient mode, default dtype and device, threads, determinism, warnings, the folder, ... are as they were."""
    with suppress(AssertionError), process_untouched("the metric"):
        case.scores()  # what it imports is imported now
    with process_untouched("the metric"):
        case.scores()


def check_the_mode_does_not_matter(case: MetricCase) -> None:
    """The numbers are of the network in evaluation mode, whichever mode it comes in."""
    training, evaluation = case.run(), case.run()
    module_of(evaluation).eval()
    first, second = case.scores(training), case.scores(evaluation)
    assert dict(first) == dict(second), (
        f"a network in training mode is scored {dict(first)} and in evaluation mode {dict(second)}; "
        f"put it in evaluation mode, {EVALUATING}"
    )


def check_the_network_is_left_unchanged(case: MetricCase) -> None:
    """Weights, buffers, gradients, requires_grad and the mode are as they were."""
    for training in (True, False):
        run = case.run()
        network = module_of(run).train(training)
        before, trained = state_of(network), flags(network)
        case.scores(run)
        differs = first_difference(before, state_of(network))
        assert not differs, f"the metric changes {differs!r} of the network"
        mode = "training" if training else "evaluation"
        assert all(m.training == training for m in network.modules()), (
            f"the metric leaves the network in another mode than {mode}; use a context that puts it back, {EVALUATING}"
        )
        assert flags(network) == trained, "the metric leaves gradients, or another requires_grad, behind"


def flags(network: nn.Module) -> list[tuple[bool, bool]]:
    """Of each parameter, whether it is trained and whether it has a gradient."""
    return [(p.requires_grad, p.grad is not None) for p in network.parameters()]


def module_of(run: FinishedRun) -> nn.Module:
    """The run's auto-encoder, as the module that it is."""
    assert isinstance(run.autoencoder, nn.Module)
    return run.autoencoder


def check_the_data_are_left_unchanged(case: MetricCase) -> None:
    """Images and labels are as they were."""
    run = case.run()
    splits = {name: getattr(run.data, name) for name in ("train", "validation", "test")}
    tensors = {f"the {name} {what}": getattr(s, what) for name, s in splits.items() for what in ("images", "labels")}
    with unwritten(tensors, "the metric"):
        case.scores(run)


def check_streamed_data_score_the_same(case: MetricCase) -> None:
    """Data that are read as they are needed, `split.read(index)`, and held nowhere get the numbers of the same held."""
    held = case.scores()
    try:
        streamed = case.scores(case.run(streamed=True))
    except Exception as err:
        raise AssertionError(
            f"data read from their files raise {type(err).__name__}: {err}; read images in batches, with "
            "mixzoo.evaluation.codes.batches or split.read(index)"
        ) from err
    assert dict(held) == dict(streamed), f"data in memory are scored {dict(held)}, the same streamed {dict(streamed)}"


def check_few_images_are_enough_or_refused(case: MetricCase) -> None:
    """With one held-out image it gives its numbers, or says in a ValueError or DataError that it needs more."""
    with refusing_in_words():
        case_of_few = replace(case, images=3)
        for name, value in case_of_few.scores().items():
            assert isfinite(value), f"{name} is {value} with 3 train images and 1 test image; refuse with a ValueError"


@contextmanager
def refusing_in_words() -> Iterator[None]:
    """A refusal in words passes; anything else that is raised is an AssertionError."""
    try:
        yield
    except (ValueError, MixzooError) as err:
        assert str(err).strip(), "few images are refused without words"  # noqa: PT017  (this is the check)
    except AssertionError:
        raise
    except Exception as err:
        raise AssertionError(f"3 train images and 1 test image raise {type(err).__name__}: {err}") from err


_check = partial(check_from, kind="metric", cases=metric_cases)

metric_checks: tuple[Check, ...] = (
    _check(check_is_a_metric, stops=True),
    *map(
        _check,
        (
            check_numbers_are_named_and_finite,
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
