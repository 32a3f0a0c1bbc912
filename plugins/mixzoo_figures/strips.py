"""Strips: mixes along the path between two images, a row for each run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from PIL import Image

from mixzoo import (
    Block,
    FigureImages,
    FigureRequest,
    FigureRun,
    Mixer,
    Row,
    aims_at_labels,
    block_sheet,
    conditioned_path,
    decode_mixes_at,
    path_between_two,
)
from mixzoo_figures.mixing import (
    OtherMixer,
    Pairs,
    Steps,
    blends,
    check_images,
    check_mixes,
    framed,
    mixer_of,
    pairs_of,
)


@dataclass(frozen=True, kw_only=True)
class Strips:
    """Mixes on the way from one image to another, a row for each run and one for pixels (AMR Figures 5, 6, 7, 9).

    The first and the last image of a row are the originals, and those beside them their reconstructions. If a run's
    mixer aims at labels, each image has a green mark under it for every label that it has or aims at, and a red one for
    the others.
    """

    pairs: Pairs = 3
    steps: Steps = 9
    pixels: Annotated[bool, "a row of pixels mixed linearly, too"] = True
    mixer: OtherMixer = None

    def check_run(self, run: FigureRun, request: FigureRequest) -> None:
        """Raises ConfigError if the run's data are no images, or it cannot mix them."""
        check_images(run)
        check_mixes(run, mixer_of(run, self.mixer), request.choose(2 * self.pairs))

    def __call__(self, runs: Sequence[FigureRun], request: FigureRequest) -> Image.Image:
        images = request.choose(2 * self.pairs)
        blocks = []
        for a, b in pairs_of(images, request):
            x = images.x[[a, b]]
            rows = [Row("pixels", framed(x, blends(x, self.steps)))] if self.pixels else []
            rows += [strip(run, mixer_of(run, self.mixer), images, (a, b), self.steps) for run in runs]
            names = runs[0].data.attribute_names or runs[0].data.class_names
            blocks.append(Block(f"{images.names[a]} to {images.names[b]}", rows, names if _marked(rows) else ()))
        return block_sheet(blocks, request.scale)


def strip(run: FigureRun, mixer: Mixer, images: FigureImages, pair: tuple[int, int], steps: int) -> Row:
    """The row of one run; with marks if its mixer aims at labels."""
    x = images.x[list(pair)]
    labels = None if images.labels is None else images.labels[list(pair)].to(run.device)
    if labels is not None and aims_at_labels(mixer, run.data, tuple(run.autoencoder.latent_shape), run.device):
        width = run.data.build_context().label_width
        shown, marks = conditioned_path(run.autoencoder, mixer, x.to(run.device), labels, steps, width)
        return Row(run.label, shown, marks)
    points = path_between_two(mixer.k, steps)
    return Row(run.label, framed(x, decode_mixes_at(run.autoencoder, mixer, x.to(run.device), labels, points)))


def _marked(rows: Sequence[Row]) -> bool:
    return any(row.marks is not None for row in rows)
