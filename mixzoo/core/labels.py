"""Labels as vectors: one encoding for classes and attributes, for mixers and for objectives."""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mixzoo.core.parts import Mixed


def label_vectors(labels: Shaped[Tensor, "k batch *attributes"], width: int) -> Float[Tensor, "k batch label"]:
    """y of each source: one-hot over `width` classes for integer classes, attributes as they are."""
    if labels.ndim > 2:
        return labels.float()
    return (labels[..., None] == torch.arange(width, device=labels.device)).float()  # one_hot would wait for a GPU


def mixed_labels(mixed: Mixed, y: Float[Tensor, "k batch label"]) -> Float[Tensor, "batch label"]:
    """y_mix: what the mixer aimed at or, if it aims at nothing, Σᵢ s̄ᵢ yᵢ with s̄ the share averaged over the code."""
    if mixed.labels is not None:
        return mixed.labels
    average = mixed.share.reshape(*mixed.share.shape[:2], -1).mean(2, keepdim=True)  # [k batch 1]
    return (average.to(y.dtype) * y).sum(0)


def mixer_labels(
    labels: Int[Tensor, "batch *attributes"], labelled: Bool[Tensor, " batch"] | None, num_labels: int
) -> Shaped[Tensor, "batch *label"]:
    """The labels as a mixer gets them: as the data have them, or as vectors if some are not `labelled`.

    The vector of an example that is not labelled gives nothing away: every class alike, or each attribute at 1/2.
    """
    if labelled is None:
        return labels
    unknown = 0.5 if labels.ndim > 1 else 1 / num_labels
    return torch.where(labelled[:, None], label_vectors(labels[None], num_labels)[0], unknown)
