"""Strips by the weight of the consistency loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from mixzoo import (
    Block,
    CodeShape,
    ConfigError,
    FigureImages,
    FigureRequest,
    FigureRun,
    Row,
    block_sheet,
    eval_mode,
    path_between_two,
    to_device,
)
from mixzoo_figures.mixing import Pairs, Steps, check_images, check_mixes, framed, pairs_of

BETA = "objective.beta"


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """Mixes between two images by β, the weight of the consistency loss, from the largest to 0 (AMR Figure 13).

    drift = mean ‖h_mix - f(g(h_mix))‖ / ‖h_mix‖ over the mixes of a row: what the loss makes small
    """

    pairs: Pairs = 2
    steps: Steps = 9

    def check_run(self, run: FigureRun, request: FigureRequest) -> None:
        """Raises ConfigError if the objective has no beta, the data are no images, or the run cannot mix them."""
        if not isinstance(run.settings.get(BETA), int | float):
            raise ConfigError("its objective has no beta; train with --objective amr:beta=10, for example")
        check_images(run)
        check_mixes(run, run.mixer, request.choose(2 * self.pairs))

    def __call__(self, runs: Sequence[FigureRun], request: FigureRequest) -> Image.Image:
        images = request.choose(2 * self.pairs)
        ordered = sorted(runs, key=lambda run: -float(run.settings[BETA]))
        blocks = []
        for a, b in pairs_of(images, request):
            rows = [self._row(run, images, [a, b], several=len(runs) > 1) for run in ordered]
            blocks.append(Block(f"{images.names[a]} to {images.names[b]}", rows))
        return block_sheet(blocks, request.scale)

    def _row(self, run: FigureRun, images: FigureImages, pair: list[int], *, several: bool) -> Row:
        x, mixer = images.x[pair], run.mixer
        sources = [min(i, 1) for i in range(mixer.k)]  # sources beyond two repeat the second, with weight 0
        labels = None if images.labels is None else images.labels[pair][sources][:, None].to(run.device)
        with eval_mode(run.autoencoder):
            h = run.autoencoder.encode(x.to(run.device))[sources][:, None]
            shape = CodeShape(1, tuple(h.shape[2:]))
            draws = [to_device(mixer.at(p, shape), h.device) for p in path_between_two(mixer.k, self.steps)]
            mixes = torch.cat([mixer(h, draw, labels).h for draw in draws])
            decoded = run.autoencoder.decode(mixes)
            moved = (mixes - run.autoencoder.encode(decoded)).flatten(1).norm(dim=1)
            drift = (moved / mixes.flatten(1).norm(dim=1).clamp(min=1e-12)).mean().item()
        name = _name(float(run.settings[BETA]), run.label, several=several)
        return Row(f"{name}, drift {drift:.2f}", framed(x, decoded))


def _name(beta: float, label: str, *, several: bool) -> str:
    """β and, of several runs, what else sets the run apart."""
    others = [words for words in label.split(", ") if "beta" not in words] if several else []
    return ", ".join([f"beta = {beta:g}", *others])
