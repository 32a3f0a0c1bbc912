"""Auto-encoders whose weights, buffers or modes are broken in one way each."""

import numpy as np
import torch
from correct_networks import PlainAutoEncoder
from torch import nn
from torch.nn.functional import dropout


class BeginsFromNumpy(PlainAutoEncoder):
    def __init__(self, context):
        super().__init__(context)
        self.f.weight.data.copy_(torch.from_numpy(np.random.randn(*self.f.weight.shape)))  # noqa: NPY002


class BeginsFromNothing(PlainAutoEncoder):
    count = 0

    def __init__(self, context):
        super().__init__(context)
        type(self).count += 1
        nn.init.constant_(self.f.bias, float(self.count))


class SeedsItself(PlainAutoEncoder):
    def __init__(self, context):
        torch.manual_seed(0)
        super().__init__(context)


class ForgetsInEvaluation(PlainAutoEncoder):
    def train(self, mode=True):
        if not mode:
            self.f.weight.data.mul_(0.5)
        return super().train(mode)


class CountsItsPasses(PlainAutoEncoder):
    def __init__(self, context):
        super().__init__(context)
        self.register_buffer("passes", torch.zeros(()))

    def encode(self, x):
        self.passes += 1
        return super().encode(x)


class SwitchesToTraining(PlainAutoEncoder):
    def encode(self, x):
        return self.train().f(x)


class DropsOutInEvaluation(PlainAutoEncoder):
    def encode(self, x):
        return dropout(super().encode(x), 0.5)


class ChangesWithEachPass(PlainAutoEncoder):
    passes = 0

    def encode(self, x):
        self.passes += 1
        return super().encode(x) + self.passes


class DrawsFromNumpy(PlainAutoEncoder):
    def encode(self, x):
        return super().encode(x) * (float(np.random.rand()) if self.training else 1)  # noqa: NPY002


class DrawsFromTheClock(PlainAutoEncoder):
    def encode(self, x):
        rng = torch.Generator()
        rng.seed()
        return super().encode(x) + (torch.rand((), generator=rng) if self.training else 0)


class KeepsATensorAside(PlainAutoEncoder):
    def __init__(self, context):
        super().__init__(context)
        self.scale = torch.rand(())

    def encode(self, x):
        return super().encode(x) * self.scale


class ForgetsItsMean(PlainAutoEncoder):
    def __init__(self, context):
        super().__init__(context)
        self.register_buffer("mean", torch.zeros(()), persistent=False)

    def encode(self, x):
        if self.training:
            self.mean = self.mean + x.detach().mean()
        return super().encode(x) + self.mean


class SavesMoreThanTensors(PlainAutoEncoder):
    def get_extra_state(self):
        return {"passes": 1}

    def set_extra_state(self, state):
        pass


class GrowsInTraining(PlainAutoEncoder):
    def encode(self, x):
        if self.training:
            self.register_buffer("seen", x.detach().mean())
        return super().encode(x)
