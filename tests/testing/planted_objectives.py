"""Objectives that are broken in one way each, and the check that must see it: bug, objective, check, words."""

from dataclasses import dataclass, replace
from itertools import count

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss, relu

from mixzoo import LinearMixer, Needs


def real(score):
    return binary_cross_entropy_with_logits(score, torch.ones_like(score))


def fake(score):
    return binary_cross_entropy_with_logits(score, torch.zeros_like(score))


@dataclass(frozen=True)
class Autoencode:
    """Nothing wrong: reconstruct x."""

    @property
    def needs(self):
        return Needs()

    def judged(self, r):
        return {}

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x)}

    def discriminator_terms(self, r, D):
        return {}


@dataclass(frozen=True)
class Resynthesise:
    """Nothing wrong: reconstruct x and make mixes pass for real."""

    @property
    def needs(self):
        return Needs(mix=True, discriminator=True)

    def judged(self, r):
        return {"real": r.x, "mix": r.x_mix}

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x), "fool_mix": real(D["mix"])}

    def discriminator_terms(self, r, D):
        return {"real": real(D["real"]), "fake_mix": fake(D["mix"])}


@dataclass(frozen=True)
class Everything(Resynthesise):
    """Nothing wrong: it needs and reads all there is, the attribute head and what D redraws too."""

    @property
    def needs(self):
        return Needs(
            mix=True,
            discriminator=True,
            reencode=True,
            labels=True,
            posterior=True,
            second=Halves(),
            attributes=True,
            redrawn=True,
            penalty=True,
            input_noise=0.1,
            code_dropout=0.1,
        )

    def judged(self, r):
        return super().judged(r) | {"mix2": r.x_mix2}

    def autoencoder_terms(self, r, D):
        prior = (r.mean.square() + r.log_variance.exp() - r.log_variance - 1).mean() / 2
        classify = classified(D.attributes["mix"], r.y_mix, r.labelled_mix)
        terms = {"consistency": mse_loss(r.h_mix_rec, r.h_mix), "prior": prior, "classify": classify}
        return super().autoencoder_terms(r, D) | terms | {"fool_mix2": real(D["mix2"]) + r.h_mix2.square().mean()}

    def discriminator_terms(self, r, D):
        classify = classified(D.attributes["real"], r.y, r.labelled)
        redraw = mse_loss(D.redrawn["real"], r.x)
        return super().discriminator_terms(r, D) | {
            "classify": classify,
            "fake_mix2": fake(D["mix2"]),
            "redraw": redraw,
        }

    def discriminator_penalty(self, x, discriminator):
        return {"weight": discriminator(x).realness.square().mean()}


def classified(logits, y, known):
    return (binary_cross_entropy_with_logits(logits, y.to(logits), reduction="none").mean(1) * known).mean()


@dataclass(frozen=True)
class Halves(LinearMixer):
    """The middle of two."""

    k: int = 2

    def draw(self, shape, rng):
        return shape.broadcast(torch.full((2, shape.batch), 0.5))


class ReadsASecondMixUnasked(Resynthesise):
    def judged(self, r):
        return super().judged(r) | {"mix": r.x_mix2}


class AsksForASecondMixInVain(Resynthesise):
    @property
    def needs(self):
        return replace(super().needs, second=Halves())


class ReadsAttributesUnasked(Resynthesise):
    def discriminator_terms(self, r, D):
        return super().discriminator_terms(r, D) | {"classify": D.attributes["real"].mean()}


class AsksForAttributesInVain(Resynthesise):
    @property
    def needs(self):
        return replace(super().needs, attributes=True)


class ReadsRedrawnUnasked(Resynthesise):
    def discriminator_terms(self, r, D):
        return super().discriminator_terms(r, D) | {"redraw": mse_loss(D.redrawn["real"], r.x)}


class AsksForRedrawnInVain(Resynthesise):
    @property
    def needs(self):
        return replace(super().needs, redrawn=True)


class Penalises(Resynthesise):
    @property
    def needs(self):
        return replace(super().needs, penalty=True)

    def discriminator_penalty(self, x, discriminator):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(x).realness.sum(), x, create_graph=True)
        return {"slope": self.of(slope)}

    def of(self, slope):
        return slope.square().flatten(1).sum(1).mean()


class PenalisesWithoutAGraph(Penalises):
    def of(self, slope):
        return super().of(slope).detach()


class PenalisesEachImage(Penalises):
    def of(self, slope):
        return slope.square().flatten(1).sum(1)


class PenalisesUnderAnothersName(Penalises):
    def discriminator_penalty(self, x, discriminator):
        return {"real": super().discriminator_penalty(x, discriminator)["slope"]}


class PenalisesInPlace(Penalises):
    def discriminator_penalty(self, x, discriminator):
        return super().discriminator_penalty(x.mul_(1.01), discriminator)


