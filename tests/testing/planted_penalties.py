"""Objectives whose gradient penalty is broken in one way each."""

import torch
from correct_objectives import Resynthesise


class Penalises(Resynthesise):
    def penalty(self, x, discriminator):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(x).logits.sum(), x, create_graph=True)
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
    def penalty(self, x, discriminator):
        return {"real": super().penalty(x, discriminator)["slope"]}


class PenalisesInPlace(Penalises):
    def penalty(self, x, discriminator):
        return super().penalty(x.mul_(1.01), discriminator)


class PenalisesTheWorst(Penalises):
    def of(self, slope):
        return slope.square().flatten(1).sum(1).amax()
