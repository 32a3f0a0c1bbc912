"""Labels of sources and of mixes, for the mixers that read them or hand them on."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mixzoo import Mixed


def label_vectors(labels: Shaped[Tensor, "k batch *attributes"], classes: int) -> Float[Tensor, "k batch attributes"]:
    """y of each source: one-hot over `classes` for integer classes, attributes as they are."""
    if labels.ndim > 2:
        return labels.float()
    return (labels[..., None] == torch.arange(classes, device=labels.device)).float()  # one_hot would wait for a GPU


def mixed_labels(mixed: Mixed, y: Float[Tensor, "k batch attributes"]) -> Float[Tensor, "batch attributes"]:
    """y_mix: what the mixer aimed at or, where it aims at none, Σᵢ s̄ᵢ yᵢ with s̄ the share averaged over the code."""
    if mixed.labels is not None:
        return mixed.labels
    average = mixed.share.reshape(*mixed.share.shape[:2], -1).mean(2, keepdim=True)  # [k batch 1]
    return (average.to(y.dtype) * y).sum(0)
