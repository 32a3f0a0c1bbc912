"""Objectives that are broken in one way each, and the check that must find it: bug, objective, check, words."""

from itertools import count

import torch
from correct_objectives import Autoencode, Everything, Resynthesise, fake, real
from planted_penalties import (
    PenalisesEachImage,
    PenalisesInPlace,
    PenalisesTheWorst,
    PenalisesUnderAnothersName,
    PenalisesWithoutAGraph,
)
from torch.nn.functional import mse_loss, relu

from mixzoo import Losses


class LosesItsLosses:
    """Terms from methods of an earlier contract."""

    def autoencoder_terms(self, r, D):
        return {}


class WantsMore(Autoencode):
    def losses(self, batch, D):
        return super().losses(batch)


class GivesATable(Autoencode):
    def losses(self, batch):
        return super().losses(batch).autoencoder


class GivesAList(Autoencode):
    def losses(self, batch):
        return Losses(list(super().losses(batch).autoencoder.values()))


class MixesNowAndThen(Resynthesise):
    calls = count()

    def autoencoder_terms(self, r, D):
        if next(self.calls) % 2:
            r.h_mix2  # noqa: B018
        return super().autoencoder_terms(r, D)


class DrawsOnAWhim(Autoencode):
    def autoencoder_terms(self, r, D):
        noise = r.batch.noise(f"noise{int(1e6 * r.x.sum().abs())}", like=r.x)
        return {"reconstruct": mse_loss(r.x_rec, r.x + noise)}


class MixesInVain(Autoencode):
    def autoencoder_terms(self, r, D):
        r.h_mix  # noqa: B018
        return super().autoencoder_terms(r, D)


class DecodesInVain(Autoencode):
    def autoencoder_terms(self, r, D):
        r.x_mix  # noqa: B018
        return super().autoencoder_terms(r, D)


class EncodesInVain(Resynthesise):
    def autoencoder_terms(self, r, D):
        r.h_mix_rec  # noqa: B018
        return super().autoencoder_terms(r, D)


class MixesTwiceInVain(Resynthesise):
    def autoencoder_terms(self, r, D):
        r.h_mix2  # noqa: B018
        return super().autoencoder_terms(r, D)


class ReadsLabelsInVain(Autoencode):
    reads_labels = True


class AsksForAPosteriorInVain(Autoencode):
    def autoencoder_terms(self, r, D):
        r.posterior  # noqa: B018
        return super().autoencoder_terms(r, D)


class ReadsLabelLogitsInVain(Resynthesise):
    def discriminator_terms(self, r, D):
        D.label_logits["real"]
        return super().discriminator_terms(r, D)


class ReadsReconstructionsInVain(Resynthesise):
    def discriminator_terms(self, r, D):
        D.reconstruction["real"]
        return super().discriminator_terms(r, D)


class DiscriminatesNothing(Resynthesise):
    """D has terms but no input."""

    def inputs(self, r):
        return {}

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x)}

    def discriminator_terms(self, r, D):
        return {"size": r.x_mix.square().mean()}


class DiscriminatesTwoShapes(Resynthesise):
    def inputs(self, r):
        return {"real": r.x, "mix": r.x_mix.flatten(1)}


class ReachesIntoG(Resynthesise):
    """The slope of D at a mix with respect to the code, which has no graph in a step of D alone."""

    def discriminator_terms(self, r, D):
        slope = mse_loss(r.x_mix, r.x) if r.x_mix.requires_grad else mse_loss(r.x_mix, r.x).detach()
        return super().discriminator_terms(r, D) | {"slope": slope + 0 * D["mix"].detach().sum()}


class DiscriminatesANumber(Resynthesise):
    def inputs(self, r):
        return {"real": r.x, "mix": r.x_mix, "lam": 10.0}


class DiscriminatesSingles(Resynthesise):
    def inputs(self, r):
        return {"real": r.x, "mix": r.x_mix.float()}