class NeedsATuple(Autoencode):
    needs = ("mix",)


class ChangesItsNeeds(Autoencode):
    numbers = count()

    @property
    def needs(self):
        return Needs(labels=next(self.numbers) % 2 == 0)


class HasNoTerms:
    needs = Needs()


class ReencodesNoMix(Autoencode):
    needs = Needs(reencode=True)


class ReadsMixesUnasked(Autoencode):
    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x) + r.x_mix.square().mean()}


class ReadsLabelsUnasked(Resynthesise):
    def discriminator_terms(self, r, D):
        return {"real": real(D["real"]) + 0 * r.labels.sum(), "fake_mix": fake(D["mix"])}


class AsksForMixesInVain(Autoencode):
    needs = Needs(mix=True)


class AsksForCodesInVain(Resynthesise):
    needs = Needs(mix=True, discriminator=True, reencode=True)


class AsksForLabelsInVain(Autoencode):
    needs = Needs(labels=True)


class AsksForAPosteriorInVain(Autoencode):
    needs = Needs(posterior=True)


class JudgesFlatImages(Resynthesise):
    def judged(self, r):
        return {"real": r.x.flatten(1), "mix": r.x_mix.flatten(1)}


class JudgesANumber(Resynthesise):
    def judged(self, r):
        return {"real": r.x, "mix": r.x_mix, "lam": 10.0}


class JudgesSingles(Resynthesise):
    def judged(self, r):
        return {"real": r.x, "mix": r.x_mix.float()}


class JudgesUnderSentences(Resynthesise):
    def judged(self, r):
        return {"the real ones": r.x, "mix": r.x_mix}


class JudgesWithoutSayingSo(Autoencode):
    def judged(self, r):
        return {"rec": r.x_rec}


class JudgesNothing(Resynthesise):
    def judged(self, r):
        return {}

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x) + 0 * r.x_mix.sum()}

    def discriminator_terms(self, r, D):
        return {}


class TrainsDAlone(Resynthesise):
    def autoencoder_terms(self, r, D):
        return {}


class JudgesInVain(Resynthesise):
    def judged(self, r):
        return super().judged(r) | {"rec": r.x_rec}


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


class JudgesDetached(Resynthesise):
    def judged(self, r):
        return {"real": r.x, "mix": r.x_mix.detach()}


class RoundsToPixels(Autoencode):
    def autoencoder_terms(self, r, D):
        shown = r.x_rec + (r.x_rec.round() - r.x_rec).detach()  # straight through
        return {"reconstruct": mse_loss(shown, r.x)}


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
    """Finite itself, but the derivative of the root at a sigmoid that has become 0 is not."""

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


class PenalisesTheWorst(Penalises):
    def of(self, slope):
        return slope.square().flatten(1).sum(1).amax()


