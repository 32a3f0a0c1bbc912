"""AMR with the Wasserstein losses: D is a critic whose slope is held at 1 between real images and fakes."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor

from mixzoo import Batch, Losses
from mixzoo_objectives.losses import Lam, Recon, reconstruction


@dataclass(frozen=True, kw_only=True)
class WGANGP:
    """AMR (eq. 3) as a Wasserstein GAN with a gradient penalty (Gulrajani et al. 2017, eq. 3).

    auto-encoder:   λ ‖x - g(f(x))‖ - D(g(f(x))) - D(g(h_mix))
    discriminator:  Σ over fakes x̃ of [D(x̃) - D(x) + gp (‖∇D(x̂)‖ - 1)²],   x̂ = ε x + (1 - ε) x̃,   ε ~ U(0, 1)

    The fakes are g(f(x)) and g(h_mix). ε is drawn for each image. D should have no spectral norm, which holds its slope
    too: `--discriminator amr:power_iterations=0`. The paper takes five steps of D for each of the generator,
    `--d-steps 5`.
    """

    lam: Lam = 10.0
    recon: Recon = "l1"
    gp: Annotated[float, Gt(0), "weight of the gradient penalty; the paper has 10"] = 10.0

    def losses(self, batch: Batch) -> Losses:
        h = batch.encode(batch.x)
        mixed = batch.mix(h)
        x_rec, x_mix = batch.decode(h, mixed.h)
        D = batch.discriminate(real=batch.x, rec=x_rec, mix=x_mix)
        penalties = [slope_penalty(batch, name, fake) for name, fake in (("rec", x_rec), ("mix", x_mix))]
        return Losses(
            autoencoder={
                "reconstruct": self.lam * reconstruction(self.recon, x_rec, batch.x),  # λ ‖x - g(f(x))‖
                "fool_rec": -D["rec"].mean(),  # -D(g(f(x)))
                "fool_mix": -D["mix"].mean(),  # -D(g(h_mix))
            },
            discriminator={
                "real": -2 * D["real"].mean(),  # -D(x), once for each fake
                "fake_rec": D["rec"].mean(),  # D(g(f(x)))
                "fake_mix": D["mix"].mean(),  # D(g(h_mix))
                "gradient_penalty": self.gp * (penalties[0] + penalties[1]),  # gp (‖∇D(x̂)‖ - 1)²
            },
        )


def slope_penalty(batch: Batch, name: str, fake: Float[Tensor, "batch channels height width"]) -> Float[Tensor, ""]:
    """E (‖∇D(x̂)‖ - 1)² at points x̂ between each image and its fake; D's weights alone get a gradient from it."""
    epsilon = batch.uniform(f"between/{name}", like=batch.x[:, :1, :1, :1])
    between = (epsilon * batch.x + (1 - epsilon) * fake).detach().requires_grad_()
    (slope,) = torch.autograd.grad(batch.discriminator(between).logits.sum(), between, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty
