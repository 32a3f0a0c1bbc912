"""Paths on which more and more of a code comes from the second image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from mixzoo import Block, ConfigError, FigureRequest, FigureRun, Row, block_sheet, encode, eval_mode, rng_for
from mixzoo_figures.mixing import Pairs, Steps, check_images, framed, pairs_of


@dataclass(frozen=True, kw_only=True)
class Bernoulli:
    """Paths by masks: at each step some more feature maps come from the second image (AMR Figures 8, 10, 11).

    h_mix[c] = h₂[c] if c is among the first t of a random order, else h₁[c];   t from 0 to 1

    Every order gives a path of its own, the same ones for every run; by=position changes the positions of a map, all
    feature maps together, in place of whole feature maps. The codes of any run can be mixed so, whatever its mixer.
    """

    pairs: Pairs = 3
    steps: Steps = 9
    orders: Annotated[int, Ge(1), Le(10), "random orders, a row each"] = 2
    by: Annotated[Literal["feature", "position"], "feature maps change, or positions of all of them"] = "feature"

    def check_run(self, run: FigureRun, request: FigureRequest) -> None:
        """Raises ConfigError if the run's data are no images, or positions are asked for and its codes are vectors."""
        check_images(run)
        latent = tuple(run.autoencoder.latent_shape)
        if self.by == "position" and len(latent) == 1:
            raise ConfigError(f"its codes are vectors {latent}, which have no positions; leave by=feature")
        encode(run.autoencoder, request.choose(2 * self.pairs).x, run.device)  # NonFiniteError if it has diverged

    def __call__(self, runs: Sequence[FigureRun], request: FigureRequest) -> Image.Image:
        images = request.choose(2 * self.pairs)
        blocks = []
        for a, b in pairs_of(images, request):
            x = images.x[[a, b]]
            rows = [
                Row(
                    run.label if order == 0 else f"order {order + 1}",
                    framed(x, self._path(run, x, request.seed, order)),
                )
                for run in runs
                for order in range(self.orders)
            ]
            blocks.append(Block(f"{images.names[a]} to {images.names[b]}", rows))
        return block_sheet(blocks, request.scale)

    def _path(self, run: FigureRun, x: Tensor, seed: int, order: int) -> Float[Tensor, "steps channels height width"]:
        with eval_mode(run.autoencoder):
            first, second = run.autoencoder.encode(x.to(run.device))
            taken = masks(tuple(first.shape), self.by, self.steps, seed, order).to(run.device)
            return run.autoencoder.decode(torch.where(taken, second, first))


def masks(latent: tuple[int, ...], by: str, steps: int, seed: int, order: int) -> Bool[Tensor, "steps *latent_or_ones"]:
    """Which parts of a code come from the second image at each step: none at the first, all at the last."""
    ones = [1] * len(latent)
    units = ones[:1] + list(latent[1:]) if by == "position" else [latent[0], *ones[1:]]
    count = torch.Size(units).numel()
    rank = torch.randperm(count, generator=rng_for(seed, "figure bernoulli", order))
    t = torch.linspace(0, 1, steps)[:, None]
    return ((rank + 0.5) / count < t).reshape(steps, *units)
