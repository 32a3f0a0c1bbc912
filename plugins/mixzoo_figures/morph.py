"""An animated path through images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le
from PIL import Image
from torch import Tensor

from mixzoo import (
    Animation,
    Block,
    ConfigError,
    FigureRequest,
    FigureRun,
    Row,
    block_sheet,
    decode_mixes_at,
    path_between_two,
)
from mixzoo_figures.mixing import OtherMixer, blends, check_images, check_mixes, mixer_of


@dataclass(frozen=True, kw_only=True)
class Morph:
    """An animation that passes through the images and back to the first, a row for each run: GIF or WebP."""

    images: Annotated[int, Ge(2), Le(20), "test images, unless --images names some"] = 4
    steps: Annotated[int, Ge(2), Le(100), "frames from one image to the next"] = 12
    seconds: Annotated[float, Ge(0.02), Le(5), "of each frame"] = 0.08
    pixels: Annotated[bool, "a row of pixels mixed linearly, too"] = False
    mixer: OtherMixer = None

    def check_run(self, run: FigureRun, request: FigureRequest) -> None:
        """Raises ConfigError if the run's data are no images, or it cannot mix them."""
        check_images(run)
        check_mixes(run, mixer_of(run, self.mixer), request.choose(self.images))

    def __call__(self, runs: Sequence[FigureRun], request: FigureRequest) -> Animation:
        images = request.choose(self.images)
        count = len(images.x)
        if count < 2:
            raise ConfigError("one image; an animation goes from one to the next, so give two or more with --images")
        frames = []
        for a in range(count):
            pair = [a, (a + 1) % count]
            ways = [(run.label, self._way(run, images.x[pair], images.labels, pair)) for run in runs]
            ways = [("pixels", blends(images.x[pair], self.steps + 1))] * self.pixels + ways
            title = f"{images.names[pair[0]]} to {images.names[pair[1]]}"
            frames += [  # the last mix of a leg is the first one of the next
                block_sheet([Block(title, [Row(label, way[[i]]) for label, way in ways])], request.scale)
                for i in range(self.steps)
            ]
        return Animation(_of_one_size(frames), self.seconds)

    def _way(self, run: FigureRun, x: Tensor, labels: Tensor | None, pair: list[int]) -> Tensor:
        mixer = mixer_of(run, self.mixer)
        y = None if labels is None else labels[pair].to(run.device)
        points = path_between_two(mixer.k, self.steps + 1)
        return decode_mixes_at(run.autoencoder, mixer, x.to(run.device), y, points).cpu()


def _of_one_size(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """The frames, widened to the widest: titles differ in length."""
    width, height = max(frame.width for frame in frames), frames[0].height
    padded = []
    for frame in frames:
        paper = Image.new("RGB", (width, height), "white")
        paper.paste(frame, (0, 0))
        padded.append(paper)
    return padded
