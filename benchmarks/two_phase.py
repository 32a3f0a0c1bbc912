"""The training step of AMR's authors on mixzoo's networks: the effect of initialisation and spectral norm.

    python benchmarks/two_phase.py --root DATA --objective acai --init authors fan_in --seeds 1 2 [--steps 1000]

Losses, phases and spectral norm are those of the plain trainer (plain.py). Settings as in mnist_2000.py: MNIST, batch
64, one D-step per G-step, Adam 1e-4, betas (0.5, 0.99), decay 1e-5. The script draws its own order of images and mixing
weights. Prints a row per run: logistic regression on the codes of 10,000 train images, mean L1 of reconstructed test
images.
"""

import argparse
import os
import platform
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mixzoo
from mixzoo import Dataset, FinishedRun
from mixzoo.data.batches import to_images
from mixzoo.training.memory import keep_freed_memory
from plain import Method, Mix, SpectralNorm

BATCH = 64
LAM = {"aegan": 5.0, "acai": 2.0}  # the reference rows' weights of reconstruction


@dataclass(frozen=True)
class Trainer:
    """Both players and their losses."""

    objective: Any
    autoencoder: Any
    discriminator: Any

    def losses(self, x: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
        """The auto-encoder's loss and D's, at the same parameters."""
        ae, method = self.autoencoder, Method(self.objective, lam=LAM[self.objective])
        played = method.autoencoder(ae.encode, ae.decode, self.probability, x, ae.encode(x), mix)
        return played.loss, method.discriminator(self.probability, x, played.x_rec.detach(), played.x_mix.detach(), mix)

    def probability(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.discriminator(images).logits)


def build(objective: str, init: str, seed: int) -> Trainer:
    """mixzoo's `amr` networks, with the authors' spectral norm around torch's own weights in D."""
    ae = mixzoo.create("autoencoder", f"amr:init={init}", classes=10, seed=seed)
    discriminator = mixzoo.create("discriminator", "amr", classes=10, latent_shape=ae.latent_shape, seed=seed)
    torch.manual_seed(seed)
    layers = discriminator.layers
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layers[i] = SpectralNorm(nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1))
    return Trainer(objective, ae, discriminator)


def train(trainer: Trainer, data: Dataset, seed: int, steps: int, evaluate_at: set[int]) -> None:
    """Train, and print a row at each step of `evaluate_at`."""
    players = [trainer.autoencoder, trainer.discriminator]
    parameters = [list(player.parameters()) for player in players]
    adams = [torch.optim.Adam(p, lr=1e-4, betas=(0.5, 0.99), weight_decay=1e-5) for p in parameters]
    rng = torch.Generator().manual_seed(seed)
    images, order = data.train.images, torch.empty(0, dtype=torch.long)
    for step in range(1, steps + 1):
        if not len(order):
            order = torch.randperm(len(images), generator=rng)
        x, order = to_images(images[order[:BATCH]]), order[BATCH:]
        alpha, partner = torch.rand(len(x), 1, 1, 1, generator=rng), torch.randperm(len(x), generator=rng)
        losses = trainer.losses(x, Mix(torch.stack([alpha, 1 - alpha]), partner[None]))
        gradients = [torch.autograd.grad(loss, p) for loss, p in zip(losses, parameters)]
        for p, gradient, adam in zip(parameters, gradients, adams):
            for parameter, grad in zip(p, gradient):
                parameter.grad = grad
            adam.step()
        if step in evaluate_at:
            print_row(trainer, data, seed, step)


def print_row(trainer: Trainer, data: Dataset, seed: int, step: int) -> None:
    run = FinishedRun(trainer.autoencoder, mixzoo.create("mixer", "mixup"), data, seed, "cpu")
    accuracy = mixzoo.create("metric", "logistic_regression")(run)["test_accuracy"]
    l1 = mixzoo.create("metric", "reconstruction")(run)["l1"]
    print(f"{seed} | {step} | {100 * accuracy:.1f} | {l1:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--objective", choices=list(LAM), default="acai")
    parser.add_argument("--init", nargs="+", default=["authors", "fan_in"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    keep_freed_memory()
    versions = f"python {platform.python_version()}, torch {version('torch')}, mixzoo {version('mixzoo')}"
    print(f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPU cores; {versions}; {date.today()}.\n")
    print("| objective | init of the auto-encoder | seed | step | regression % | L1 |")
    print("|" + "---|" * 6)
    data = mixzoo.create("dataset", f'mnist:root="{given.root}"').load(1)
    for init in given.init:
        for seed in given.seeds:
            print(f"| {given.objective} | {init} | ", end="")
            train(build(given.objective, init, seed), data, seed, given.steps, {given.steps})


if __name__ == "__main__":
    main()
