"""Penalties of the discriminator that are no function of its logits: they go through D itself."""

from typing import Annotated, TypeAlias

import torch
from annotated_types import Ge

from mixzoo import Batch, Terms

R1: TypeAlias = Annotated[float, Ge(0), "γ of R1, γ/2 mean ‖∇D(x)‖² on real images for D (Mescheder et al. 2018)"]


def r1_penalty(gamma: float, batch: Batch) -> Terms:
    """{"r1": γ/2 E ‖∇ₓ D(x)‖²}, the squared slope of D at real images (Mescheder et al. 2018, eq. 9); {} for γ = 0.

    Each image's logit depends on that image alone, so the gradient of the sum holds each image's own.
    """
    if gamma == 0:
        return {}
    x = batch.x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(batch.discriminator(x).logits.sum(), x, create_graph=True)
    return {"r1": gamma / 2 * slope.square().flatten(1).sum(1).mean()}
