"""The initialisation of D for dSprites, and how far ten steps move its weights: mixzoo's step and the authors'.

    python benchmarks/dsprites_start.py [--steps 10] [--seeds 0 1 2]

Each row trains the run of zoo_configs/authors/table4_dsprites_mixup_k2.toml for a few steps on 2,000 sprites. Rows of
one seed start from the same auto-encoder and see the same images.

    mixzoo          its step and its initial D: He-normal weights and zero biases, before spectral norm
    torch's own     the same step, D's layers initialised by torch
    authors' step   five steps of D per step of the auto-encoder, one pass of D for each source of images, torch's older
                    spectral norm with one power iteration per pass; D starts as in the first row

Scaled deviation is the mean over layers of std(W) √fan-in: √2 for He-normal weights, 1/√3 for torch's own. Movement is
‖W - W₀‖ / ‖W₀‖ of all weights (without biases) before spectral norm, in per cent.
"""

import argparse
import os
import platform
import warnings
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy
from torch.nn.utils import parametrize

from mixzoo.benchmark.steps import Stepper, stepper
from mixzoo.registry.config import RunConfig, resolve
from mixzoo.registry.zoo import load_zoo
from mixzoo_convnets.dsprites import init_layer
from plain import bce, draw, mixed

ZOO = load_zoo()
PRESET = Path(__file__).parents[1] / "zoo_configs/authors/table4_dsprites_mixup_k2.toml"
ROWS = ("mixzoo", "torch's own", "authors' step")


def config_of(seed: int, images: int) -> RunConfig:
    return resolve(ZOO, PRESET, {"dataset": f"sprites:images={images}"}, {"seed": seed, "threads": 1})


def layers_of(discriminator: Any) -> Iterator[Any]:
    return (layer for layer in discriminator.layers if isinstance(layer, nn.Conv2d | nn.Linear))


def raw(layer: Any) -> Tensor:
    """The trained weight, before spectral norm of either kind."""
    weight: Tensor = layer.parametrizations.weight.original if parametrize.is_parametrized(layer) else layer.weight_orig
    return weight


def scaled_deviation(discriminator: Any) -> float:
    return mean(raw(layer).std().item() * sqrt(raw(layer)[0].numel()) for layer in layers_of(discriminator))


def init_as_torch_does(discriminator: Any) -> None:
    """Draw weights and biases of its layers with torch's own initialisation."""
    for layer in layers_of(discriminator):
        layer.reset_parameters()  # for the bias; the layer's weight is computed, so a value written there is lost
        nn.init.kaiming_uniform_(raw(layer), a=sqrt(5))


def use_the_authors_spectral_norm(discriminator: Any) -> None:
    """Give D torch's older spectral norm around He-normal weights and zero biases, as in their code."""
    for i, layer in enumerate(discriminator.layers):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            parametrize.remove_parametrizations(layer, "weight")
            init_layer(layer)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # deprecated in torch
                discriminator.layers[i] = torch.nn.utils.spectral_norm(layer)


class AuthorsStep:
    """One iteration of the authors' code on the players of a run: the auto-encoder's phase, then D's."""

    def __init__(self, step: Stepper) -> None:
        self.step, self.done = step, 0
        self.f, self.g = step.players.autoencoder.encode, step.players.autoencoder.decode
        own = [step.players.autoencoder.parameters(), step.players.discriminator.parameters()]  # type: ignore[union-attr]
        self.adams = [torch.optim.Adam(parameters, lr=1e-4, betas=(0.5, 0.99)) for parameters in own]

    def probability(self, x: Tensor) -> Tensor:
        assert self.step.players.discriminator is not None
        return torch.sigmoid(self.step.players.discriminator(x).logits)

    def __call__(self) -> None:
        x, _ = self.step.loop.images.batch(self.done)
        mix = draw(2, len(x))
        h = self.f(x)
        x_rec, x_mix = self.g(h), self.g(mixed(h, mix._replace(share=mix.share.flatten(2))))
        if self.done % 5 == 0:  # their default `update_g_every`
            recon = binary_cross_entropy((x_rec + 1) / 2, (x + 1) / 2, reduction="sum") / len(x)
            fool = bce(self.probability(x_rec), 1.0) + bce(self.probability(x_mix), 1.0)
            self.adams[0].zero_grad()
            (recon + fool).backward()
            self.adams[0].step()
        self.adams[1].zero_grad()
        targets = {1.0: [x], 0.0: [x_rec.detach(), x_mix.detach()]}
        sum(bce(self.probability(images), target) for target, some in targets.items() for images in some).backward()  # type: ignore[union-attr]
        self.adams[1].step()
        self.done += 1


def measured(row: str, seed: int, steps: int, images: int) -> tuple[float, float]:
    """The scaled deviation at the start, and the movement after `steps` steps in per cent."""
    with stepper(ZOO, config_of(seed, images)) as step:
        D, take = step.players.discriminator, step
        torch.manual_seed(seed)
        if row == "torch's own":
            init_as_torch_does(D)
        if row == "authors' step":
            use_the_authors_spectral_norm(D)
            take = AuthorsStep(step)  # type: ignore[assignment]
        deviation, before = scaled_deviation(D), [raw(layer).detach().clone() for layer in layers_of(D)]
        for _ in range(steps):
            take()
        moved = torch.cat([(raw(layer) - own).detach().flatten() for layer, own in zip(layers_of(D), before)])
        return deviation, 100 * (moved.norm() / torch.cat([own.flatten() for own in before]).norm()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=2000)
    given = parser.parse_args()
    found = {
        row: [measured(row, seed, given.steps, given.images) for seed in given.seeds]
        for row in ROWS
    }  # fmt: skip
    versions = f"python {platform.python_version()}, torch {version('torch')}, mixzoo {version('mixzoo')}"
    print(f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPU cores; {versions}; {date.today()}.\n")
    print(f"| D | scaled deviation | movement after {given.steps} steps, % | of the authors' |")
    print("|" + "---|" * 4)
    theirs = mean(moved for _, moved in found["authors' step"])
    for row, runs in found.items():
        deviation, moved = (mean(column) for column in zip(*runs))
        print(f"| {row} | {deviation:.2f} | {moved:.2f} | {moved / theirs:.2f} |")


if __name__ == "__main__":
    main()
