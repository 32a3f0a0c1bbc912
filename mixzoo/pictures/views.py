"""The pictures of a run, as fits its data: grids of images, or scatter plots of points."""

from collections.abc import Mapping

from PIL import Image

from mixzoo.pictures import catalogue, interpolation, points
from mixzoo.pictures.grid import channels_note, sheet
from mixzoo.pictures.mixes import mix_rows
from mixzoo.protocols import AutoEncoder, Mixer, Split

POINT_PAIRS = 3  # pairs of points on the way between which every mixer is shown


def mixes(autoencoder: AutoEncoder, mixer: Mixer, split: Split, device: str) -> Image.Image:
    """What a run draws of itself while it trains: reconstructions and mixes."""
    if points.are_points(split):
        return points.plot(points.mix_panels(autoencoder, mixer, split, device))
    return sheet(mix_rows(autoencoder, mixer, split, device))


def note(split: Split) -> str:
    """A line on what pictures of these data leave out; '' if they show everything."""
    return "" if points.are_points(split) else channels_note(split.images.shape[1])


def strips(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, pairs: int, steps: int, device: str) -> Image.Image:
    """The ways between pairs of test images or points."""
    if points.are_points(split):
        return points.plot([points.path_panel(autoencoder, mixer, split, pairs=pairs, steps=steps, device=device)])
    return sheet(interpolation.strips(autoencoder, mixer, split, pairs=pairs, steps=steps, device=device))


def triangle(autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, side: int, device: str) -> Image.Image:
    """Mixes of three; needs a mixer of k >= 3."""
    if points.are_points(split):
        return points.plot([points.triangle_panel(autoencoder, mixer, split, side=side, device=device)])
    return interpolation.triangle(autoencoder, mixer, split, side=side, device=device)


def every_mixer(
    autoencoder: AutoEncoder, mixers: Mapping[str, Mixer], split: Split, *, steps: int, device: str
) -> Image.Image:
    """Every mixer along the same ways; `steps` mixes a leg."""
    if points.are_points(split):
        return points.plot(
            [
                points.path_panel(
                    autoencoder, mixer, split, pairs=POINT_PAIRS, steps=steps, device=device, caption=name
                )
                for name, mixer in mixers.items()
            ]
        )
    return sheet(catalogue.rows(autoencoder, mixers, split, steps=steps, device=device))
