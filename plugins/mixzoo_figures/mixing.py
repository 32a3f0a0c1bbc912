"""What several figures share: their options, which images a path is between, and whether a run can mix them."""

from typing import Annotated, TypeAlias

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor, nn

from mixzoo import (
    ConfigError,
    FigureImages,
    FigureRequest,
    FigureRun,
    Mixer,
    Part,
    aims_at_labels,
    are_points,
    encode,
    needs_map,
)

Pairs: TypeAlias = Annotated[int, Ge(1), Le(20), "pairs of test images; images of --images follow one another"]
Steps: TypeAlias = Annotated[int, Ge(2), Le(100), "mixes from one image to the other, both ends included"]
OtherMixer: TypeAlias = Annotated[Part[Mixer] | None, "a mixer other than each run's own, in brackets"]


def mixer_of(run: FigureRun, other: Part[Mixer] | None) -> Mixer:
    """The run's mixer, or the other one built for its codes. Raises ConfigError if that does not fit or must learn."""
    if other is None:
        return run.mixer
    latent = tuple(run.autoencoder.latent_shape)
    try:
        mixer = other.build(run.data.build_context(latent))
    except ValueError as err:
        raise ConfigError(str(err)) from err
    if needs_map(mixer) and len(latent) == 1:
        raise ConfigError(f"mixer {other.name!r} mixes positions of a map, and its codes are vectors {latent}")
    if isinstance(mixer, nn.Module) and any(p.requires_grad for p in mixer.parameters()):
        raise ConfigError(f"mixer {other.name!r} is a learned one, and the run trained only its own")
    return mixer


def check_images(run: FigureRun) -> None:
    """Raises ConfigError if the data are points."""
    if are_points(run.data.test):
        raise ConfigError("its data are points, not images; `mixzoo figure spiral` draws them")


def check_mixes(run: FigureRun, mixer: Mixer, images: FigureImages) -> None:
    """Raises ConfigError if the run cannot mix these images, NonFiniteError if it has diverged."""
    if images.labels is None and aims_at_labels(mixer, run.data, tuple(run.autoencoder.latent_shape), run.device):
        raise ConfigError(
            "its mixer mixes by labels, which pictures of your own lack; name test images, as --images 3,17, or "
            "another mixer, as strips:mixer=mixup"
        )
    encode(run.autoencoder, images.x, run.device)


def pairs_of(images: FigureImages, request: FigureRequest) -> list[tuple[int, int]]:
    """The pairs between which mixes are drawn: each image of the user's and the next one, or the chosen ones by twos.

    Raises ConfigError if there is only one image.
    """
    count = len(images.x)
    if count < 2:
        raise ConfigError("one image; a path goes from one to the next, so give two or more with --images")
    return [(a, a + 1) for a in range(0, count - 1, 1 if request.given else 2)]


def blends(x: Float[Tensor, "2 channels height width"], steps: int) -> Float[Tensor, "steps channels height width"]:
    """Pixels mixed linearly, from the first image to the second."""
    t = torch.linspace(0, 1, steps)[:, None, None, None]
    return (1 - t) * x[:1] + t * x[1:]


def framed(x: Tensor, between: Tensor) -> Tensor:
    """The first image, what is between, and the second image."""
    return torch.cat([x[:1], between.cpu(), x[1:]])