PLANTED_OBJECTIVES = [
    (
        "a sum over the batch",
        SumsTheBatch,
        "terms_are_means_over_examples",
        "autoencoder term 'reconstruct' is .* mean",
    ),
    ("a root of a mean", TakesTheRootOfTheMean, "terms_are_means_over_examples", "'spread' is .* add whole_batch=True"),
    ("a penalty of the worst", PenalisesTheWorst, "terms_are_means_over_examples", "penalty 'slope' is"),
    ("needs is a tuple", NeedsATuple, "is_an_objective", "expected mixzoo.Needs"),
    ("needs change", ChangesItsNeeds, "is_an_objective", "needs changes from one reading"),
    ("no terms", HasNoTerms, "is_an_objective", "it lacks judged, autoencoder_terms, discriminator_terms"),
    ("re-encodes no mix", ReencodesNoMix, "is_an_objective", "reencode=True without mix=True"),
    ("mixes read unasked", ReadsMixesUnasked, "reads_only_what_it_needs", "add mix=True to its needs"),
    ("labels read unasked", ReadsLabelsUnasked, "reads_only_what_it_needs", "add labels=True to its needs"),
    ("mixes asked for in vain", AsksForMixesInVain, "reads_all_that_it_needs", "mix=True, but none of r.h_mix"),
    (
        "codes asked for in vain",
        AsksForCodesInVain,
        "reads_all_that_it_needs",
        "reencode=True, but none of r.h_mix",
    ),
    ("labels asked for in vain", AsksForLabelsInVain, "reads_all_that_it_needs", "labels=True, but none of r.labels"),
    ("posterior in vain", AsksForAPosteriorInVain, "reads_all_that_it_needs", "posterior=True, but none of r.mean"),
    ("a second mix unasked", ReadsASecondMixUnasked, "reads_only_what_it_needs", "add second=a mixer to its needs"),
    ("a second mix in vain", AsksForASecondMixInVain, "reads_all_that_it_needs", "but none of r.h_mix2"),
    ("attributes unasked", ReadsAttributesUnasked, "reads_only_what_it_needs", "attributes=True to its needs"),
    ("attributes in vain", AsksForAttributesInVain, "reads_all_that_it_needs", "no term reads D.attributes"),
    ("redrawn unasked", ReadsRedrawnUnasked, "reads_only_what_it_needs", "redrawn=True to its needs"),
    ("redrawn in vain", AsksForRedrawnInVain, "reads_all_that_it_needs", "no term reads D.redrawn"),
    ("a fixed penalty", PenalisesWithoutAGraph, "a_penalty_is_terms_of_the_discriminator", "moves no weight of D"),
    ("a penalty an image", PenalisesEachImage, "a_penalty_is_terms_of_the_discriminator", "expected one number"),
    (
        "a penalty named real",
        PenalisesUnderAnothersName,
        "a_penalty_is_terms_of_the_discriminator",
        "name .* is that",
    ),
    ("writes to x", PenalisesInPlace, "a_penalty_is_terms_of_the_discriminator", "writes to x in place"),
    ("flat images judged", JudgesFlatImages, "judges_images", r"judged\['real'\] is \[.*, but x is"),
    ("a number judged", JudgesANumber, "judges_images", "is float, expected a batch of images"),
    ("images in float32", JudgesSingles, "judges_images", "is torch.float32, x is torch.float64"),
    ("a sentence for a name", JudgesUnderSentences, "judges_images", "use a word such as 'mix'"),
    (
        "judges without a D",
        JudgesWithoutSayingSo,
        "terms_fit_the_need_of_a_discriminator",
        "False, but judged gives",
    ),
    ("a D for nothing", JudgesNothing, "terms_fit_the_need_of_a_discriminator", "is True, but judged gives"),
    ("no term for f and g", TrainsDAlone, "terms_fit_the_need_of_a_discriminator", "autoencoder_terms is empty"),
    ("a score not used", JudgesInVain, "every_judged_image_is_used", "D judges 'rec', and no term reads"),
    ("a term an image", KeepsEveryImage, "terms_are_named_finite_scalars", "expected one number; take the mean"),
    ("a float", GivesAFloat, "terms_are_named_finite_scalars", "is float, expected a tensor"),
    ("a term in float32", GivesSingles, "terms_are_named_finite_scalars", "is torch.float32, x is"),
    ("a number for a name", NamesByNumber, "terms_are_named_finite_scalars", "is called 0; use one word"),
    ("root of negatives", TakesARootOfNegatives, "terms_are_named_finite_scalars", "'reconstruct' is nan"),
    ("a constant term", AddsAConstant, "terms_are_named_finite_scalars", "depends on nothing that is trained"),
    ("no reconstruction", LooksAtXAlone, "reconstructions_teach_the_auto_encoder", "reaches r.x_rec"),
    ("x_rec detached", DetachesTheReconstruction, "reconstructions_teach_the_auto_encoder", "reaches r.x_rec"),
    ("a score detached", DetachesAScore, "gradients_agree_with_finite_differences", "along x_mix, but their gradient"),
    ("one of two detached", DetachesOneOfTwo, "gradients_agree_with_finite_differences", "along h_mix, but"),
    ("judged detached", JudgesDetached, "gradients_agree_with_finite_differences", "along x_mix, but"),
    ("rounded straight through", RoundsToPixels, "gradients_agree_with_finite_differences", "along x_rec, but"),
    (
        "a score of D detached",
        DetachesForD,
        "gradients_agree_with_finite_differences",
        "discriminator's .* along D",
    ),
    ("a fixed term of D", LeavesATermFixed, "scores_teach_the_discriminator", "'penalty' depends on no score"),
    ("noise", DrawsNoise, "terms_are_a_function_of_the_pass", "the objective draws from the global generator of torch"),
    ("counts its calls", CountsItsCalls, "terms_are_a_function_of_the_pass", "is another number the second time"),
    ("renames its terms", RenamesItsTerms, "terms_are_a_function_of_the_pass", "have other names the second time"),
    ("writes to x_rec", WritesToThePass, "the_pass_is_left_unchanged", "writes to r.x_rec in place"),
    ("writes to a score", WritesToScores, "the_pass_is_left_unchanged", r"writes to D\['mix'\] in place"),
    ("naive logarithms", TakesNaiveLogs, "extreme_scores_give_finite_terms", "is inf where scores are"),
    ("a steep root", SquashesThenRoots, "extreme_scores_give_finite_terms", "gradient of discriminator term .* is NaN"),
    ("pairs with the first", PairsWithTheFirst, "the_order_of_the_batch_does_not_matter", "with the batch in reverse"),
    ("another's share", RegressesAnothersShare, "the_order_of_the_batch_does_not_matter", "pair each example with its"),
]
