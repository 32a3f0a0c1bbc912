"""Every mixer on one path."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from mixzoo import Block, ConfigError, FigureRequest, FigureRun, aims_at_labels, block_sheet, mixer_rows
from mixzoo_figures.mixing import Steps, check_images, check_mixes


@dataclass(frozen=True, kw_only=True)
class Mixers:
    """Every mixer that can mix a run's codes on one path: from an image to a second, to a third, to the middle of all.

    A row for each mixer, the run's own first, and one for pixels. Mixers of two sources have no middle; those that need
    training or options are left out, and named.
    """

    steps: Steps = 5

    def check_run(self, run: FigureRun, request: FigureRequest) -> None:
        """Raises ConfigError if the data are no images, or the run cannot mix them."""
        check_images(run)
        check_mixes(run, run.mixer, request.choose(3))

    def __call__(self, runs: Sequence[FigureRun], request: FigureRequest) -> Image.Image:
        images = request.choose(3)
        if len(images.x) != 3:
            raise ConfigError(f"{len(images.x)} images; the path goes through three")
        blocks = []
        for run in runs:
            latent = tuple(run.autoencoder.latent_shape)
            mixers = {
                spec: mixer
                for spec, mixer in run.mixers().items()
                if images.labels is not None or not aims_at_labels(mixer, run.data, latent, run.device)
            }
            labels = None if images.labels is None else images.labels.to(run.device)
            rows = mixer_rows(run.autoencoder, mixers, images.x.to(run.device), labels, steps=self.steps)
            blocks.append(Block(f"{' to '.join(images.names)}, {run.label}", rows))
        return block_sheet(blocks, request.scale)
