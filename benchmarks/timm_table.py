"""Encoders of timm as auto-encoders, trained for a step: python benchmarks/timm_table.py > benchmarks/results/timm.md

One step of the training engine (batch of 8 random images, objective amr, mixer dirichlet:k=3) is ok if every term is
finite and every trainable tensor of the auto-encoder with a nonzero gradient has changed.
"""

import platform
import sys
from datetime import date
from importlib.metadata import version

import torch

from mixzoo import BuildContext, create
from mixzoo.core.stand_in import StandInBatch, requirements_of
from mixzoo.core.stand_in_case import Sizes
from mixzoo.evaluation.codes import eval_mode
from mixzoo.evaluation.probe import build_probe
from mixzoo.training.players import Players
from mixzoo.training.step import train_step, trainable

BATCH, CLASSES = 8, 10
TABLE = (  # spec, images
    ("timm:model=resnet18,out_index=2", (1, 32, 32)),
    ("timm:model=resnet18,out_index=2", (3, 28, 28)),
    ("timm:model=resnet18,out_index=2,norm=batch", (1, 32, 32)),
    ("timm:model=resnet18,out_index=2,freeze=true", (1, 32, 32)),
    ("timm:model=resnet50,out_index=1", (3, 32, 32)),
    ("timm:model=convnext_atto,out_index=1", (1, 32, 32)),
    ("timm:model=efficientnet_b0,out_index=2", (3, 32, 32)),
    ("timm:model=mobilenetv3_small_100,out_index=2", (1, 32, 32)),
    ("timm:model=densenet121,out_index=1", (3, 32, 32)),
    ("timm:model=regnety_002,out_index=2", (3, 36, 44)),
    ("timm:model=vit_tiny_patch16_224,out_index=5", (1, 32, 32)),
    ("timm:model=vit_tiny_patch16_224,out_index=5", (3, 64, 48)),
    ("timm:model=vit_small_patch14_dinov2,out_index=3", (3, 28, 42)),
    ("timm:model=swin_tiny_patch4_window7_224,out_index=1", (1, 32, 32)),
    ("timm:model=swin_tiny_patch4_window7_224,out_index=1", (3, 64, 64)),
    ("timm:model=coatnet_nano_rw_224,out_index=2", (3, 32, 32)),
)


def main() -> None:
    torch.manual_seed(0)
    print(f"# Encoders of timm, {date.today()}\n")
    print(
        f"{platform.machine()} {platform.system()}; python {platform.python_version()}, torch {torch.__version__}, "
        f"timm {version('timm')}, mixzoo {version('mixzoo')}. Printed by `benchmarks/timm_table.py`. Random weights,\n"
        f"`latent=32`, `decoder_width=256`. One step: the engine's own, objective `amr`, mixer `dirichlet:k=3`, "
        f"batches of {BATCH} random images.\n"
    )
    print("| spec | images | latent shape | encoder | decoder | encode -> decode | one training step |")
    print("|---|---|---|---|---|---|---|")
    failed = 0
    for spec, image_shape in TABLE:
        cells, ok = row(spec, image_shape)
        failed += not ok
        print("| " + " | ".join(cells) + " |", flush=True)
    sys.exit(failed)


def row(spec: str, image_shape: tuple[int, int, int]) -> tuple[list[str], bool]:
    """The cells of one row, and whether the step was ok."""
    players = players_for(spec, image_shape)
    net = players.autoencoder
    x = torch.rand(BATCH, *image_shape) * 2 - 1
    with eval_mode(net):
        h = net.encode(x)
        shapes = f"{list(x.shape)} -> {list(h.shape)} -> {list(net.decode(h).shape)}"
    problem = step(players, x)
    counts = [f"{sum(p.numel() for p in part.parameters()):,}" for part in (net.f, net.g)]
    latent = "x".join(map(str, net.latent_shape))
    return [f"`{spec}`", "x".join(map(str, image_shape)), latent, *counts, shapes, problem or "ok"], not problem


def players_for(spec: str, image_shape: tuple[int, int, int]) -> Players:
    """The players of a run with these parts."""
    net = create("autoencoder", spec, image_shape=image_shape, classes=CLASSES)
    context = BuildContext(image_shape, CLASSES, tuple(net.latent_shape))
    discriminator = create(
        "discriminator", "acai:depth=4,scales=1", image_shape=image_shape, latent_shape=net.latent_shape
    )
    probe = build_probe(context)
    trained = {"autoencoder": net, "discriminator": discriminator, "probe": probe}
    optimisers = {name: torch.optim.Adam(trainable([part]), lr=1e-3) for name, part in trained.items()}
    mixer, objective = create("mixer", "dirichlet:k=3"), create("objective", "amr")
    requirements = requirements_of(
        objective, StandInBatch(Sizes(2, image_shape, tuple(net.latent_shape), CLASSES, k=3))
    )
    return Players(net, mixer, discriminator, probe, objective, optimisers, requirements, CLASSES)


def step(players: Players, x: torch.Tensor) -> str:
    """The problem with one training step on these images, or ''."""
    net = players.autoencoder
    before = {name: p.detach().clone() for name, p in net.named_parameters() if p.requires_grad}
    draws = players.draw(0, 0, batch=BATCH)
    terms = train_step(players, x, torch.arange(BATCH) % CLASSES, draws)
    if bad := [name for name, value in terms.items() if not value.isfinite()]:
        return f"{bad[0]} is not finite"
    after = dict(net.named_parameters())
    unmoved = [
        name for name, value in before.items() if torch.equal(value, after[name]) and (after[name].grad != 0).any()
    ]
    return f"{unmoved[0]} did not move" if unmoved else ""


if __name__ == "__main__":
    main()
