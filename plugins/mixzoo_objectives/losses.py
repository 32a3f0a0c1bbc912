"""The losses that objectives are written in: reconstruction, and the two sides of a GAN on logits.

Each is a mean over all its elements, or over the examples that are `known`.
"""

from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Gt, Lt
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss, relu

from mixzoo import Batch, Terms
from mixzoo_objectives.variational import bernoulli_nll

Reconstruction: TypeAlias = Annotated[
    Literal["l1", "l2", "bce"], "mean |·| (the authors' code), mean (·)² (the text), or a sum of cross-entropies"
]
Gan: TypeAlias = Annotated[Literal["js", "ls", "hinge"], "ℓ: Jensen-Shannon (the paper), least squares or hinge"]
Dropout: TypeAlias = Annotated[float, Ge(0), Lt(1), "chance of each number of a code to be 0 for g and the mixer"]
Lam: TypeAlias = Annotated[float, Gt(0), "λ, weight of reconstruction; the paper tries 2, 5, 10, 20, 50"]
Recon: TypeAlias = Annotated[
    Reconstruction,
    "mean |·| (the authors' code), mean (·)² (the text), or a sum of cross-entropies (theirs for dSprites)",
]
Beta: TypeAlias = Annotated[float, Ge(0), "β, weight of the consistency of a mix with the code of its image"]
Known: TypeAlias = Bool[Tensor, " batch"] | None


def reconstruction(kind: Reconstruction, x_rec: Tensor, x: Tensor) -> Float[Tensor, ""]:
    """How far x_rec is from x, images in [-1, 1].

    l1   mean |x_rec - x|, the authors' code      l2   mean (x_rec - x)², the paper's text
    bce  the cross-entropy of pixels in [0, 1], summed over an image, for a decoder that stays in [-1, 1]: the authors'
         for dSprites
    """
    match kind:
        case "l1":
            return l1_loss(x_rec, x)
        case "l2":
            return mse_loss(x_rec, x)
        case "bce":
            return bernoulli_nll(x_rec, x).mean()


def dropped_out(batch: Batch, h: Float[Tensor, "batch *latent"], p: float) -> Float[Tensor, "batch *latent"]:
    """h with each number 0 with chance `p` and the others divided by 1 - p; h itself for p = 0."""
    return h * batch.keep("kept", p, like=h) / (1 - p) if p else h


def consistency_loss(
    batch: Batch,
    beta: float,
    x_mix: Float[Tensor, "batch channels height width"],
    h_mix: Float[Tensor, "batch *latent"],
    distance: Callable[[Tensor, Tensor], Tensor] = mse_loss,
) -> Terms:
    """{"consistency": β ‖h_mix - f(g(h_mix))‖²}, AMR section 7.3; {}, and no pass through f, for β = 0."""
    return {"consistency": beta * distance(batch.encode(x_mix), h_mix)} if beta > 0 else {}


def mean_over(values: Float[Tensor, " batch"], known: Known = None) -> Float[Tensor, ""]:
    """The mean over the examples that are known, 0 where none is; over all when not given."""
    if known is None:
        return values.mean()
    return (values * known).sum() / known.sum().clamp(min=1)


def bce(score: Float[Tensor, " batch"], target: float | Tensor, known: Known = None) -> Float[Tensor, ""]:
    """Binary cross-entropy of sigmoid(score) against a target in [0, 1], in its stable form from the raw score."""
    targets = target if isinstance(target, Tensor) else torch.full_like(score, target)
    return mean_over(binary_cross_entropy_with_logits(score, targets, reduction="none"), known)


def real_loss(gan: Gan, score: Float[Tensor, " batch"], known: Known = None) -> Float[Tensor, ""]:
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


def fake_loss(gan: Gan, score: Float[Tensor, " batch"], known: Known = None) -> Float[Tensor, ""]:
    """ℓ(D(x), 0) as D sees it."""
    match gan:
        case "js":
            return bce(score, 0, known)  # -log(1 - sigmoid(score))
        case "ls":
            return mean_over(score.square(), known)
        case "hinge":
            return mean_over(relu(1 + score), known)


def generator_loss(gan: Gan, score: Float[Tensor, " batch"], known: Known = None) -> Float[Tensor, ""]:
    """ℓ(D(x), 1) as the auto-encoder sees it: non-saturating; for the hinge it is -D(x), which has no kink."""
    return -mean_over(score, known) if gan == "hinge" else real_loss(gan, score, known)
