"""What region mixers take from where, drawn on the map of positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from PIL import Image, ImageColor
from torch import Tensor
from torch.nn.functional import interpolate

from mixzoo import (
    COLOURS,
    Block,
    CodeShape,
    ConfigError,
    FigureImages,
    FigureRequest,
    FigureRun,
    Mixer,
    Row,
    aims_at_labels,
    block_sheet,
    eval_mode,
    rng_for,
    to_device,
)
from mixzoo_figures.mixing import OtherMixer, check_images, mixer_of

FRAME = 0.06  # of the shorter side: width of the coloured frame of a source


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Draws of region mixers, such as cutmix, dropblock, fmix and grid: which positions of the map come from where.

    The sources have frames in their colours. Under the maps of each mixer are the decoded mixes. Without `mixer`, all
    mixers that choose by position are drawn, the run's own first if it is one.
    """

    draws: Annotated[int, Ge(1), Le(20), "draws of each mixer, as in training"] = 6
    mixer: OtherMixer = None

    def check_run(self, run: FigureRun, request: FigureRequest) -> None:
        """Raises ConfigError if the data are no images, the codes are vectors, or no mixer chooses by position."""
        check_images(run)
        latent = tuple(run.autoencoder.latent_shape)
        if len(latent) != 3:
            raise ConfigError(f"its codes are vectors {latent}, which have no regions")
        if not self._mixers(run):
            raise ConfigError("no mixer here chooses by position; name one, as regions:mixer=cutmix")

    def __call__(self, runs: Sequence[FigureRun], request: FigureRequest) -> Image.Image:
        blocks = []
        for run in runs:
            mixers = self._mixers(run)
            images = request.choose(max(mixer.k for mixer in mixers.values()))
            if len(images.x) < 2:
                raise ConfigError("one image; a mix takes two or more, so give more with --images")
            rows = [Row("sources", with_frames(coloured(images.x)))]
            for name, mixer in mixers.items():
                rows += self._rows(run, name, mixer, images, request.seed)
            blocks.append(Block(f"{', '.join(images.names)}: {run.label}", rows))
        return block_sheet(blocks, request.scale)

    def _mixers(self, run: FigureRun) -> dict[str, Mixer]:
        """The mixers to draw, by spec."""
        if self.mixer is not None:
            named = mixer_of(run, self.mixer)
            if not by_position(named, run):
                raise ConfigError(f"mixer {self.mixer.name!r} does not choose by position; try cutmix, fmix or grid")
            return {str(self.mixer): named}
        return {name: mixer for name, mixer in run.mixers().items() if by_position(mixer, run)}

    def _rows(self, run: FigureRun, name: str, mixer: Mixer, images: FigureImages, seed: int) -> list[Row]:
        """The maps of a mixer's draws, and the decoded mixes."""
        sources = [i % len(images.x) for i in range(mixer.k)]
        x = images.x[sources].to(run.device)
        with eval_mode(run.autoencoder):
            h = run.autoencoder.encode(x)[:, None].expand(-1, self.draws, -1, -1, -1)
            draw = mixer.draw(CodeShape(self.draws, tuple(h.shape[2:])), rng_for(seed, "figure regions"))
            mixed = mixer(h, to_device(draw, x.device), None)
            decoded = run.autoencoder.decode(mixed.h).cpu()
        colours = [i % len(COLOURS) for i in sources]
        return [
            Row(name, maps(mixed.share.cpu(), colours, (x.shape[2], x.shape[3]))),
            Row("", coloured(decoded)),
        ]


def by_position(mixer: Mixer, run: FigureRun) -> bool:
    """Whether the shares of a draw differ between positions, and are the same in all feature maps."""
    latent = tuple(run.autoencoder.latent_shape)
    if aims_at_labels(mixer, run.data, latent, run.device):
        return False
    with torch.no_grad():
        draw = to_device(mixer.draw(CodeShape(8, latent), rng_for(0, "figure regions")), torch.device(run.device))
        share = mixer(torch.zeros(mixer.k, 8, *latent, device=run.device), draw, None).share
    if share.ndim != 5 or share.shape[3:].numel() == 1:
        return False
    one_map = bool((share == share[:, :, :1]).all())
    return one_map and bool((share != share[..., :1, :1]).any())


def maps(
    share: Float[Tensor, "k draws channels height width"], colours: Sequence[int], size: tuple[int, int]
) -> Float[Tensor, "draws 3 rows columns"]:
    """Each position in the colours of its sources, mixed by their shares, as images of this size."""
    palette = torch.tensor([ImageColor.getrgb(COLOURS[i]) for i in colours]) / 127.5 - 1  # [k 3]
    painted = torch.einsum("kdhw,kc->dchw", share.float().mean(2), palette)
    return interpolate(painted, size, mode="nearest-exact")


def coloured(x: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n 3 height width"]:
    """Images with three channels, so that they can stand beside maps in colour."""
    return x[:, :3] if x.shape[1] >= 3 else x[:, :1].expand(-1, 3, -1, -1)


def with_frames(x: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
    """The images, each in a frame of its colour."""
    framed, width = x.clone(), max(1, round(FRAME * min(x.shape[2:])))
    for i, image in enumerate(framed):
        colour = torch.tensor(ImageColor.getrgb(COLOURS[i % len(COLOURS)]))[:, None, None] / 127.5 - 1
        inside = image[:, width:-width, width:-width].clone()
        image[:] = colour
        image[:, width:-width, width:-width] = inside
    return framed
