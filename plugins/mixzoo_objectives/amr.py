"""AE, denoising AE, AE+GAN and AMR.

    x      images              x_rec  g(f(x))      D     discriminator, one logit per image
    h_mix  Mix(f(x), f(x'))    x_mix  g(h_mix)     ℓ     the GAN's loss, on logits

Terms are named and already weighted: the engine descends on each player's sum, for that player's parameters alone, and
logs each term.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt
from torch.nn.functional import mse_loss

from mixzoo import Batch, Losses
from mixzoo_objectives.losses import (
    Beta,
    Dropout,
    Gan,
    Lam,
    Recon,
    Reconstruction,
    dropped_out,
    fake_loss,
    generator_loss,
    real_loss,
    reconstruction,
)
from mixzoo_objectives.penalties import R1, r1_penalty


@dataclass(frozen=True, kw_only=True)
class AE:
    """Reconstruct x, nothing else (AMR eq. 1).

    auto-encoder:  ‖x - g(f(x))‖

    With dropout= numbers of the code are left out while it trains, the baseline of Berthelot et al. 2019 (0.5 there).
    """

    recon: Reconstruction = "l2"
    dropout: Dropout = 0.0

    def losses(self, batch: Batch) -> Losses:
        h = batch.encode(batch.x)
        (x_rec,) = batch.decode(dropped_out(batch, h, self.dropout))
        return Losses({"reconstruct": reconstruction(self.recon, x_rec, batch.x)})  # ‖x - g(f(x))‖


@dataclass(frozen=True, kw_only=True)
class DAE:
    """Reconstruct x from a noisy x (denoising auto-encoder, Vincent et al. 2008).

    auto-encoder:  ‖x - g(f(x + noise ε))‖,   ε ~ N(0, I)

    The probe learns on codes of noisy images and is scored on those of clean ones. Berthelot et al. 2019 have noise 1.
    """

    noise: Annotated[float, Gt(0), "standard deviation of what is added to x, in [-1, 1] units"] = 1.0
    recon: Reconstruction = "l2"
    dropout: Dropout = 0.0

    def losses(self, batch: Batch) -> Losses:
        h = batch.encode(batch.x + self.noise * batch.noise("input", like=batch.x))
        (x_rec,) = batch.decode(dropped_out(batch, h, self.dropout))
        return Losses({"reconstruct": reconstruction(self.recon, x_rec, batch.x)})  # ‖x - g(f(x + noise ε))‖


@dataclass(frozen=True, kw_only=True)
class AEGAN:
    """Reconstruct x; make reconstructions pass for real (the paper's baseline "AE+GAN", AMR eq. 2).

    auto-encoder:   λ ‖x - g(f(x))‖ + ℓ(D(g(f(x))), 1)
    discriminator:  ℓ(D(x), 1) + ℓ(D(g(f(x))), 0) + r1/2 ‖∇D(x)‖²
    """

    lam: Lam = 10.0
    recon: Recon = "l1"
    gan: Gan = "js"
    r1: R1 = 0.0
    dropout: Dropout = 0.0

    def losses(self, batch: Batch) -> Losses:
        h = batch.encode(batch.x)
        (x_rec,) = batch.decode(dropped_out(batch, h, self.dropout))
        D = batch.discriminate(real=batch.x, rec=x_rec)
        return Losses(
            autoencoder={
                "reconstruct": self.lam * reconstruction(self.recon, x_rec, batch.x),  # λ ‖x - g(f(x))‖
                "fool_rec": generator_loss(self.gan, D["rec"]),  # ℓ(D(g(f(x))), 1)
            },
            discriminator={
                "real": real_loss(self.gan, D["real"]),  # ℓ(D(x), 1)
                "fake_rec": fake_loss(self.gan, D["rec"]),  # ℓ(D(g(f(x))), 0)
                **r1_penalty(self.r1, batch),  # r1/2 ‖∇D(x)‖²
            },
        )


@dataclass(frozen=True, kw_only=True)
class AMR:
    """Reconstruct x; make reconstructions and decoded mixes pass for real (Beckham et al. 2019, eq. 3).

    auto-encoder:   λ ‖x - g(f(x))‖ + ℓ(D(g(f(x))), 1) + ℓ(D(g(h_mix)), 1) + β ‖h_mix - f(g(h_mix))‖²
    discriminator:  ℓ(D(x), 1) + ℓ(D(g(f(x))), 0) + ℓ(D(g(h_mix)), 0) + r1/2 ‖∇D(x)‖²

    The β term is the consistency loss of section 7.3 (a mean here; the authors' code has |·| for ‖·‖²); β = 0 leaves it
    and the extra pass through f out. With dropout= it is what is left of codes that is mixed and decoded.
    """

    lam: Lam = 10.0
    beta: Beta = 0.0
    recon: Recon = "l1"
    gan: Gan = "js"
    r1: R1 = 0.0
    dropout: Dropout = 0.0

    def losses(self, batch: Batch) -> Losses:
        h = dropped_out(batch, batch.encode(batch.x), self.dropout)
        mixed = batch.mix(h)
        x_rec, x_mix = batch.decode(h, mixed.h)
        consistency = {}
        if self.beta > 0:
            consistency = {
                "consistency": self.beta * mse_loss(batch.encode(x_mix), mixed.h)
            }  # β ‖h_mix - f(g(h_mix))‖²
        D = batch.discriminate(real=batch.x, rec=x_rec, mix=x_mix)
        return Losses(
            autoencoder={
                "reconstruct": self.lam * reconstruction(self.recon, x_rec, batch.x),  # λ ‖x - g(f(x))‖
                "fool_rec": generator_loss(self.gan, D["rec"]),  # ℓ(D(g(f(x))), 1)
                "fool_mix": generator_loss(self.gan, D["mix"]),  # ℓ(D(g(h_mix)), 1)
                **consistency,
            },
            discriminator={
                "real": real_loss(self.gan, D["real"]),  # ℓ(D(x), 1)
                "fake_rec": fake_loss(self.gan, D["rec"]),  # ℓ(D(g(f(x))), 0)
                "fake_mix": fake_loss(self.gan, D["mix"]),  # ℓ(D(g(h_mix)), 0)
                **r1_penalty(self.r1, batch),  # r1/2 ‖∇D(x)‖²
            },
        )
