"""A stand-in for the recorder of CUDA graphs."""

import inspect

import torch

from mixzoo.core.random import draw_tensors
from mixzoo.training.graph import TRACED
from mixzoo.training.step import parameters_of


class Rerun:
    """Records by remembering the function: a CUDA graph's manners, on any device.

    Like a graph it works on fixed tensors and fills those that the first call returned; unlike one it runs Python.
    """

    def __init__(self, spoil=0.0, fails=False, stuck=None, keeps=""):
        self.spoil, self.fails, self.recorded = spoil, fails, 0
        self.stuck = stuck or {}  # of the optimisers: a replay leaves what they move as it was
        self.keeps = keeps  # the input that every replay has as it was recorded

    def warm_up(self, function):
        function()
        function()

    def record(self, function):
        if isinstance(self.fails, Exception):
            raise self.fails
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nlong story")
        self.recorded += 1
        report = {name: value.clone() for name, value in function().items()}
        kept = [(tensor, tensor.clone()) for tensor in self.baked_in(function)]

        def replay():
            for tensor, was in kept:
                tensor.copy_(was)
            before = [(p, p.detach().clone()) for optimiser in self.stuck.values() for p in parameters_of(optimiser)]
            for name, value in function().items():
                report[name].copy_(value if name.startswith(TRACED) else value + self.spoil)
            with torch.no_grad():
                for parameter, was in before:
                    parameter.copy_(was)

        return report, replay

    def baked_in(self, function):
        found = inspect.getclosurevars(inspect.unwrap(function)).nonlocals
        draws = found["draws"]
        partners, mix = draws.mix() if "mix" in draws.named else (None, None)
        noise = [tensor for name, tensor in draws.named.items() if name.startswith("noise/")]
        return {
            "": [], "images": [found["x"]], "labels": [found["labels"]], "partners": [partners],
            "mix": [mix], "draws": draw_tensors(draws), "noise": noise,
        }[self.keeps]  # fmt: skip