class DiscriminatesUnderSentences(Resynthesise):
    def inputs(self, r):
        return {"the real ones": r.x, "mix": r.x_mix}

    def discriminator_terms(self, r, D):
        return {"real": real(D["the real ones"]), "fake_mix": fake(D["mix"])}


class HasNoTermsForD(Autoencode):
    def inputs(self, r):
        return {"rec": r.x_rec}


class TrainsDAlone(Resynthesise):
    def autoencoder_terms(self, r, D):
        return {}


class DiscriminatesInVain(Resynthesise):
    def inputs(self, r):
        return super().inputs(r) | {"rec": r.x_rec}


class KeepsEveryImage(Resynthesise):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": (r.x_rec - r.x).square().flatten(1).mean(1)}


class GivesAFloat(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x).item()}


class GivesSingles(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x).float()}


class NamesByNumber(Autoencode):
    def autoencoder_terms(self, r, D):
        return {0: mse_loss(r.x_rec, r.x)}


class TakesARootOfNegatives(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": (r.x_rec - r.x).sqrt().mean()}


class AddsAConstant(Autoencode):
    def autoencoder_terms(self, r, D):
        return super().autoencoder_terms(r, D) | {"size": r.x.square().mean()}


class LooksAtXAlone(Resynthesise):
    def autoencoder_terms(self, r, D):
        return {"fool_mix": real(D["mix"])}


class DetachesTheReconstruction(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec.detach(), r.x), "size": r.h.square().mean()}


class DetachesAScore(Resynthesise):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x), "fool_mix": real(D["mix"].detach())}


class DetachesOneOfTwo(Everything):
    def autoencoder_terms(self, r, D):
        own = super().autoencoder_terms(r, D)
        return own | {"consistency": mse_loss(r.h_mix_rec, r.h_mix.detach())}


class DiscriminatesDetached(Resynthesise):
    def inputs(self, r):
        return {"real": r.x, "mix": r.x_mix.detach()}


class RoundsToPixels(Autoencode):
    def autoencoder_terms(self, r, D):
        rounded = r.x_rec + (r.x_rec.round() - r.x_rec).detach()  # straight through
        return {"reconstruct": mse_loss(rounded, r.x)}


class DetachesForD(Resynthesise):
    def discriminator_terms(self, r, D):
        return {"real": real(D["real"]), "fake_mix": fake(D["mix"]) + D["real"].detach().square().mean()}


class LeavesATermFixed(Resynthesise):
    def discriminator_terms(self, r, D):
        return super().discriminator_terms(r, D) | {"penalty": r.x_mix.square().mean()}


class DrawsNoise(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec + 0.1 * torch.randn_like(r.x_rec), r.x)}


class CountsItsCalls(Autoencode):
    calls = count(1)

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x) / next(self.calls)}


class RenamesItsTerms(Autoencode):
    calls = count(1)

    def autoencoder_terms(self, r, D):
        return {f"reconstruct{next(self.calls)}": mse_loss(r.x_rec, r.x)}


class WritesToThePass(Autoencode):
    def autoencoder_terms(self, r, D):
        x_rec = r.x_rec if r.x_rec.requires_grad else r.x_rec.clamp_(-1, 1)
        return {"reconstruct": mse_loss(x_rec, r.x)}


class WritesToScores(Resynthesise):
    def discriminator_terms(self, r, D):
        if not D["mix"].requires_grad:
            D["mix"].neg_()
        return super().discriminator_terms(r, D)


class TakesNaiveLogs(Resynthesise):
    def discriminator_terms(self, r, D):
        return {"real": -D["real"].sigmoid().log().mean(), "fake_mix": -(1 - D["mix"].sigmoid()).log().mean()}


class SquashesThenRoots(Resynthesise):
    """A finite term, but the derivative of the root is infinite where the sigmoid underflows to 0."""

    def discriminator_terms(self, r, D):
        return {"real": relu(-D["real"]).sqrt().mean() + D["real"].mean(), "fake_mix": D["mix"].sigmoid().sqrt().mean()}


