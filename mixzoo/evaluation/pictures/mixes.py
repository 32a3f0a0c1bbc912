"""The picture of a run: rows of inputs, reconstructions, partners, mixes at fixed weights, mixes as in training.

Test images and draws are always the same, so that pictures of two steps or two runs can be compared image by image.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixzoo.core.data import Split
from mixzoo.core.parts import AutoEncoder, CodeShape, Draw, Mixer
from mixzoo.core.random import rng_for, to_device
from mixzoo.data.batches import to_images
from mixzoo.evaluation.codes import eval_mode
from mixzoo.evaluation.pictures.grid import Row

COLUMNS = 10
DRAWN_ROWS = 2


def fixed_examples(split: Split, columns: int = COLUMNS) -> Int[Tensor, " n"]:
    """Indices of the images to show: the first of each class (or set of attributes), then the second of each, …"""
    kinds, kind = torch.unique(split.labels, dim=0, return_inverse=True)
    rank_in_kind = torch.zeros(len(split), dtype=torch.int64)
    for number in range(len(kinds)):
        where = kind == number
        rank_in_kind[where] = torch.arange(int(where.sum()))
    by_rank_then_class = torch.argsort(rank_in_kind * len(kinds) + kind, stable=True)
    return by_rank_then_class[:columns]


def fixed_images(
    split: Split, count: int, device: str
) -> tuple[Float[Tensor, "n channels height width"], Int[Tensor, "n *attributes"]]:
    """The first `count` fixed examples and their labels, on the device."""
    index = fixed_examples(split, count)
    return to_images(split.read(index).to(device)), split.labels[index].to(device)


def mix_rows(autoencoder: AutoEncoder, mixer: Mixer, split: Split, device: str) -> list[Row]:
    """The rows of the picture; partner j of the image in column i is the image in column i + j."""
    x, labels = fixed_images(split, COLUMNS, device)
    k, n = mixer.k, len(x)
    with eval_mode(autoencoder):
        h = autoencoder.encode(x)
        sources = torch.stack([h.roll(-j, 0) for j in range(k)])  # [k n *latent]
        source_labels = torch.stack([labels.roll(-j, 0) for j in range(k)])
        shape = CodeShape(n, tuple(h.shape[1:]))

        def decode(draw: Draw) -> Float[Tensor, "n channels height width"]:
            return autoencoder.decode(mixer(sources, to_device(draw, x.device), source_labels).h)

        rows = [Row("input", x), Row("reconstruction", autoencoder.decode(h))]
        rows += [Row("partner" if k == 2 else f"partner {j}", x.roll(-j, 0)) for j in range(1, min(k, 4))]
        rows += [Row(_weights(point), decode(mixer.at(point, shape))) for point in points(k)]
        draws = [mixer.draw(shape, rng_for(0, "picture", i)) for i in range(DRAWN_ROWS)]
        rows += [Row("mix as drawn in training", decode(draw)) for draw in draws]
    return rows


def points(k: int) -> list[Float[Tensor, " k"]]:
    """Three points between the image and its first partner and, for k > 2, the middle of all k."""
    between = [torch.tensor([1 - t, t] + [0.0] * (k - 2)) for t in (0.25, 0.5, 0.75)]
    return between + ([torch.full((k,), 1 / k)] if k > 2 else [])


def _weights(point: Float[Tensor, " k"]) -> str:
    k = len(point)
    if k > 2 and point.min() > 0:
        return f"mix, 1/{k} of each"
    return f"mix, {point[0]:.2f} : {point[1]:.2f}"
