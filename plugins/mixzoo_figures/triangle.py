"""Triangles: all mixes of three images, side by side for several runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le
from PIL import Image

from mixzoo import ConfigError, FigureRequest, FigureRun, beside, triangle_of
from mixzoo_figures.mixing import OtherMixer, check_images, check_mixes, mixer_of


@dataclass(frozen=True, kw_only=True)
class Triangle:
    """Mixes of three images on a triangular grid, a triangle for each run (AMR Figure 3, middle, as images).

    The corners are reconstructions: the first image at the top, the second at the left, the third at the right.
    """

    side: Annotated[int, Ge(2), Le(30), "mixes along an edge"] = 6
    mixer: OtherMixer = None

    def check_run(self, run: FigureRun, request: FigureRequest) -> None:
        """Raises ConfigError if the data are no images, or the mixer has two sources or cannot mix them."""
        check_images(run)
        mixer = mixer_of(run, self.mixer)
        if mixer.k < 3:
            raise ConfigError(
                f"its mixer takes {mixer.k} sources, and a triangle has three; name one, as "
                "triangle:mixer=(dirichlet:k=3)"
            )
        check_mixes(run, mixer, request.choose(3))

    def __call__(self, runs: Sequence[FigureRun], request: FigureRequest) -> Image.Image:
        images = request.choose(3)
        if len(images.x) != 3:
            raise ConfigError(f"{len(images.x)} images; a triangle is between three")
        pictures = []
        for run in runs:
            labels = None if images.labels is None else images.labels.to(run.device)
            mixer = mixer_of(run, self.mixer)
            picture = triangle_of(
                run.autoencoder, mixer, images.x.to(run.device), labels, side=self.side, scale=request.scale
            )
            pictures.append((run.label, picture))
        top, left, right = images.names
        return beside(pictures, f"{top} (top), {left} (left), {right} (right)")
