"""What a figure promises, one function a promise; `figure_checks` runs them all on a recipe.

A figure is drawn of artificial runs: images of three classes by a small network that differs between training and
evaluation mode, and points of the plane. It may refuse some of them, in one line, but not all.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from mixzoo.core.data import Dataset, Split
from mixzoo.core.errors import ConfigError, DataError
from mixzoo.core.figure import Animation, Figure, FigureImages, FigureRequest, FigureRun, HasCheckRun
from mixzoo.core.mixing import LinearMixer
from mixzoo.core.parts import CodeShape
from mixzoo.core.random import rng_for
from mixzoo.data.batches import to_images
from mixzoo.evaluation.pictures.style import figure_bytes
from mixzoo.registry.contract import reason, signatures
from mixzoo.testing.metrics import EVAL_MODE, MetricCase, StreamedImages, flags
from mixzoo.testing.recipes import check_options_are_explained, check_options_survive_a_spec, has_options
from mixzoo.testing.report import Check, check_from
from mixzoo.testing.watching import (
    first_difference,
    generators_untouched,
    process_untouched,
    seeded,
    state_of,
    unwritten,
)

SETTINGS: dict[str, str | int | float] = {"objective.name": "amr", "objective.beta": 0.5, "train.seed": 0}


class Thirds(LinearMixer):
    """Mixes three sources with random weights."""

    k = 3

    def draw(self, shape: CodeShape, rng: torch.Generator) -> Float[Tensor, "k batch *ones"]:
        weight = torch.rand(3, shape.batch, generator=rng) + 1e-3
        return shape.broadcast(weight / weight.sum(0))


class Stripes(Thirds):
    """Mixes three sources, each in its own rows of the map."""

    def draw(self, shape: CodeShape, rng: torch.Generator) -> Float[Tensor, "k batch *ones"]:
        if not shape.is_map:
            return super().draw(shape, rng)
        rows = torch.randint(3, (shape.batch, shape.latent[1]), generator=rng)
        return (rows == torch.arange(3)[:, None, None]).float()[:, :, None, :, None]


class Plane(nn.Module):
    """An auto-encoder for points of the plane."""

    latent_shape: tuple[int, ...] = (3,)

    def __init__(self) -> None:
        super().__init__()
        self.f, self.g = nn.Linear(2, 3), nn.Linear(3, 2)

    def encode(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch *latent"]:
        code: Tensor = self.f(x.flatten(1))
        return code

    def decode(self, h: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch channels height width"]:
        point: Tensor = self.g(h)
        return point[:, :, None, None]


def artificial_run(
    *, channels: int = 1, images: int = 48, streamed: bool = False, points: bool = False, label: str = "a run"
) -> FigureRun:
    """A run with images of three classes and a third as many test images, or with points of the plane."""
    mixer: Any = Stripes()
    if points:
        with seeded(0):
            network: Any = Plane()
        where = torch.rand(images, 2, 1, 1, generator=rng_for(0, "points")) * 2 - 1
        split = Split(where, torch.zeros(images, dtype=torch.int64))
        data = Dataset(split, split, split, class_names=())
    else:
        case = MetricCase(None, channels, images, 0).run(streamed=streamed)
        network, data = case.autoencoder, case.data
    return FigureRun(label, network, mixer, data, 0, "cpu", SETTINGS, lambda: {"stripes": mixer, "thirds": Thirds()})


def artificial_request(run: FigureRun, *, own: bool = False) -> FigureRequest:
    """A request for the first test images of the run or, with `own`, for two pictures of the user's without labels."""

    def choose(count: int) -> FigureImages:
        count = 2 if own else count
        if count > len(run.data.test):
            raise ConfigError(f"the figure shows {count} images, and there are {len(run.data.test)} test images")
        index = torch.arange(count)
        labels = None if own else run.data.test.labels[index]
        names = tuple(f"image {i}" for i in range(count))
        return FigureImages(to_images(run.data.test.read(index)), labels, names)

    return FigureRequest(choose, own)


def drawn(figure: Any, run: FigureRun, request: FigureRequest | None = None, *, runs: int = 1) -> Any:
    """What the figure returns of this run, `runs` times. Raises ConfigError or DataError if it refuses the run."""
    asked = artificial_request(run) if request is None else request
    if isinstance(figure, HasCheckRun):
        figure.check_run(run, asked)
    return figure([replace(run, label=f"{run.label} {i}") for i in range(runs)], asked)


def any_run(figure: Any, **kinds: Any) -> FigureRun:
    """The first artificial run that the figure does not refuse: of images, else of points."""
    refusals: list[str] = []
    for points in (False, True):
        run = artificial_run(points=points, **({} if points else kinds))
        try:
            drawn(figure, run)
        except (ConfigError, DataError) as err:
            refusals.append(str(err))
        else:
            return run
    raise AssertionError(f"the figure refuses runs of images ({refusals[0]}) and of points ({refusals[1]})")


def content(made: Any) -> bytes:
    """What a file of the figure would hold."""
    if isinstance(made, Animation):
        return b"".join(frame.tobytes() for frame in made.frames)
    return made.tobytes() if isinstance(made, Image.Image) else figure_bytes(made, ".png")


def check_is_a_figure(figure: Any) -> None:
    """A call with runs and a request returns a PIL image, a matplotlib Figure or an Animation."""
    expected = f"expected {signatures('figure', ['__call__'])}"
    assert isinstance(figure, Figure), f"the figure cannot be called with runs and a request; {expected}"
    try:
        made = drawn(figure, any_run(figure), runs=2)
    except TypeError as err:
        raise AssertionError(f"the figure raises {reason(err)}; {expected}") from err
    frames = list(made.frames) if isinstance(made, Animation) else [made]
    assert frames, "the Animation has no frames"
    if isinstance(made, Animation | Image.Image):
        assert all(isinstance(frame, Image.Image) for frame in frames), f"a frame is no PIL image; {expected}"
        assert len({frame.size for frame in frames}) == 1, "the frames of the Animation differ in size"
    else:
        assert hasattr(made, "savefig"), f"the figure returns a {type(made).__name__}; {expected}"


