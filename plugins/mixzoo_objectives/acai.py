"""ACAI, official and as the authors of AMR ran it: D reads the mixing weight off a decoded mix, f and g hide it.

alpha  distance of a mix from its nearest source, 1 - max_i share_i; min(α, 1-α) in [0, 1/2] when k = 2
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from mixzoo import Images, Judgement, Needs, Objective, Resynthesis, Setting, Terms
from mixzoo_objectives.losses import bce


@dataclass(frozen=True, kw_only=True)
class ACAI:
    """Reconstruct x; hide from a critic how far a decoded mix is from its sources (Berthelot et al. 2019, section 2).

    variant=official, on raw scores:
        auto-encoder:   ‖x - g(f(x))‖² + weight ‖D(g(h_mix))‖²
        critic:         ‖D(g(h_mix)) - α‖² + ‖D(γ x + (1-γ) g(f(x)))‖²,   α folded to [0, 1/2]
    variant=amr, the baseline in AMR's tables (`acai_f3` in the authors' code):
        auto-encoder:   λ |x - g(f(x))| + BCE(D(g(h_mix)), 0)
        critic:         BCE(D(g(h_mix)), 2α) + BCE(D(x), 0) + BCE(D(g(f(x))), 0)
    With k > 2 sources α is 1 - max_i share_i, scaled to [0, 1] by k/(k-1) in place of 2.
    """

    variant: Annotated[Literal["official", "amr"], "which of the two"] = "official"
    weight: Annotated[float, Ge(0), "official: weight of hiding alpha, 0.5 when not given"] | None = None
    gamma: Annotated[float, Ge(0), Le(1), "official: γ, 0.2 when not given"] | None = None
    lam: Annotated[float, Gt(0), "amr: λ, weight of reconstruction, 10 when not given"] | None = None

    def __post_init__(self) -> None:
        ignored = ("lam",) if self.variant == "official" else ("weight", "gamma")
        for name in ignored:
            if getattr(self, name) is not None:
                raise ValueError(f"{name}= has no meaning with variant={self.variant!r}; leave it out")

    def build(self, setting: Setting) -> Objective:
        if self.variant == "amr":
            return AuthorsACAI(lam=10.0 if self.lam is None else self.lam)
        return OfficialACAI(
            weight=0.5 if self.weight is None else self.weight, gamma=0.2 if self.gamma is None else self.gamma
        )


@dataclass(frozen=True, kw_only=True)
class OfficialACAI:
    """The terms of Berthelot et al. 2019, eq. 1 and 2; scores are raw, squared errors are means."""

    weight: float
    gamma: float
    needs = Needs(mix=True, discriminator=True)

    def judged(self, r: Resynthesis) -> Images:
        return {"mix": r.x_mix, "blend": self.gamma * r.x + (1 - self.gamma) * r.x_rec}

    def autoencoder_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {
            "reconstruct": mse_loss(r.x_rec, r.x),  # ‖x - g(f(x))‖²
            "fool_mix": self.weight * D["mix"].square().mean(),  # weight ‖D(x_mix)‖²
        }

    def discriminator_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {
            "regress_alpha": mse_loss(D["mix"], folded(r.share)),  # ‖D(x_mix) - α‖²
            "regress_zero": D["blend"].square().mean(),  # ‖D(γx + (1-γ)g(f(x)))‖²
        }


@dataclass(frozen=True, kw_only=True)
class AuthorsACAI:
    """The terms of `acai_f3`: cross-entropies on sigmoid(score), α doubled to [0, 1], no γ."""

    lam: float
    needs = Needs(mix=True, discriminator=True)

    def judged(self, r: Resynthesis) -> Images:
        return {"real": r.x, "rec": r.x_rec, "mix": r.x_mix}

    def autoencoder_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        return {
            "reconstruct": self.lam * l1_loss(r.x_rec, r.x),  # λ |x - g(f(x))|
            "fool_mix": bce(D["mix"], 0),  # BCE(D(x_mix), 0)
        }

    def discriminator_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        k = len(r.share)
        return {
            "regress_alpha": bce(D["mix"], k / (k - 1) * folded(r.share)),  # BCE(D(x_mix), 2α)
            "zero_real": bce(D["real"], 0),  # BCE(D(x), 0)
            "zero_rec": bce(D["rec"], 0),  # BCE(D(g(f(x))), 0)
        }


def folded(share: Float[Tensor, "k batch *latent_or_ones"]) -> Float[Tensor, " batch"]:
    """alpha = 1 - max_i share_i, each source's share averaged over the code; [0, 1 - 1/k]."""
    return 1 - share.flatten(2).mean(2).amax(0)
