"""The fixed rows of a run: input, reconstruction, partners, mixes at set weights, mixes as drawn in training.

The same test images and draws every time, so that two pictures, of two steps or of two runs, can be flipped.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixzoo.data.batches import to_images
from mixzoo.draws import rng_for, to_device
from mixzoo.evaluation.codes import eval_mode
from mixzoo.pictures.grid import Row
from mixzoo.protocols import AutoEncoder, CodeShape, Draw, Mixer, Split

COLUMNS = 10
DRAWN_ROWS = 2


def fixed_examples(split: Split, columns: int = COLUMNS) -> Int[Tensor, " n"]:
    """Which images to show: the first of each class in turn (or of each set of attributes), then the second, …"""
    kinds, kind = torch.unique(split.labels, dim=0, return_inverse=True)
    rank_in_kind = torch.zeros(len(split), dtype=torch.int64)
    for number in range(len(kinds)):
        where = kind == number
        rank_in_kind[where] = torch.arange(int(where.sum()))
    by_rank_then_class = torch.argsort(rank_in_kind * len(kinds) + kind, stable=True)
    return by_rank_then_class[:columns]


def mix_rows(autoencoder: AutoEncoder, mixer: Mixer, split: Split, device: str) -> list[Row]:
    """The rows; partner j of the image in column i is the one in column i + j."""
    shown = fixed_examples(split)
    x = to_images(split.read(shown).to(device))
    labels = split.labels[shown].to(device)
    k, n = mixer.k, len(shown)
    with eval_mode(autoencoder):
        h = autoencoder.encode(x)
        around = torch.stack([h.roll(-j, 0) for j in range(k)])  # [k n *latent]
        label_sources = torch.stack([labels.roll(-j, 0) for j in range(k)])
        shape = CodeShape(n, tuple(h.shape[1:]))

        def decoded(draw: Draw) -> Float[Tensor, "n channels height width"]:
            return autoencoder.decode(mixer(around, to_device(draw, x.device), label_sources).h)

        rows = [Row("input", x), Row("reconstruction", autoencoder.decode(h))]
        rows += [Row("partner" if k == 2 else f"partner {j}", x.roll(-j, 0)) for j in range(1, min(k, 4))]
        rows += [Row(_weights(point), decoded(mixer.at(point, shape))) for point in points(k)]
        draws = [mixer.draw(shape, rng_for(0, "picture", i)) for i in range(DRAWN_ROWS)]
        rows += [Row("mix as drawn in training", decoded(draw)) for draw in draws]
    return rows


def points(k: int) -> list[Float[Tensor, " k"]]:
    """Between the image and its first partner, then, for k > 2, the middle of all k."""
    between = [torch.tensor([1 - t, t] + [0.0] * (k - 2)) for t in (0.25, 0.5, 0.75)]
    return between + ([torch.full((k,), 1 / k)] if k > 2 else [])


def _weights(point: Float[Tensor, " k"]) -> str:
    k = len(point)
    if k > 2 and point.min() > 0:
        return f"mix, 1/{k} of each"
    return f"mix, {point[0]:.2f} : {point[1]:.2f}"
