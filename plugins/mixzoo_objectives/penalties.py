"""Penalties of the discriminator that are no function of its scores: they need D itself."""

from typing import Annotated, TypeAlias

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from mixzoo import Discriminator

R1: TypeAlias = Annotated[float, Ge(0), "γ of R1, γ/2 mean ‖∇D(x)‖² on real images for D (Mescheder et al. 2018)"]


def r1_penalty(
    gamma: float, x: Float[Tensor, "batch channels height width"], discriminator: Discriminator
) -> Float[Tensor, ""]:
    """γ/2 E ‖∇ₓ D(x)‖², the squared slope of D's raw score at real images (Mescheder et al. 2018, eq. 9).

    Each image's score depends on that image alone, so the gradient of the sum holds each image's own.
    """
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(x).realness.sum(), x, create_graph=True)
    return gamma / 2 * slope.square().flatten(1).sum(1).mean()
