"""ACAI, official and as the authors of AMR ran it: D reads the mixing weight off a decoded mix, f and g hide it.

alpha  distance of a mix from its nearest source, 1 - max_i share_i; min(α, 1-α) in [0, 1/2] when k = 2
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from mixzoo import BuildContext, Discriminator, Images, Judgement, Needs, Objective, Resynthesis, Terms
from mixzoo_objectives.losses import bce
from mixzoo_objectives.penalties import R1, r1_penalty


@dataclass(frozen=True, kw_only=True)
class ACAI:
    """Reconstruct x; hide from a critic how far a decoded mix is from its sources (Berthelot et al. 2019, section 2).

    variant=official, on raw scores:
        auto-encoder:   ‖x - g(f(x))‖² + weight ‖D(g(h_mix))‖² + β ‖h_mix - f(g(h_mix))‖²
        critic:         ‖D(g(h_mix)) - α‖² + ‖D(γ x + (1-γ) g(f(x)))‖² + r1/2 ‖∇D(x)‖²,   α folded to [0, 1/2]
    variant=amr, the baseline in AMR's tables (`acai_f3` in the authors' code):
        auto-encoder:   λ |x - g(f(x))| + BCE(D(g(h_mix)), 0) + β |h_mix - f(g(h_mix))|
        critic:         BCE(D(g(h_mix)), 2α) + BCE(D(x), 0) + BCE(D(g(f(x))), 0) + r1/2 ‖∇D(x)‖²
    With k > 2 sources α is 1 - max_i share_i, scaled to [0, 1] by k/(k-1) in place of 2.

    β is AMR's consistency loss, in the norm of each variant's reconstruction; `acai_f3` works it out at β = 0 too. It
    and the extra pass through f are left out there. Neither β nor R1 is in ACAI itself.
    """

    variant: Annotated[Literal["official", "amr"], "which of the two"] = "official"
    weight: Annotated[float, Ge(0), "official: weight of hiding alpha, 0.5 when not given"] | None = None
    gamma: Annotated[float, Ge(0), Le(1), "official: γ, 0.2 when not given"] | None = None
    lam: Annotated[float, Gt(0), "amr: λ, weight of reconstruction, 10 when not given"] | None = None
    beta: Annotated[float, Ge(0), "β, weight of the consistency of a mix with the code of its image"] = 0.0
    r1: R1 = 0.0

    def __post_init__(self) -> None:
        ignored = ("lam",) if self.variant == "official" else ("weight", "gamma")
        for name in ignored:
            if getattr(self, name) is not None:
                raise ValueError(f"{name}= has no meaning with variant={self.variant!r}; leave it out")

    def build(self, context: BuildContext) -> Objective:
        if self.variant == "amr":
            return AuthorsACAI(lam=10.0 if self.lam is None else self.lam, beta=self.beta, r1=self.r1)
        return OfficialACAI(
            weight=0.5 if self.weight is None else self.weight,
            gamma=0.2 if self.gamma is None else self.gamma,
            beta=self.beta,
            r1=self.r1,
        )


@dataclass(frozen=True, kw_only=True)
class OfficialACAI:
    """The terms of Berthelot et al. 2019, eq. 1 and 2; scores are raw, squared errors are means."""

    weight: float
    gamma: float
    beta: float
    r1: float

    @property
    def needs(self) -> Needs:
        return Needs(mix=True, discriminator=True, reencode=self.beta > 0, penalty=self.r1 > 0)

    def judged(self, r: Resynthesis) -> Images:
        return {"mix": r.x_mix, "blend": self.gamma * r.x + (1 - self.gamma) * r.x_rec}

    def autoencoder_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        terms = {
            "reconstruct": mse_loss(r.x_rec, r.x),  # ‖x - g(f(x))‖²
            "fool_mix": self.weight * D["mix"].square().mean(),  # weight ‖D(x_mix)‖²
        }
        if self.beta > 0:
            terms["consistency"] = self.beta * mse_loss(r.h_mix_rec, r.h_mix)  # β ‖h_mix - f(g(h_mix))‖²
        return terms

    def discriminator_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {
            "regress_alpha": mse_loss(D["mix"], folded(r.share)),  # ‖D(x_mix) - α‖²
            "regress_zero": D["blend"].square().mean(),  # ‖D(γx + (1-γ)g(f(x)))‖²
        }

    def discriminator_penalty(self, x: Tensor, discriminator: Discriminator) -> Terms:
        return {"r1": r1_penalty(self.r1, x, discriminator)}  # r1/2 ‖∇D(x)‖²


@dataclass(frozen=True, kw_only=True)
class AuthorsACAI:
    """The terms of `acai_f3`: cross-entropies on sigmoid(score), α doubled to [0, 1], no γ."""

    lam: float
    beta: float
    r1: float

    @property
    def needs(self) -> Needs:
        return Needs(mix=True, discriminator=True, reencode=self.beta > 0, penalty=self.r1 > 0)

    def judged(self, r: Resynthesis) -> Images:
        return {"real": r.x, "rec": r.x_rec, "mix": r.x_mix}

    def autoencoder_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        terms = {
            "reconstruct": self.lam * l1_loss(r.x_rec, r.x),  # λ |x - g(f(x))|
            "fool_mix": bce(D["mix"], 0),  # BCE(D(x_mix), 0)
        }
        if self.beta > 0:
            terms["consistency"] = self.beta * l1_loss(r.h_mix_rec, r.h_mix)  # β |h_mix - f(g(h_mix))|
        return terms

    def discriminator_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        k = len(r.share)
        return {
            "regress_alpha": bce(D["mix"], k / (k - 1) * folded(r.share)),  # BCE(D(x_mix), 2α)
            "zero_real": bce(D["real"], 0),  # BCE(D(x), 0)
            "zero_rec": bce(D["rec"], 0),  # BCE(D(g(f(x))), 0)
        }

    def discriminator_penalty(self, x: Tensor, discriminator: Discriminator) -> Terms:
        return {"r1": r1_penalty(self.r1, x, discriminator)}  # r1/2 ‖∇D(x)‖²


def folded(share: Float[Tensor, "k batch *latent_or_ones"]) -> Float[Tensor, " batch"]:
    """alpha = 1 - max_i share_i, each source's share averaged over the code; [0, 1 - 1/k]."""
    return 1 - share.flatten(2).mean(2).amax(0)
