"""Supervised AMR: mixes that have the label which their mixer aimed at, as a classifier beside D reads it.

y      label of x, one-hot or attributes     ỹ_mix  Σᵢ αᵢ yᵢ, what the mixer aims at     p(y|x)  D's attribute head
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from mixzoo import BuildContext, Discriminator, Images, Judgement, Mixer, Needs, Objective, Part, Resynthesis, Terms
from mixzoo_objectives.losses import (
    GAN,
    Reconstruction,
    called_fake,
    called_real,
    fooled,
    mean_over,
    reconstruction,
)
from mixzoo_objectives.penalties import R1, r1_penalty


@dataclass(frozen=True, kw_only=True)
class AMRSupervised:
    """AMR, and mixes by a mixer that reads labels, taught to have the label it aimed at (Beckham et al. 2019, eq. 7).

    auto-encoder:   eq. 3 on h_mix2 + ℓ(D(g(h_mix)), 1) + cls ℓ_cls(p(y|g(h_mix)), ỹ_mix)
    discriminator:  eq. 3 on h_mix2 + ℓ(D(g(h_mix)), 0) + cls ℓ_cls(p(y|x), y)

    h_mix is the run's mixer's, which should be `label`; one that reads no labels is taught the mean of its sources'.
    h_mix2 is the mix of eq. 3, by `mixer`, which has no weights; without it eq. 3 is on h_mix itself, one mix for both.
    ℓ_cls is the cross-entropy against y as a distribution over classes or, of attributes, the mean over all of them of
    the binary one. The text leaves the term on real images out of eq. 7; the auxiliary classifier GAN that it names
    (Odena et al. 2017) and an early version of the authors' code have it, and without it p(y|x) would learn nothing.
    β weighs the consistency of all h_mix; D has r1/2 ‖∇D(x)‖² too. Mixes with a source whose label is not known
    (labelled_images=) have no part in the terms that eq. 7 adds.
    """

    lam: Annotated[float, Gt(0), "λ, weight of reconstruction; the paper tries 2, 5, 10, 20, 50"] = 10.0
    cls: Annotated[float, Gt(0), "weight of the classifier's losses; the paper has 1"] = 1.0
    mixer: Annotated[Part[Mixer], "of the mixes of eq. 3; the run's own mixes serve when not given"] | None = None
    beta: Annotated[float, Ge(0), "β, weight of the consistency of a mix with the code of its image"] = 0.0
    recon: Annotated[
        Reconstruction,
        "mean |·| (the authors' code), mean (·)² (the text), or a sum of cross-entropies (theirs for dSprites)",
    ] = "l1"
    gan: Annotated[GAN, "ℓ: Jensen-Shannon (the paper), least squares or hinge"] = "js"
    r1: R1 = 0.0

    def build(self, context: BuildContext) -> Objective:
        second = None if self.mixer is None else self.mixer.build(context)
        return SupervisedTerms(self, second, attributes=context.attributes > 0)


@dataclass(frozen=True)
class SupervisedTerms:
    """The terms, for labels that are classes or attributes."""

    options: AMRSupervised
    second: Mixer | None
    attributes: bool

    @property
    def needs(self) -> Needs:
        return Needs(
            mix=True,
            discriminator=True,
            reencode=self.options.beta > 0,
            labels=True,
            second=self.second,
            attributes=True,
            penalty=self.options.r1 > 0,
        )

    def judged(self, r: Resynthesis) -> Images:
        images = {"real": r.x, "rec": r.x_rec, "mix": r.x_mix}
        return images if self.second is None else images | {"mix2": r.x_mix2}

    def autoencoder_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        o, known = self.options, r.labelled_mix
        terms = {
            "reconstruct": o.lam * reconstruction(o.recon, r.x_rec, r.x),  # λ ‖x - g(f(x))‖
            "fool_rec": fooled(o.gan, D["rec"]),  # ℓ(D(g(f(x))), 1)
            "classify_mix": o.cls * self.said(D.attributes["mix"], r.y_mix, known),  # ℓ_cls(p(y|g(h_mix)), ỹ_mix)
        }
        if self.second is None:
            terms["fool_mix"] = fooled(o.gan, D["mix"])  # ℓ(D(g(h_mix)), 1)
        else:
            terms["fool_mix"] = fooled(o.gan, D["mix"], known)  # ℓ(D(g(h_mix)), 1)
            terms["fool_mix2"] = fooled(o.gan, D["mix2"])  # ℓ(D(g(h_mix2)), 1)
        if o.beta > 0:
            terms["consistency"] = o.beta * mse_loss(r.h_mix_rec, r.h_mix)  # β ‖h_mix - f(g(h_mix))‖²
        return terms

    def discriminator_terms(self, r: Resynthesis, D: Judgement) -> Terms:
        o = self.options
        terms = {
            "real": called_real(o.gan, D["real"]),  # ℓ(D(x), 1)
            "fake_rec": called_fake(o.gan, D["rec"]),  # ℓ(D(g(f(x))), 0)
            "classify_real": o.cls * self.said(D.attributes["real"], r.y, r.labelled),  # ℓ_cls(p(y|x), y)
        }
        if self.second is None:
            terms["fake_mix"] = called_fake(o.gan, D["mix"])  # ℓ(D(g(h_mix)), 0)
        else:
            terms["fake_mix"] = called_fake(o.gan, D["mix"], r.labelled_mix)  # ℓ(D(g(h_mix)), 0)
            terms["fake_mix2"] = called_fake(o.gan, D["mix2"])  # ℓ(D(g(h_mix2)), 0)
        return terms

    def discriminator_penalty(self, x: Tensor, discriminator: Discriminator) -> Terms:
        return {"r1": r1_penalty(self.options.r1, x, discriminator)}  # r1/2 ‖∇D(x)‖²

    def said(
        self, logits: Float[Tensor, "batch label"], y: Float[Tensor, "batch label"], known: Bool[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        """ℓ_cls over the examples whose label is known; 0 where none is."""
        y = y.to(logits.dtype)
        if self.attributes:
            return mean_over(binary_cross_entropy_with_logits(logits, y, reduction="none").mean(1), known)
        return mean_over(cross_entropy(logits, y, reduction="none"), known)
