"""The losses that objectives are written in: reconstruction, and the two sides of a GAN on raw scores.

Every one is a mean over all its elements, or over those examples that are `known`.
"""

from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Lt
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss, relu

Reconstruction: TypeAlias = Literal["l1", "l2"]
GAN: TypeAlias = Literal["js", "ls", "hinge"]
Dropout: TypeAlias = Annotated[float, Ge(0), Lt(1), "chance of each number of a code to be 0 for g and the mixer"]
Known: TypeAlias = Bool[Tensor, " batch"] | None


def reconstruction(kind: Reconstruction, x_rec: Tensor, x: Tensor) -> Float[Tensor, ""]:
    """Mean |x_rec - x| (l1, the authors' code) or mean (x_rec - x)² (l2, the paper's text), images in [-1, 1]."""
    return l1_loss(x_rec, x) if kind == "l1" else mse_loss(x_rec, x)


def mean_over(values: Float[Tensor, " batch"], known: Known = None) -> Float[Tensor, ""]:
    """The mean over the examples that are known, 0 where none is; over all when not given."""
    if known is None:
        return values.mean()
    return (values * known).sum() / known.sum().clamp(min=1)


def bce(score: Float[Tensor, " batch"], target: float | Tensor, known: Known = None) -> Float[Tensor, ""]:
    """Binary cross-entropy of sigmoid(score) against a target in [0, 1], in its stable form from the raw score."""
    targets = target if isinstance(target, Tensor) else torch.full_like(score, target)
    return mean_over(binary_cross_entropy_with_logits(score, targets, reduction="none"), known)


def called_real(gan: GAN, score: Float[Tensor, " batch"], known: Known = None) -> Float[Tensor, ""]:
    """ℓ(D(x), 1) as D sees it.

    js: Goodfellow et al. 2014; ls: Mao et al. 2017, without its 1/2; hinge: Lim & Ye 2017.
    """
    match gan:
        case "js":
            return bce(score, 1, known)  # -log sigmoid(score)
        case "ls":
            return mean_over((score - 1).square(), known)
        case "hinge":
            return mean_over(relu(1 - score), known)


def called_fake(gan: GAN, score: Float[Tensor, " batch"], known: Known = None) -> Float[Tensor, ""]:
    """ℓ(D(x), 0) as D sees it."""
    match gan:
        case "js":
            return bce(score, 0, known)  # -log(1 - sigmoid(score))
        case "ls":
            return mean_over(score.square(), known)
        case "hinge":
            return mean_over(relu(1 + score), known)


def fooled(gan: GAN, score: Float[Tensor, " batch"], known: Known = None) -> Float[Tensor, ""]:
    """ℓ(D(x), 1) as the auto-encoder sees it: non-saturating; for the hinge it is -D(x), which has no kink."""
    return -mean_over(score, known) if gan == "hinge" else called_real(gan, score, known)
