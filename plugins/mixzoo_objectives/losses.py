"""The losses that objectives are written in: reconstruction, and the two sides of a GAN on raw scores.

Every one is a mean over all its elements.
"""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss, relu

Reconstruction: TypeAlias = Literal["l1", "l2"]
GAN: TypeAlias = Literal["js", "ls", "hinge"]


def reconstruction(kind: Reconstruction, x_rec: Tensor, x: Tensor) -> Float[Tensor, ""]:
    """Mean |x_rec - x| (l1, the authors' code) or mean (x_rec - x)² (l2, the paper's text), images in [-1, 1]."""
    return l1_loss(x_rec, x) if kind == "l1" else mse_loss(x_rec, x)


def bce(score: Float[Tensor, " batch"], target: float | Tensor) -> Float[Tensor, ""]:
    """Binary cross-entropy of sigmoid(score) against a target in [0, 1], in its stable form from the raw score."""
    targets = target if isinstance(target, Tensor) else torch.full_like(score, target)
    return binary_cross_entropy_with_logits(score, targets)


def called_real(gan: GAN, score: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """ℓ(D(x), 1) as D sees it.

    js: Goodfellow et al. 2014; ls: Mao et al. 2017, without its 1/2; hinge: Lim & Ye 2017.
    """
    match gan:
        case "js":
            return bce(score, 1)  # -log sigmoid(score)
        case "ls":
            return (score - 1).square().mean()
        case "hinge":
            return relu(1 - score).mean()


def called_fake(gan: GAN, score: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """ℓ(D(x), 0) as D sees it."""
    match gan:
        case "js":
            return bce(score, 0)  # -log(1 - sigmoid(score))
        case "ls":
            return score.square().mean()
        case "hinge":
            return relu(1 + score).mean()


def fooled(gan: GAN, score: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """ℓ(D(x), 1) as the auto-encoder sees it: non-saturating; for the hinge it is -D(x), which has no kink."""
    return -score.mean() if gan == "hinge" else called_real(gan, score)