def check_is_drawn_alike_again(figure: Any) -> None:
    """The same runs and request give the same picture, and no global random generator is used."""
    run = any_run(figure)
    with generators_untouched("the figure"):
        first, second = content(drawn(figure, run)), content(drawn(figure, run))
    assert first == second, "two figures of the same run differ; take random numbers from mixzoo.rng_for(request.seed)"


def check_every_run_is_shown(figure: Any) -> None:
    """A second run changes the picture."""
    run = any_run(figure)
    with seeded(1):
        other = replace(run, label="another", autoencoder=type(run.autoencoder)(*_arguments(run)))
    request = artificial_request(run)
    assert content(figure([run, other], request)) != content(figure([run], request)), (
        "two runs are drawn as one is; draw each of `runs`"
    )


def _arguments(run: FigureRun) -> tuple[int, ...]:
    return () if isinstance(run.autoencoder, Plane) else (run.data.image_shape[0],)


def check_the_mode_does_not_matter(figure: Any) -> None:
    """The picture is that of the networks in evaluation mode, whichever mode they are in."""
    run = any_run(figure)
    made = []
    for training in (True, False):
        _module(run).train(training)
        made.append(content(drawn(figure, run)))
    assert made[0] == made[1], f"a network in training mode is drawn otherwise; use evaluation mode, {EVAL_MODE}"


def check_the_run_is_left_unchanged(figure: Any) -> None:
    """A figure leaves weights, gradients and mode of the network, and the data, as they were."""
    run = any_run(figure)
    network = _module(run).train()
    before, trained = state_of(network), flags(network)
    tensors = {"the test images": run.data.test.held, "the test labels": run.data.test.labels}
    with unwritten(tensors, "the figure"):
        drawn(figure, run)
    differs = first_difference(before, state_of(network))
    assert not differs, f"the figure changes {differs!r} of the network"
    assert all(module.training for module in network.modules()), f"the mode is not restored; use {EVAL_MODE}"
    assert flags(network) == trained, "the figure changes gradients or requires_grad; use torch.no_grad()"


def check_leaves_the_process_as_it_was(figure: Any) -> None:
    """A figure leaves the process's state, and matplotlib's settings, as they were, and opens no window."""
    import matplotlib

    run = any_run(figure)
    with suppress(AssertionError), process_untouched("the figure"):
        drawn(figure, run)  # imports happen now, and may change global state
    settings = dict(matplotlib.rcParams)
    with process_untouched("the figure"):
        drawn(figure, run)
    assert dict(matplotlib.rcParams) == settings, "the figure changes matplotlib's settings; use mixzoo.figure_style()"
    from matplotlib import _pylab_helpers

    assert not _pylab_helpers.Gcf.figs, "the figure leaves a figure of pyplot open; use matplotlib.figure.Figure"


def check_streamed_data_look_the_same(figure: Any) -> None:
    """Streamed data, which must be read with `split.read(index)`, give the same picture as data in memory."""
    run = any_run(figure)
    if isinstance(run.autoencoder, Plane):
        return  # points are always held in memory
    streamed = artificial_run(streamed=True)
    assert isinstance(streamed.data.test.images, StreamedImages)
    try:
        second = content(drawn(figure, streamed))
    except Exception as err:
        raise AssertionError(
            f"streamed data raise {type(err).__name__}: {err}; use mixzoo.encode or split.read"
        ) from err
    assert content(drawn(figure, run)) == second, "the picture of streamed data differs from that of data in memory"


def check_unusual_runs_are_drawn_or_refused(figure: Any) -> None:
    """Points, colours, two test images and a user's own pictures are drawn, or refused by ConfigError or DataError."""
    cases: Mapping[str, Callable[[], Any]] = {
        "data that are points": lambda: drawn(figure, artificial_run(points=True)),
        "images in colour": lambda: drawn(figure, artificial_run(channels=3)),
        "two test images": lambda: drawn(figure, artificial_run(images=6)),
        "pictures without labels": lambda: _with_own(figure),
    }
    for what, draw in cases.items():
        try:
            draw()
        except (ConfigError, DataError) as err:
            assert str(err).strip(), f"{what}: the {type(err).__name__} has no message"  # noqa: PT017  (the check)
        except Exception as err:
            raise AssertionError(
                f"{what}: the figure raises {reason(err)}; draw it, or raise ConfigError in check_run"
            ) from err


def _with_own(figure: Any) -> Any:
    run = artificial_run()
    return drawn(figure, run, artificial_request(run, own=True))


def _module(run: FigureRun) -> nn.Module:
    assert isinstance(run.autoencoder, nn.Module)
    return run.autoencoder


_check = partial(check_from, kind="figure")
_PROMISES: Sequence[Callable[[Any], None]] = (
    check_is_drawn_alike_again,
    check_every_run_is_shown,
    check_the_mode_does_not_matter,
    check_the_run_is_left_unchanged,
    check_leaves_the_process_as_it_was,
    check_streamed_data_look_the_same,
    check_unusual_runs_are_drawn_or_refused,
)

figure_checks: tuple[Check, ...] = (
    _check(check_is_a_figure, stops=True),
    *map(_check, _PROMISES),
    _check(check_options_survive_a_spec, applies=has_options),
    _check(check_options_are_explained, applies=has_options),
)
