"""Supervised AMR: mixes that have the label which their mixer aimed at, as a classifier beside D reads it.

y      label of x, one-hot or attributes     ỹ_mix  Σᵢ αᵢ yᵢ, what the mixer aims at     p(y|x)  D's label logits
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mixzoo import Batch, BuildContext, Losses, Mixer, Objective, Part
from mixzoo_objectives.losses import (
    Beta,
    Gan,
    Lam,
    Recon,
    consistency_loss,
    fake_loss,
    generator_loss,
    mean_over,
    real_loss,
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

    lam: Lam = 10.0
    cls: Annotated[float, Gt(0), "weight of the classifier's losses; the paper has 1"] = 1.0
    mixer: Annotated[Part[Mixer], "of the mixes of eq. 3; the run's own mixes serve when not given"] | None = None
    beta: Beta = 0.0
    recon: Recon = "l1"
    gan: Gan = "js"
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

    def losses(self, batch: Batch) -> Losses:
        o, two = self.options, self.second is not None
        h = batch.encode(batch.x)
        mixed = batch.mix(h)  # h_mix, which has a label
        mixed2 = batch.mix(h, self.second, "second") if two else None  # h_mix2, of eq. 3
        x_rec, x_mix, *x_mix2 = batch.decode(h, mixed.h, *([mixed2.h] if mixed2 else []))
        consistency = consistency_loss(batch, o.beta, x_mix, mixed.h)  # β ‖h_mix - f(g(h_mix))‖²
        D = batch.discriminate(real=batch.x, rec=x_rec, mix=x_mix, **({"mix2": x_mix2[0]} if two else {}))

        # If eq. 3 has mixes of its own, those of eq. 7 take part in the game only if their label is known.
        known = mixed.labelled if two else None
        autoencoder = {
            "reconstruct": o.lam * reconstruction(o.recon, x_rec, batch.x),  # λ ‖x - g(f(x))‖
            "fool_rec": generator_loss(o.gan, D["rec"]),  # ℓ(D(g(f(x))), 1)
            # ℓ_cls(p(y|g(h_mix)), ỹ_mix)
            "classify_mix": o.cls * self.classify(D.label_logits["mix"], mixed.y, mixed.labelled),
            "fool_mix": generator_loss(o.gan, D["mix"], known),  # ℓ(D(g(h_mix)), 1)
        }
        discriminator = {
            "real": real_loss(o.gan, D["real"]),  # ℓ(D(x), 1)
            "fake_rec": fake_loss(o.gan, D["rec"]),  # ℓ(D(g(f(x))), 0)
            "classify_real": o.cls * self.classify(D.label_logits["real"], batch.y, batch.labelled),  # ℓ_cls(p(y|x), y)
            "fake_mix": fake_loss(o.gan, D["mix"], known),  # ℓ(D(g(h_mix)), 0)
        }
        if two:
            autoencoder["fool_mix2"] = generator_loss(o.gan, D["mix2"])  # ℓ(D(g(h_mix2)), 1)
            discriminator["fake_mix2"] = fake_loss(o.gan, D["mix2"])  # ℓ(D(g(h_mix2)), 0)
        return Losses(autoencoder | consistency, discriminator | r1_penalty(o.r1, batch))  # r1/2 ‖∇D(x)‖²

    def classify(
        self, logits: Float[Tensor, "batch label"], y: Float[Tensor, "batch label"], known: Bool[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        """ℓ_cls over the examples whose label is known; 0 where none is."""
        y = y.to(logits.dtype)
        if self.attributes:
            return mean_over(binary_cross_entropy_with_logits(logits, y, reduction="none").mean(1), known)
        return mean_over(cross_entropy(logits, y, reduction="none"), known)
