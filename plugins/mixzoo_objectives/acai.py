"""ACAI, official and as the authors of AMR ran it: D reads the mixing weight off a decoded mix, f and g hide it.

alpha  distance of a mix from its nearest source, 1 - max_i share_i; min(α, 1-α) in [0, 1/2] when k = 2
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from mixzoo import Batch, BuildContext, Losses, Objective
from mixzoo_objectives.losses import Beta, bce, consistency_loss
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
    beta: Beta = 0.0
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
    """The terms of Berthelot et al. 2019, eq. 1 and 2; the critic is D's logit, squared errors are means."""

    weight: float
    gamma: float
    beta: float
    r1: float

    def losses(self, batch: Batch) -> Losses:
        h = batch.encode(batch.x)
        mixed = batch.mix(h)
        x_rec, x_mix = batch.decode(h, mixed.h)
        consistency = {}
        if self.beta > 0:
            consistency = {
                "consistency": self.beta * mse_loss(batch.encode(x_mix), mixed.h)
            }  # β ‖h_mix - f(g(h_mix))‖²
        D = batch.discriminate(mix=x_mix, blend=self.gamma * batch.x + (1 - self.gamma) * x_rec)
        return Losses(
            autoencoder={
                "reconstruct": mse_loss(x_rec, batch.x),  # ‖x - g(f(x))‖²
                "fool_mix": self.weight * D["mix"].square().mean(),  # weight ‖D(x_mix)‖²
                **consistency,
            },
            discriminator={
                "regress_alpha": mse_loss(D["mix"], alpha_from_share(mixed.share)),  # ‖D(x_mix) - α‖²
                "regress_zero": D["blend"].square().mean(),  # ‖D(γx + (1-γ)g(f(x)))‖²
                **r1_penalty(self.r1, batch),  # r1/2 ‖∇D(x)‖²
            },
        )


@dataclass(frozen=True, kw_only=True)
class AuthorsACAI:
    """The terms of `acai_f3`: cross-entropies on sigmoid(logit), α doubled to [0, 1], no γ."""

    lam: float
    beta: float
    r1: float

    def losses(self, batch: Batch) -> Losses:
        h = batch.encode(batch.x)
        mixed = batch.mix(h)
        x_rec, x_mix = batch.decode(h, mixed.h)
        consistency = consistency_loss(batch, self.beta, x_mix, mixed.h, l1_loss)  # β |h_mix - f(g(h_mix))|
        D = batch.discriminate(real=batch.x, rec=x_rec, mix=x_mix)
        k = len(mixed.share)
        return Losses(
            autoencoder={
                "reconstruct": self.lam * l1_loss(x_rec, batch.x),  # λ |x - g(f(x))|
                "fool_mix": bce(D["mix"], 0),  # BCE(D(x_mix), 0)
                **consistency,
            },
            discriminator={
                "regress_alpha": bce(D["mix"], k / (k - 1) * alpha_from_share(mixed.share)),  # BCE(D(x_mix), 2α)
                "zero_real": bce(D["real"], 0),  # BCE(D(x), 0)
                "zero_rec": bce(D["rec"], 0),  # BCE(D(g(f(x))), 0)
                **r1_penalty(self.r1, batch),  # r1/2 ‖∇D(x)‖²
            },
        )


def alpha_from_share(share: Float[Tensor, "k batch *latent_or_ones"]) -> Float[Tensor, " batch"]:
    """alpha = 1 - max_i share_i, each source's share averaged over the code; [0, 1 - 1/k]."""
    return 1 - share.flatten(2).mean(2).amax(0)