class PairsWithTheFirst(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x) + mse_loss(r.h[1:], r.h[:1].expand_as(r.h[1:]))}


class RegressesAnothersShare(Resynthesise):
    def discriminator_terms(self, r, D):
        alpha = r.share[0].flatten(1).mean(1)
        return {"regress": mse_loss(D["mix"], alpha.cumsum(0)), "real": real(D["real"])}


class SumsTheBatch(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": (r.x_rec - r.x).square().flatten(1).mean(1).sum()}


class TakesTheRootOfTheMean(Resynthesise):
    def discriminator_terms(self, r, D):
        return super().discriminator_terms(r, D) | {"spread": D["real"].square().mean().sqrt()}


TYPES = "Type-check error whilst checking"  # the type checker of the tests comes first
PLANTED_OBJECTIVES = [
    ("no losses", LosesItsLosses, "is_an_objective", "the objective has no losses"),
    ("losses of two arguments", WantsMore, "is_an_objective", r"the objective has losses\(batch, D\); expected"),
    ("losses give a table", GivesATable, "is_an_objective", "losses returns a dict"),
    ("terms are a list", GivesAList, "is_an_objective", f"the autoencoder's terms are a list|{TYPES}"),
    ("a number as input", DiscriminatesANumber, "is_an_objective", f"tensors of one shape|{TYPES}"),
    ("two shapes as input", DiscriminatesTwoShapes, "is_an_objective", "tensors of one shape"),
    ("mixes now and then", MixesNowAndThen, "asks_for_the_same_at_every_step", "make the same calls at every step"),
    ("draws on a whim", DrawsOnAWhim, "asks_for_the_same_at_every_step", "make the same draws at every step"),
    ("mixes in vain", MixesInVain, "asks_for_nothing_in_vain", r"batch.mix returns a mix \(h_mix\), but no term"),
    ("decodes in vain", DecodesInVain, "asks_for_nothing_in_vain", r"an image of a mix \(x_mix\), but no term"),
    ("encodes in vain", EncodesInVain, "asks_for_nothing_in_vain", r"returns a code \(h_mix_rec\), but no term"),
    ("a second mix in vain", MixesTwiceInVain, "asks_for_nothing_in_vain", r"a mix \(h_mix2\), but no term"),
    ("labels in vain", ReadsLabelsInVain, "asks_for_nothing_in_vain", "losses reads labels, but no term"),
    (
        "a posterior in vain",
        AsksForAPosteriorInVain,
        "asks_for_nothing_in_vain",
        "returns a log_variance .*, but no term",
    ),
    (
        "label logits in vain",
        ReadsLabelLogitsInVain,
        "asks_for_nothing_in_vain",
        "losses reads D.label_logits, but no term",
    ),
    (
        "reconstructions in vain",
        ReadsReconstructionsInVain,
        "asks_for_nothing_in_vain",
        "losses reads D.reconstruction, but",
    ),
    ("a fixed penalty", PenalisesWithoutAGraph, "a_penalty_moves_the_discriminator", "no gradient at D's weights"),
    ("a penalty an image", PenalisesEachImage, "terms_are_named_finite_scalars", "expected a scalar"),
    ("a penalty named real", PenalisesUnderAnothersName, "every_input_of_the_discriminator_is_used", "'real', but no"),
    ("writes to x", PenalisesInPlace, "the_batch_is_left_unchanged", "writes to x in place"),
    (
        "images in float32",
        DiscriminatesSingles,
        "shows_the_discriminator_named_batches",
        "is torch.float32, expected torch.float64 as x",
    ),
    (
        "a sentence for a name",
        DiscriminatesUnderSentences,
        "shows_the_discriminator_named_batches",
        "use a word such as 'mix'",
    ),
    ("a D without terms", HasNoTermsForD, "terms_fit_the_use_of_a_discriminator", "losses calls the discrim"),
    ("terms of no D", DiscriminatesNothing, "terms_fit_the_use_of_a_discriminator", "losses never calls the"),
    ("no term for f and g", TrainsDAlone, "terms_fit_the_use_of_a_discriminator", "autoencoder's terms are empty"),
    (
        "a term of D through g",
        ReachesIntoG,
        "the_discriminator_learns_without_the_auto_encoder",
        "'slope' has no graph",
    ),
    (
        "a sum over the batch",
        SumsTheBatch,
        "terms_are_means_over_examples",
        "autoencoder term 'reconstruct' is .* mean",
    ),
    ("a root of a mean", TakesTheRootOfTheMean, "terms_are_means_over_examples", "'spread' is .* whole_batch=True"),
    ("a penalty of the worst", PenalisesTheWorst, "terms_are_means_over_examples", "discriminator term 'slope' is"),
    (
        "a score not used",
        DiscriminatesInVain,
        "every_input_of_the_discriminator_is_used",
        "D gets 'rec', but no term depends",
    ),
    ("a term an image", KeepsEveryImage, "terms_are_named_finite_scalars", "expected a scalar; take the mean"),
    ("a float", GivesAFloat, "terms_are_named_finite_scalars", f"is a float, expected a tensor|{TYPES}"),
    ("a term in float32", GivesSingles, "terms_are_named_finite_scalars", "is torch.float32, expected torch.float64"),
    ("a number for a name", NamesByNumber, "terms_are_named_finite_scalars", f"is named 0; use one word|{TYPES}"),
    ("root of negatives", TakesARootOfNegatives, "terms_are_named_finite_scalars", "'reconstruct' is nan"),
    ("a constant term", AddsAConstant, "terms_are_named_finite_scalars", "depends on nothing that is trained"),
    ("no reconstruction", LooksAtXAlone, "reconstructions_teach_the_auto_encoder", "reaches a reconstruction"),
    ("x_rec detached", DetachesTheReconstruction, "reconstructions_teach_the_auto_encoder", "reaches a reconstruction"),
    ("a score detached", DetachesAScore, "gradients_agree_with_finite_differences", "along x_mix, but their gradient"),
    ("one of two detached", DetachesOneOfTwo, "gradients_agree_with_finite_differences", "along h_mix, but"),
    ("input detached", DiscriminatesDetached, "gradients_agree_with_finite_differences", "along x_mix, but"),
    ("rounded straight through", RoundsToPixels, "gradients_agree_with_finite_differences", "along x_rec, but"),
    ("a score of D detached", DetachesForD, "gradients_agree_with_finite_differences", "discriminator's .* along D"),
    ("a fixed term of D", LeavesATermFixed, "logits_teach_the_discriminator", "'penalty' depends on no output of D"),
    ("noise", DrawsNoise, "terms_are_a_function_of_the_batch", "losses draws from the global generator of torch"),
    ("counts its calls", CountsItsCalls, "terms_are_a_function_of_the_batch", "differs in a second call"),
    ("renames its terms", RenamesItsTerms, "terms_are_a_function_of_the_batch", "have other names in a second call"),
    ("writes to x_rec", WritesToThePass, "the_batch_is_left_unchanged", "writes to x_rec in place"),
    ("writes to a score", WritesToScores, "the_batch_is_left_unchanged", r"writes to D\['mix'\] in place"),
    ("naive logarithms", TakesNaiveLogs, "extreme_logits_give_finite_terms", "is inf if logits are"),
    ("a steep root", SquashesThenRoots, "extreme_logits_give_finite_terms", "gradient of discriminator term .* is NaN"),
    ("pairs with the first", PairsWithTheFirst, "the_order_of_the_batch_does_not_matter", "with the batch in reverse"),
    ("another's share", RegressesAnothersShare, "the_order_of_the_batch_does_not_matter", "compare each example"),
]  # fmt: skip
