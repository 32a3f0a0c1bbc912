"""AE, denoising AE, AE+GAN and AMR: the terms each one adds up, and nothing else.

    x      images              x_rec  g(f(x))      D     discriminator, one raw score per image
    h_mix  Mix(f(x), f(x'))    x_mix  g(h_mix)     ℓ     the GAN's loss, on raw scores

Terms come back named and already weighted. The engine sums them, steps on the sum and logs each one. It runs D once on
what is judged and takes each player's gradient for that player's parameters alone, so nothing here detaches.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import mse_loss

from mixzoo import Discriminator, Images, Judgement, Needs, Resynthesis, Terms
from mixzoo_objectives.losses import GAN, Dropout, Reconstruction, called_fake, called_real, fooled, reconstruction
from mixzoo_objectives.penalties import R1, r1_penalty


@dataclass(frozen=True, kw_only=True)
class AE:
    """Reconstruct x, nothing else (AMR eq. 1).

    auto-encoder:  ‖x - g(f(x))‖

    With dropout= numbers of the code are left out while it trains, the baseline of Berthelot et al. 2019 (0.5 there).
    """

    recon: Reconstruction = "l2"
    dropout: Dropout = 0.0

    @property
    def needs(self) -> Needs:
        return Needs(code_dropout=self.dropout)

    def judged(self, r: Resynthesis) -> Images:
        return {}

    def autoencoder_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {"reconstruct": reconstruction(self.recon, r.x_rec, r.x)}  # ‖x - g(f(x))‖

    def discriminator_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {}


@dataclass(frozen=True, kw_only=True)
class DAE:
    """Reconstruct x from a noisy x (denoising auto-encoder, Vincent et al. 2008).

    auto-encoder:  ‖x - g(f(x + noise ε))‖,   ε ~ N(0, I)

    The probe learns on codes of noisy images and is scored on those of clean ones. Berthelot et al. 2019 have noise 1.
    """

    noise: Annotated[float, Gt(0), "standard deviation of what is added to x, in [-1, 1] units"] = 1.0
    recon: Reconstruction = "l2"
    dropout: Dropout = 0.0

    @property
    def needs(self) -> Needs:
        return Needs(input_noise=self.noise, code_dropout=self.dropout)

    def judged(self, r: Resynthesis) -> Images:
        return {}

    def autoencoder_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {"reconstruct": reconstruction(self.recon, r.x_rec, r.x)}  # ‖x - g(f(x + noise ε))‖, r.x is without it

    def discriminator_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {}


@dataclass(frozen=True, kw_only=True)
class AEGAN:
    """Reconstruct x; make reconstructions pass for real (the paper's baseline "AE+GAN", AMR eq. 2).

    auto-encoder:   λ ‖x - g(f(x))‖ + ℓ(D(g(f(x))), 1)
    discriminator:  ℓ(D(x), 1) + ℓ(D(g(f(x))), 0) + r1/2 ‖∇D(x)‖²
    """

    lam: Annotated[float, Gt(0), "λ, weight of reconstruction; the paper tries 2, 5, 10, 20, 50"] = 10.0
    recon: Annotated[
        Reconstruction,
        "mean |·| (the authors' code), mean (·)² (the text), or a sum of cross-entropies (theirs for dSprites)",
    ] = "l1"
    gan: Annotated[GAN, "ℓ: Jensen-Shannon (the paper), least squares or hinge"] = "js"
    r1: R1 = 0.0
    dropout: Dropout = 0.0

    @property
    def needs(self) -> Needs:
        return Needs(discriminator=True, penalty=self.r1 > 0, code_dropout=self.dropout)

    def judged(self, r: Resynthesis) -> Images:
        return {"real": r.x, "rec": r.x_rec}

    def autoencoder_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {
            "reconstruct": self.lam * reconstruction(self.recon, r.x_rec, r.x),  # λ ‖x - g(f(x))‖
            "fool_rec": fooled(self.gan, D["rec"]),  # ℓ(D(g(f(x))), 1)
        }

    def discriminator_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {
            "real": called_real(self.gan, D["real"]),  # ℓ(D(x), 1)
            "fake_rec": called_fake(self.gan, D["rec"]),  # ℓ(D(g(f(x))), 0)
        }

    def discriminator_penalty(self, x: Tensor, discriminator: Discriminator) -> Terms:
        return {"r1": r1_penalty(self.r1, x, discriminator)}  # r1/2 ‖∇D(x)‖²


@dataclass(frozen=True, kw_only=True)
class AMR:
    """Reconstruct x; make reconstructions and decoded mixes pass for real (Beckham et al. 2019, eq. 3).

    auto-encoder:   λ ‖x - g(f(x))‖ + ℓ(D(g(f(x))), 1) + ℓ(D(g(h_mix)), 1) + β ‖h_mix - f(g(h_mix))‖²
    discriminator:  ℓ(D(x), 1) + ℓ(D(g(f(x))), 0) + ℓ(D(g(h_mix)), 0) + r1/2 ‖∇D(x)‖²

    The β term is the consistency loss of section 7.3 (a mean here; the authors' code has |·| for ‖·‖²); β = 0 leaves it
    and the extra pass through f out. With dropout= it is what is left of codes that is mixed and decoded.
    """

    lam: Annotated[float, Gt(0), "λ, weight of reconstruction; the paper tries 2, 5, 10, 20, 50"] = 10.0
    beta: Annotated[float, Ge(0), "β, weight of the consistency of a mix with the code of its image"] = 0.0
    recon: Annotated[
        Reconstruction,
        "mean |·| (the authors' code), mean (·)² (the text), or a sum of cross-entropies (theirs for dSprites)",
    ] = "l1"
    gan: Annotated[GAN, "ℓ: Jensen-Shannon (the paper), least squares or hinge"] = "js"
    r1: R1 = 0.0
    dropout: Dropout = 0.0

    @property
    def needs(self) -> Needs:
        return Needs(
            mix=True,
            discriminator=True,
            reencode=self.beta > 0,
            penalty=self.r1 > 0,
            code_dropout=self.dropout,
        )

    def judged(self, r: Resynthesis) -> Images:
        return {"real": r.x, "rec": r.x_rec, "mix": r.x_mix}

    def autoencoder_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        terms = {
            "reconstruct": self.lam * reconstruction(self.recon, r.x_rec, r.x),  # λ ‖x - g(f(x))‖
            "fool_rec": fooled(self.gan, D["rec"]),  # ℓ(D(g(f(x))), 1)
            "fool_mix": fooled(self.gan, D["mix"]),  # ℓ(D(g(h_mix)), 1)
        }
        if self.beta > 0:
            terms["consistency"] = self.beta * mse_loss(r.h_mix_rec, r.h_mix)  # β ‖h_mix - f(g(h_mix))‖²
        return terms

    def discriminator_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {
            "real": called_real(self.gan, D["real"]),  # ℓ(D(x), 1)
            "fake_rec": called_fake(self.gan, D["rec"]),  # ℓ(D(g(f(x))), 0)
            "fake_mix": called_fake(self.gan, D["mix"]),  # ℓ(D(g(h_mix)), 0)
        }

    def discriminator_penalty(self, x: Tensor, discriminator: Discriminator) -> Terms:
        return {"r1": r1_penalty(self.r1, x, discriminator)}  # r1/2 ‖∇D(x)‖²
