"""The pictures of a run: grids of images, or scatter plots if its data are scatter."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from PIL import Image

from mixzoo.core.data import Split
from mixzoo.core.parts import AutoEncoder, Mixer
from mixzoo.evaluation.pictures import interpolation, mixer_sheet, scatter
from mixzoo.evaluation.pictures.grid import channels_note, sheet
from mixzoo.evaluation.pictures.mixes import mix_rows

POINT_PAIRS = 3  # pairs of points between which every mixer is shown


def _plotted(panels: list[scatter.ScatterPanel]) -> Image.Image:
    return scatter.picture_of(scatter.scatter_plot(panels))


def mixes(autoencoder: AutoEncoder, mixer: Mixer, split: Split, device: str) -> Image.Image:
    """Reconstructions and mixes, which a run draws at every evaluation."""
    return mixes_to_draw(autoencoder, mixer, split, device)()


def mixes_to_draw(autoencoder: AutoEncoder, mixer: Mixer, split: Split, device: str) -> Callable[[], Image.Image]:
    """The same, decoded and on the CPU; the call draws it, in any thread, whatever the networks do meanwhile."""
    if scatter.are_points(split):
        return partial(_plotted, scatter.mix_panels(autoencoder, mixer, split, device))
    rows = mix_rows(autoencoder, mixer, split, device)
    on_cpu = torch.stack([row.images for row in rows]).cpu()  # one transfer
    return partial(sheet, [row._replace(images=images) for row, images in zip(rows, on_cpu)])


def note(split: Split) -> str:
    """One line on what pictures of these data do not show; '' if they show everything."""
    return "" if scatter.are_points(split) else channels_note(split.images.shape[1])


def strips(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, pairs: int, steps: int, device: str) -> Image.Image:
    """Decoded mixes between pairs of test images or scatter."""
    if scatter.are_points(split):
        return _plotted([scatter.path_panel(autoencoder, mixer, split, pairs=pairs, steps=steps, device=device)])
    return sheet(interpolation.strips(autoencoder, mixer, split, pairs=pairs, steps=steps, device=device))


def triangle(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, side: int, device: str) -> Image.Image:
    """Decoded mixes of three test images or points; needs a mixer with k >= 3."""
    if scatter.are_points(split):
        return _plotted([scatter.triangle_panel(autoencoder, mixer, split, side=side, device=device)])
    return interpolation.triangle(autoencoder, mixer, split, side=side, device=device)


def every_mixer(
    autoencoder: AutoEncoder, mixers: Mapping[str, Mixer], split: Split, *, steps: int, device: str
) -> Image.Image:
    """Decoded mixes by every mixer along the same paths, with `steps` mixes per leg."""
    if scatter.are_points(split):
        return _plotted(
            [
                scatter.path_panel(
                    autoencoder, mixer, split, pairs=POINT_PAIRS, steps=steps, device=device, caption=name
                )
                for name, mixer in mixers.items()
            ]
        )
    return sheet(mixer_sheet.rows(autoencoder, mixers, split, steps=steps, device=device))
