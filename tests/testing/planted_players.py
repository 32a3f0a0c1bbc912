"""Objectives whose players do not play against each other, or whose options are not read: bug, objective, check, words.

SOUND are correct ones of other forms, which every check must let pass.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from correct_objectives import Autoencode, Everything, Resynthesise, classified, fake, real
from planted_penalties import Penalises
from torch.nn.functional import cosine_similarity, l1_loss, mse_loss, relu, softplus


def playing(name, fool=real, of_real=real, of_fake=fake, base=Resynthesise, **more):
    """Resynthesise with other losses: `fool` of the auto-encoder, `of_real` and `of_fake` of D."""

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x), "fool_mix": fool(D["mix"])}

    def discriminator_terms(self, r, D):
        return {"real": of_real(D["real"]), "fake_mix": of_fake(D["mix"])}

    methods = {"autoencoder_terms": autoencoder_terms, "discriminator_terms": discriminator_terms}
    return type(name, (base,), methods | more)


def near(target):
    return lambda score: (score - target).square().mean()


def up(score):
    return -score.mean()


def down(score):
    return score.mean()


def hinge_real(score):
    return relu(1 - score).mean()


def hinge_fake(score):
    return relu(1 + score).mean()


def alpha(r):
    return 1 - r.share.flatten(2).mean(2).amax(0)


class HidesFromNobody(Resynthesise):
    """A critic of alpha that the auto-encoder helps."""

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x), "hide": mse_loss(D["mix"], alpha(r))}

    def discriminator_terms(self, r, D):
        return {"regress": mse_loss(D["mix"], alpha(r)), "zero": D["real"].square().mean()}


class BothReconstructFakes(Resynthesise):
    """D learns to reconstruct fakes, as the auto-encoder wants."""

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x), "reconstruct_d": l1_loss(D.reconstruction["mix"], r.x_mix)}

    def discriminator_terms(self, r, D):
        return {
            "reconstruct_d": l1_loss(D.reconstruction["real"], r.x) + 0.5 * l1_loss(D.reconstruction["mix"], r.x_mix)
        }


class ThreeInputs(Resynthesise):
    """Reconstructions are inputs of D too."""

    def inputs(self, r):
        return super().inputs(r) | {"rec": r.x_rec}

    def autoencoder_terms(self, r, D):
        return super().autoencoder_terms(r, D) | {"fool_rec": real(D["rec"])}

    def discriminator_terms(self, r, D):
        return super().discriminator_terms(r, D) | {"fake_rec": fake(D["rec"])}


class FoolsWithReal(Resynthesise):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x), "fool": softplus(-D["real"]).mean()}


class FoolsAnotherFake(ThreeInputs):
    """Mixes are the fakes of D, and reconstructions those of the auto-encoder."""

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x), "fool": real(D["rec"])}

    def discriminator_terms(self, r, D):
        return Resynthesise.discriminator_terms(self, r, D)


class FoolsOneOfTwo(ThreeInputs):
    def autoencoder_terms(self, r, D):
        return Resynthesise.autoencoder_terms(self, r, D)


class HasNoTermOnFakes(Resynthesise):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x)}


class NeverCallsItFake(ThreeInputs):
    def discriminator_terms(self, r, D):
        return Resynthesise.discriminator_terms(self, r, D)


class CallsReconstructionsReal(ThreeInputs):
    """One of two fakes is real to D."""

    def discriminator_terms(self, r, D):
        return Resynthesise.discriminator_terms(self, r, D) | {"rec": real(D["rec"])}


class AddsNothing(Autoencode):
    def autoencoder_terms(self, r, D):
        return super().autoencoder_terms(r, D) | {"size": 0 * r.h.square().mean()}


class AddsARoundedTerm(Autoencode):
    def autoencoder_terms(self, r, D):
        return super().autoencoder_terms(r, D) | {"levels": (4 * r.x_rec).round().square().mean()}


class AddsARealScore(Resynthesise):
    def autoencoder_terms(self, r, D):
        return super().autoencoder_terms(r, D) | {"match": D["real"].square().mean()}


class PushesAway(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": -mse_loss(r.x_rec, r.x)}


class PushesAwayByCosine(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": cosine_similarity(r.x_rec.flatten(1), r.x.flatten(1)).mean()}


class PushesCodesAway(Resynthesise):
    def autoencoder_terms(self, r, D):
        return super().autoencoder_terms(r, D) | {"consistency": -l1_loss(r.h_mix_rec, r.h_mix)}


class ReconstructsAnother(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x.flip(0))}


class LabelsOfAnother(Everything):
    def autoencoder_terms(self, r, D):
        own = classified(D.label_logits["mix"], r.y_mix.flip(0), r.labelled_mix.flip(0))
        return super().autoencoder_terms(r, D) | {"classify": own}


class LabelsOfTheNext(Everything):
    def discriminator_terms(self, r, D):
        own = classified(D.label_logits["real"], r.y.roll(1, 0), r.labelled & r.labelled.roll(1, 0))
        return super().discriminator_terms(r, D) | {"classify": own}


class LabelsOfOneSource(Everything):
    def autoencoder_terms(self, r, D):
        own = classified(D.label_logits["mix"], r.y, r.labelled)
        return super().autoencoder_terms(r, D) | {"classify": own + 0 * r.y_mix.sum()}


class LabelsOfMixes(Everything):
    def discriminator_terms(self, r, D):
        own = classified(D.label_logits["real"], r.y_mix, r.labelled_mix)
        return super().discriminator_terms(r, D) | {"classify": own}


class LabelsOfNobody(Everything):
    def discriminator_terms(self, r, D):
        own = classified(D.label_logits["real"], torch.full_like(r.y, 0.5), r.labelled)
        return super().discriminator_terms(r, D) | {"classify": own}


class LabelsNotKnown(Everything):
    def discriminator_terms(self, r, D):
        own = classified(D.label_logits["real"], r.y, torch.ones_like(r.labelled))
        return super().discriminator_terms(r, D) | {"classify": own}


class MixLabelsNotKnown(Everything):
    def autoencoder_terms(self, r, D):
        own = classified(D.label_logits["mix"], r.y_mix, torch.ones_like(r.labelled))
        return super().autoencoder_terms(r, D) | {"classify": own}


@dataclass(frozen=True, kw_only=True)
class Weighted(Penalises):
    """Every option is read."""

    lam: Annotated[float, Gt(0), "weight of reconstruction"] = 10.0
    beta: Annotated[float, Ge(0), "weight of the consistency"] = 1.0
    r1: Annotated[float, Ge(0), "weight of the penalty"] = 1.0
    norm: Annotated[Literal["l1", "l2"], "of a reconstruction"] = "l1"
    power: Annotated[int, Ge(1), "of the scores"] = 1
    rec: Annotated[bool, "reconstructions are inputs of D too"] = False
    noise: Annotated[float, Ge(0), "on the images"] = 0.0
    margin: Annotated[float, Gt(0), "of the consistency, 0.01 when not given"] | None = None

    def inputs(self, r):
        return super().inputs(r) | ({"rec": r.x_rec} if self.rec else {})

    def autoencoder_terms(self, r, D):
        far = l1_loss(r.x_rec, r.x) if self.norm == "l1" else mse_loss(r.x_rec, r.x)
        terms = {"reconstruct": self.lam * far, "fool_mix": real(D["mix"]) * self.power}
        if self.beta > 0:
            margin = 0.01 if self.margin is None else self.margin
            terms["consistency"] = self.beta * relu(mse_loss(r.h_mix_rec, r.h_mix, reduction="none") - margin).mean()
        return terms | ({"fool_rec": real(D["rec"])} if self.rec else {})

    def discriminator_terms(self, r, D):
        return super().discriminator_terms(r, D) | ({"fake_rec": fake(D["rec"])} if self.rec else {})

    def penalty(self, x, discriminator):
        return super().penalty(x, discriminator) if self.r1 > 0 else {}

    def of(self, slope):
        return self.r1 / 2 * super().of(slope)


def ignoring(option):
    """Weighted, which takes the option for its default whatever it is."""

    class Ignores(Weighted):
        """An option that nothing reads."""

        def __getattribute__(self, name):
            return Weighted.__dataclass_fields__[option].default if name == option else super().__getattribute__(name)

    return type(f"Ignores_{option}", (Ignores,), {})


class OnOrOff(Weighted):
    """beta enables its term but does not scale it."""

    def autoencoder_terms(self, r, D):
        return replace(Weighted(), lam=self.lam, norm=self.norm, beta=float(self.beta > 0)).autoencoder_terms(r, D)


class ThreeNormsAreTwo(Weighted):
    """l2 is l1."""

    def autoencoder_terms(self, r, D):
        return super().autoencoder_terms(r, D) | {"reconstruct": self.lam * l1_loss(r.x_rec, r.x)}


OPPOSITE = "the_players_want_opposite_logits_of_a_fake"
APART = "d_is_taught_to_tell_inputs_apart"
BOTH = "every_fake_teaches_both_players"
REACHES = "each_term_reaches_the_auto_encoder"
PULL = "terms_pull_together_what_they_compare"
OWN = "labels_are_of_their_own_image"
UNKNOWN = "unknown_labels_teach_nothing"
READ = "every_option_is_read"
ORDER = "the_order_of_the_batch_does_not_matter"

PLANTED_PLAYERS = [
    ("D calls fakes real", playing("DFlipped", of_fake=real), OPPOSITE, "both players want D's logit of 'mix' higher"),
    ("D calls fakes real, hinge", playing("Hinge", up, hinge_real, hinge_real), OPPOSITE, "'mix' higher"),
    ("D calls fakes real, squares", playing("Squares", near(1), near(1), near(1)), OPPOSITE, "at the same value"),
    ("fools by the fakes' loss", playing("AFlipped", fool=fake), OPPOSITE, "logit of 'mix' lower at every level"),
    ("fools by a score", playing("Linear", down, hinge_real, hinge_fake), OPPOSITE, "want D's logit of 'mix' lower"),
    ("fools by squares of 0", playing("Zero", near(0), near(1), near(0)), OPPOSITE, "'mix' at the same value"),
    ("helps a critic", HidesFromNobody, OPPOSITE, "'mix' at the same value"),
    ("helps D reconstruct", BothReconstructFakes, OPPOSITE, "both players change .* of 'mix' in the same"),
    ("one of two fakes is real", CallsReconstructionsReal, OPPOSITE, "D's logit of 'rec' higher"),
    ("all are fake to D", playing("AllFake", of_real=fake), APART, r"all its inputs \(real, mix\) to move in the same"),
    ("all are fake, hinge", playing("AllHinge", up, hinge_fake, hinge_fake), APART, "to move in the same direction"),
    ("all are fake, squares", playing("AllSquares", near(1), near(0), near(0)), APART, "to move in the same direction"),
    ("all are fake, linear", playing("AllLinear", up, down, down), APART, "to move in the same direction"),
    ("fools with the real images", FoolsWithReal, BOTH, r"no term of the auto-encoder depends on .* a fake \(mix\)"),
    ("fools nobody", HasNoTermOnFakes, BOTH, "so it learns nothing from D"),
    ("fools with another fake", FoolsAnotherFake, BOTH, "no term of D depends on its output for 'rec'"),
    ("fools one of two", FoolsOneOfTwo, BOTH, "'rec' is a fake, but no term of the auto-encoder opposes it"),
    ("never calls it fake", NeverCallsItFake, BOTH, "no term of D depends on its output for 'rec'"),
    ("a term times 0", AddsNothing, REACHES, "'size' has a gradient of 0 at every output"),
    ("a rounded term", AddsARoundedTerm, REACHES, "'levels' has a gradient of 0 at every output"),
    ("a term of real scores", AddsARealScore, REACHES, "'match' depends on no output of f, g or a mixer"),
    ("pushes away", PushesAway, PULL, "move a reconstruction and its image apart"),
    ("pushes away by cosine", PushesAwayByCosine, PULL, "move a reconstruction and its image apart"),
    ("pushes codes away", PushesCodesAway, PULL, "move a mix and the code of the decoded mix apart"),
    ("reconstructs another", ReconstructsAnother, ORDER, "rotated by one example"),
    ("labels of another", LabelsOfAnother, ORDER, "'classify' is .* rotated by one example"),
    ("labels of the next", LabelsOfTheNext, ORDER, "'classify' is .* with its own reconstruction, share and label"),
    ("labels of one source", LabelsOfOneSource, OWN, "whose label is mixed.y, but does not depend on mixed.y"),
    ("labels of mixes for real", LabelsOfMixes, OWN, "whose label is batch.y, but does not depend on batch.y"),
    ("labels of nobody", LabelsOfNobody, OWN, "whose label is batch.y, but does not"),
    ("labels that are not known", LabelsNotKnown, UNKNOWN,
     r"D.label_logits\['real'\] of unlabelled examples"),
    ("mixes of labels not known", MixLabelsNotKnown, UNKNOWN, r"\['mix'\] .* multiply by mixed.labelled"),
    *((f"{option} is not read", ignoring(option), READ, f"option {option}=.* has the same effect as {option}=")
      for option in ("lam", "beta", "r1", "norm", "power", "rec", "noise", "margin")),
    ("a switch for a weight", OnOrOff, READ, "option beta=.* has the same effect as beta="),
    ("two choices are one", ThreeNormsAreTwo, READ, "option norm='l1' has the same effect as norm='l2'"),
]  # fmt: skip


class Relativistic(Resynthesise):
    """Relativistic logits (Jolicoeur-Martineau 2018)."""

    def autoencoder_terms(self, r, D):
        return {"reconstruct": l1_loss(r.x_rec, r.x), "fool": softplus(D["real"] - D["mix"]).mean()}

    def discriminator_terms(self, r, D):
        return {"apart": softplus(D["mix"] - D["real"]).mean()}


class Critic(Resynthesise):
    """A critic regresses alpha, and the auto-encoder hides it (Berthelot et al. 2019)."""

    def inputs(self, r):
        return {"mix": r.x_mix, "blend": 0.2 * r.x + 0.8 * r.x_rec}

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x), "hide": 0.5 * D["mix"].square().mean()}

    def discriminator_terms(self, r, D):
        return {"regress": mse_loss(D["mix"], alpha(r)), "zero": D["blend"].square().mean()}


class Equilibrium(Resynthesise):
    """D reconstructs real images, but not fakes (Berthelot et al. 2017)."""

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x), "reconstruct_d": l1_loss(D.reconstruction["mix"], r.x_mix)}

    def discriminator_terms(self, r, D):
        return {
            "reconstruct_d": l1_loss(D.reconstruction["real"], r.x) - 0.3 * l1_loss(D.reconstruction["mix"], r.x_mix)
        }


class FreeBits(Autoencode):
    """A divergence with free bits, and a reconstruction by cosine."""

    variational = True

    def autoencoder_terms(self, r, D):
        prior = (r.mean.square() + r.log_variance.exp() - r.log_variance - 1).flatten(1).sum(1) / 2
        cosine = cosine_similarity(r.x_rec.flatten(1), r.x.flatten(1))
        return {"reconstruct": 1 - cosine.mean(), "prior": relu(prior - 20).mean()}


class ClassNumbers(Everything):
    """Class numbers in place of label vectors."""

    def discriminator_terms(self, r, D):
        if r.batch.labels.ndim > 1:
            return super().discriminator_terms(r, D)
        own = torch.nn.functional.cross_entropy(D.label_logits["real"], r.batch.labels, reduction="none")
        return super().discriminator_terms(r, D) | {"classify": (own * r.labelled).mean()}


@dataclass(frozen=True, kw_only=True)
class ReadBesideAnother(Weighted):
    """An option that has an effect only if another is not 0, and a weight that is clamped."""

    beta: Annotated[float, Ge(0), "weight of the consistency"] = 0.0
    lam: Annotated[float, Gt(0), "weight of reconstruction, 2 at most"] = 1.0

    def autoencoder_terms(self, r, D):
        return replace(self, lam=min(self.lam, 2.0))._terms(r, D)

    def _terms(self, r, D):
        return super().autoencoder_terms(r, D)


SOUND = [
    *(ReadBesideAnother, ThreeInputs, Weighted, Relativistic, Critic, Equilibrium, FreeBits, ClassNumbers),
    playing("Wasserstein", up, up, down),
    playing("LeastSquares", near(1), near(1), near(0)),
    playing("Hinge", up, hinge_real, hinge_fake),
    playing("TurnedRound", fake, fake, real),
    playing("Smoothed", near(0.9), near(0.9), near(-0.9)),
    playing("Saturating", lambda score: -fake(score), real, fake),
]
