"""The step as AMR's authors ran it, on mixzoo's networks: what initialisation and spectral norm do, at one glance.

    python benchmarks/two_phase.py --root DATA --objective acai --init authors fan_in --seeds 1 2 [--steps 1000]

Two phases as in their code: D judges each source of images in a pass of its own, and once more for the auto-encoder's
loss. Their spectral norm: u begins random, one power iteration at every pass. Settings as in mnist_2000.py: MNIST,
batch 64, one D-step per G-step, Adam 1e-4, betas (0.5, 0.99), decay 1e-5. The order of images and the mixing weights
are this script's own. Prints a row per run: logistic regression on the codes of 10,000 train images, mean L1 of
reconstructed test images.
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
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

import mixzoo
from mixzoo import Dataset, FinishedRun
from mixzoo.data.batches import to_images
from mixzoo.training.memory import keep_freed_memory

BATCH = 64
LAM = {"aegan": 5.0, "acai": 2.0}  # the reference rows' weights of reconstruction


class SpectralNorm(nn.Module):
    """W / sigma, one power iteration at every pass; u and v begin as unit vectors drawn at random."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        rows = conv.weight.shape[0]
        self.register_buffer("u", normalize(torch.randn(rows), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight.flatten(1)
        with torch.no_grad():
            v = normalize(weight.T @ self.u, dim=0)
            self.u = normalize(weight @ v, dim=0)
        sigma = self.u @ weight @ v
        return nn.functional.conv2d(x, self.conv.weight / sigma, self.conv.bias, padding=1)


@dataclass(frozen=True)
class Trainer:
    """Both players, and what moves them."""

    objective: str
    autoencoder: Any
    discriminator: Any

    def losses(self, x: Tensor, alpha: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
        """The auto-encoder's loss and D's, at the same parameters."""
        ae, lam = self.autoencoder, LAM[self.objective]
        h = ae.encode(x)
        x_rec = ae.decode(h)
        reconstruct = lam * (x_rec - x).abs().mean()
        if self.objective == "aegan":
            d_loss = self.bce(x, 1.0) + self.bce(x_rec.detach(), 0.0)
            return reconstruct + self.bce(x_rec, 1.0), d_loss
        x_mix = ae.decode(alpha * h + (1 - alpha) * h[partner])
        folded = 2 * torch.minimum(alpha, 1 - alpha).flatten()
        d_loss = self.bce(x_rec.detach(), 0.0) + self.bce(x, 0.0) + self.bce(x_mix.detach(), folded)
        return reconstruct + self.bce(x_mix, 0.0), d_loss

    def bce(self, images: Tensor, target: float | Tensor) -> Tensor:
        score = self.discriminator(images).realness
        return binary_cross_entropy_with_logits(score, target * torch.ones_like(score))


def build(objective: str, init: str, seed: int) -> Trainer:
    """mixzoo's `amr` networks, D with the authors' spectral norm around torch's own weights."""
    ae = mixzoo.create("autoencoder", f"amr:init={init}", classes=10, seed=seed)
    discriminator = mixzoo.create("discriminator", "amr", classes=10, latent_shape=ae.latent_shape, seed=seed)
    torch.manual_seed(seed)
    layers = discriminator.layers
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layers[i] = SpectralNorm(nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1))
    return Trainer(objective, ae, discriminator)


def train(trainer: Trainer, data: Dataset, seed: int, steps: int, evaluate_at: set[int]) -> None:
    """Train, and print a row at each of the steps asked for."""
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
        losses = trainer.losses(x, alpha, partner)
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
