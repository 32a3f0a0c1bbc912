"""GAIA: the discriminator is an auto-encoder, and what it redraws well is real to it.

D(·)    the image as D redraws it          |·|    mean absolute error over pixels and batch, images in [-1, 1]
E_real  |x - D(x)|       E_rec  |x - D(x_rec)|, "across D", against x itself       E_mix  |x_mix - D(x_mix)|
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import log
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss, softplus

from mixzoo import Batch, Losses
from mixzoo_objectives.losses import Beta

TINY = 1e-12  # of a mean distance, where all examples are one


@dataclass(frozen=True, kw_only=True)
class GAIA:
    """Reconstruct x across an auto-encoding D; make D redraw mixes well, which it tries not to (Sainburg et al. 2018).

    auto-encoder:   log((exp(s E_rec) + exp(s E_mix)) / 2) / s + distance L_dist + β ‖h_mix - f(g(h_mix))‖²
    discriminator:  E_real + softplus(s (E_real - (E_rec + E_mix) / 2)) / s

        E_real = |x - D(x)|,  E_rec = |x - D(x_rec)|,  E_mix = |x_mix - D(x_mix)|
        L_dist = mean over pairs i, j of the batch of [log₂(1 + dx_ij / mean dx) - log₂(1 + dz_ij / mean dz)]²,
                 dx and dz the squared distances of images and of codes

    The idea is E_rec + E_mix against E_real - E_rec - E_mix (the authors' words; the formulas of timsainburg.com/gaia
    have the two minus signs in the wrong loss), balanced by sigmoids. The authors' code weighs E_mix against E_rec by
    σ(s (E_mix - E_rec)), fakes in D's loss by another sigmoid, and both learning rates by σ(s (E_real - E_fake)). Here
    those sigmoids are the slopes of a smooth maximum and of a softplus: the same weights, held constant in the gradient
    as BEGAN's k is, from the batch alone, and no learning rate that an objective could not see. The authors' TensorFlow
    code differentiates through its sigmoids as well. D looks away from fakes, reconstructions and mixes alike, once it
    redraws them worse than real images, as in BEGAN; the authors' later code looks away from mixes only, and their
    first release turns this weight round. Losses are not clipped at ±1, which would leave them without a gradient.
    L_dist has the text's log₂ and the code's mean over pairs (the text divides by the batch); its weight there is
    5·10⁻⁵, too little to matter.

    It takes `--discriminator autoencoding`; the published weight of a mix is N(1/2, 1/4²), `--mixer mixup:law=gaia`.
    """

    slope: Annotated[float, Gt(0), "s, of the sigmoids that balance; the authors' 20 for images in [0, 1]"] = 10.0
    distance: Annotated[float, Ge(0), "weight of L_dist, which makes distances of codes like those of images"] = 0.1
    beta: Beta = 0.0

    def losses(self, batch: Batch) -> Losses:
        h = batch.encode(batch.x)
        mixed = batch.mix(h)
        x_rec, x_mix = batch.decode(h, mixed.h)
        consistency = {}
        if self.beta > 0:
            consistency = {
                "consistency": self.beta * mse_loss(batch.encode(x_mix), mixed.h)
            }  # β ‖h_mix - f(g(h_mix))‖²
        D = batch.discriminate(real=batch.x, rec=x_rec, mix=x_mix).reconstruction

        s, e_real = self.slope, l1_loss(D["real"], batch.x)  # E_real = |x - D(x)|
        e_rec, e_mix = l1_loss(D["rec"], batch.x), l1_loss(D["mix"], x_mix)  # |x - D(x_rec)|, |x_mix - D(x_mix)|
        return Losses(
            autoencoder={
                # near max(E_rec, E_mix)
                "reconstruct_fakes": (s * torch.stack([e_rec, e_mix])).logsumexp(0) / s - log(2) / s,
                "distance": self.distance * distance_loss(batch.x, h),  # weight of L_dist times L_dist
                **consistency,
            },
            discriminator={
                "reconstruct_real": e_real,
                "spoil_fakes": softplus(s * (e_real - (e_rec + e_mix) / 2)) / s,  # near max(E_real - E_fake, 0)
            },
            whole_batch=True,  # L_dist is over pairs of examples
        )


def distance_loss(x: Float[Tensor, "batch *image"], h: Float[Tensor, "batch *latent"]) -> Float[Tensor, ""]:
    """How far the pairwise distances of codes are from those of images, each as a part of their mean."""
    apart = log_distances(x) - log_distances(h)
    return apart.square().mean()


def log_distances(x: Float[Tensor, "batch *features"]) -> Float[Tensor, "batch batch"]:
    """log₂(1 + d_ij / mean d), d_ij = ‖x_i - x_j‖²; 0 where all are equal."""
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    flat = x.flatten(1) - x.flatten(1).mean(0)  # which cancels less in what follows
    lengths = flat.square().sum(1)
    # no [batch batch features] in between; the difference of near numbers needs all of their bits
    products = InFullPrecision.apply(flat) if flat.is_cuda else flat @ flat.T
    d = (lengths[:, None] + lengths - 2 * products).clamp(min=0)
    return torch.log2(1 + d / d.mean().clamp(min=TINY))


class InFullPrecision(torch.autograd.Function):
    """flat @ flat.T and its gradient without TF32 and autocast, whatever is set for the networks."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> Tensor:
        ctx.save_for_backward(flat)
        with full_precision(flat.device.type):
            return flat @ flat.T

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (flat,) = ctx.saved_tensors
        with full_precision(flat.device.type):
            of_flat: Tensor = (gradient + gradient.T) @ flat
            return of_flat


@contextmanager
def full_precision(device: str) -> Iterator[None]:
    """Inside, products on a GPU of this type keep all bits of their factors."""
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, False
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        matmul.allow_tf32 = before
