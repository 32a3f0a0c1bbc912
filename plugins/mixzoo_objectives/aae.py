"""The adversarial auto-encoder: D tells codes from samples of a prior, and f makes its codes pass for them."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt

from mixzoo import Batch, Losses
from mixzoo_objectives.losses import Gan, Reconstruction, fake_loss, generator_loss, real_loss, reconstruction


@dataclass(frozen=True, kw_only=True)
class AAE:
    """Reconstruct x; make codes pass for samples of N(0, I) (Makhzani et al. 2015).

    auto-encoder:   ‖x - g(f(x))‖ + weight ℓ(D(f(x)), 1)
    discriminator:  ℓ(D(z), 1) + ℓ(D(f(x)), 0),   z ~ N(0, I)

    It takes a discriminator of codes, `--discriminator codes`.
    """

    weight: Annotated[float, Gt(0), "weight of making codes pass for samples of the prior"] = 0.1
    recon: Reconstruction = "l2"
    gan: Gan = "js"

    def losses(self, batch: Batch) -> Losses:
        h = batch.encode(batch.x)
        (x_rec,) = batch.decode(h)
        D = batch.discriminate(prior=batch.noise("prior", like=h), code=h)
        return Losses(
            autoencoder={
                "reconstruct": reconstruction(self.recon, x_rec, batch.x),  # ‖x - g(f(x))‖
                "fool_code": self.weight * generator_loss(self.gan, D["code"]),  # weight ℓ(D(f(x)), 1)
            },
            discriminator={
                "real_prior": real_loss(self.gan, D["prior"]),  # ℓ(D(z), 1)
                "fake_code": fake_loss(self.gan, D["code"]),  # ℓ(D(f(x)), 0)
            },
        )
