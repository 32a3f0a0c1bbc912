"""Correct objectives, from which the broken ones derive."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from mixzoo import LinearMixer, Losses


def real(score):
    return binary_cross_entropy_with_logits(score, torch.ones_like(score))


def fake(score):
    return binary_cross_entropy_with_logits(score, torch.zeros_like(score))


class Steps:
    """The outputs of the networks for one batch, each computed when it is first read."""

    def __init__(self, batch, objective):
        self.batch, self.objective = batch, objective
        self.x, self.labels = batch.x, batch.labels if objective.reads_labels else None

    @cached_property
    def seen(self):
        return (
            self.x + self.objective.noise * self.batch.noise("input", like=self.x) if self.objective.noise else self.x
        )

    @cached_property
    def posterior(self):
        return self.batch.posterior(self.seen)

    mean = property(lambda self: self.posterior[0])
    log_variance = property(lambda self: self.posterior[1])

    @cached_property
    def h(self):
        return self.mean if self.objective.variational else self.batch.encode(self.seen)

    @cached_property
    def z(self):
        z = self.h
        if self.objective.variational:
            z = z + (self.log_variance / 2).exp() * self.batch.noise("code", like=z)
        return z * self.batch.keep("kept", 0.1, like=z) / 0.9 if self.objective.dropout else z

    @cached_property
    def mixed(self):
        return self.batch.mix(self.z)

    h_mix = property(lambda self: self.mixed.h)
    share = property(lambda self: self.mixed.share)
    y = property(lambda self: self.batch.y)
    labelled = property(lambda self: self.batch.labelled)
    y_mix = property(lambda self: self.mixed.y)
    labelled_mix = property(lambda self: self.mixed.labelled)

    @cached_property
    def h_mix2(self):
        return self.batch.mix(self.z, Halves(), "second").h

    @cached_property
    def x_rec(self):
        return self.batch.decode(self.z)[0]

    @cached_property
    def x_mix(self):
        return self.batch.decode(self.h_mix)[0]

    @cached_property
    def x_mix2(self):
        return self.batch.decode(self.h_mix2)[0]

    @cached_property
    def h_mix_rec(self):
        return self.batch.encode(self.x_mix)


class Steadily:
    """A `losses` that is composed of methods, one of which each objective replaces."""

    variational = False
    reads_labels = False
    noise = dropout = 0.0
    penalty = None

    def inputs(self, r):
        return {}

    def discriminator_terms(self, r, D):
        return {}

    def losses(self, batch):
        r = Steps(batch, self)
        inputs = self.inputs(r)
        D = batch.discriminate(**inputs) if inputs else None
        autoencoder, discriminator = self.autoencoder_terms(r, D), self.discriminator_terms(r, D)
        penalty = self.penalty(r.x, batch.discriminator) if self.penalty else {}
        return Losses(autoencoder, discriminator | penalty)


@dataclass(frozen=True)
class Autoencode(Steadily):
    """Reconstruct x."""

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x)}


@dataclass(frozen=True)
class Resynthesise(Steadily):
    """Reconstruct x and make mixes look real."""

    def inputs(self, r):
        return {"real": r.x, "mix": r.x_mix}

    def autoencoder_terms(self, r, D):
        return {"reconstruct": mse_loss(r.x_rec, r.x), "fool_mix": real(D["mix"])}

    def discriminator_terms(self, r, D):
        return {"real": real(D["real"]), "fake_mix": fake(D["mix"])}


@dataclass(frozen=True)
class Everything(Resynthesise):
    """Call every method and read every output, label logits and D's reconstructions too."""

    variational = True
    noise = dropout = 0.1

    def inputs(self, r):
        return super().inputs(r) | {"mix2": r.x_mix2}

    def autoencoder_terms(self, r, D):
        prior = (r.mean.square() + r.log_variance.exp() - r.log_variance - 1).mean() / 2
        classify = classified(D.label_logits["mix"], r.y_mix, r.labelled_mix)
        terms = {"consistency": mse_loss(r.h_mix_rec, r.h_mix), "prior": prior, "classify": classify}
        return super().autoencoder_terms(r, D) | terms | {"fool_mix2": real(D["mix2"]) + r.h_mix2.square().mean()}

    def discriminator_terms(self, r, D):
        classify = classified(D.label_logits["real"], r.y, r.labelled)
        reconstruct = mse_loss(D.reconstruction["real"], r.x)
        return super().discriminator_terms(r, D) | {
            "classify": classify,
            "fake_mix2": fake(D["mix2"]),
            "reconstruct": reconstruct,
        }

    def penalty(self, x, discriminator):
        return {"weight": discriminator(x).logits.square().mean()}


def classified(logits, y, known):
    return (binary_cross_entropy_with_logits(logits, y.to(logits), reduction="none").mean(1) * known).mean()


@dataclass(frozen=True)
class Halves(LinearMixer):
    """The mean of two sources."""

    k: int = 2

    def draw(self, shape, rng):
        return shape.broadcast(torch.full((2, shape.batch), 0.5))
