"""Compares a step of mixzoo with the plain trainer's: the same gradients from the same weights, batch and draws.

In float64. The iterates of spectral norm differ (mixzoo calls D once per step, the plain trainer five times), so the
largest singular value of each such weight is raised far above the rest: power iteration then converges at once in both.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mixzoo.benchmark.steps import Stepper
from mixzoo.core.mixing import gather_sources
from mixzoo.core.random import StepDraws
from mixzoo.training.players import Players
from plain import Mix, Trainer, draw

TOLERANCE = 1e-8  # relative, of each gradient
SETTLING = 20  # passes of D


def take_weights(plain: Trainer, players: Players) -> None:
    """Copy the players' weights to the plain networks. Raises ValueError if the networks differ."""
    for own, other in (pair for pairs in of_both(plain, players).values() for pair in pairs):
        own.data.copy_(other.data)


def of_both(plain: Trainer, players: Players) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Each player's parameters in the plain trainer and in mixzoo, side by side."""
    assert isinstance(players.autoencoder, nn.Module)
    assert isinstance(players.discriminator, nn.Module)
    assert players.probe is not None
    pairs = {
        "autoencoder": ([*plain.f.parameters(), *plain.g.parameters()], players.autoencoder.parameters()),
        "discriminator": (plain.D.parameters(), players.discriminator.parameters()),
        "probe": (plain.probe.parameters(), players.probe.parameters()),
    }
    return {name: list(zip(in_order(a), in_order(b), strict=True)) for name, (a, b) in pairs.items()}


def in_order(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Kernels first, then vectors: their order within a layer depends on the implementation of spectral norm."""
    return sorted(parameters, key=lambda parameter: -parameter.ndim)


def disagreement(step: Stepper, plain: Trainer) -> dict[str, float]:
    """The largest relative difference of any gradient, by player. Converts both to float64 and takes a step of each."""
    players = step.players
    for module in (players.autoencoder, players.discriminator, players.probe):
        assert isinstance(module, nn.Module)
        module.double()
    separate_largest_singular_value(players.discriminator)  # type: ignore[arg-type]
    plain.modules.double()
    take_weights(plain, players)
    images = step.loop.images
    draws = players.draw(0, 0, batch=step.loop.train.batch_images)
    x, labels = images.batch(0)
    x = x.double()
    with torch.no_grad():
        for _ in range(SETTLING):
            players.discriminator(x[:1])  # type: ignore[misc]
            plain.D(x[:1])
    step.loop.engine(x, labels, draws)
    plain.step(x, labels, as_plain(draws, players, x))
    return {name: furthest(pairs) for name, pairs in of_both(plain, players).items()}


def separate_largest_singular_value(discriminator: nn.Module) -> None:
    """Make the largest singular value of each 3x3 convolution five times what it is."""
    for parameter in discriminator.parameters():
        if parameter.ndim == 4 and parameter.shape[-1] == 3:
            u, s, v = torch.linalg.svd(parameter.data.flatten(1), full_matrices=False)
            parameter.data += 4 * s[0] * (u[:, :1] @ v[:1]).reshape(parameter.shape)


def as_plain(draws: StepDraws, players: Players, x: Tensor) -> Mix:
    """mixzoo's draw in the plain trainer's form; a fresh draw if mixzoo mixes nothing."""
    if not players.requirements.mixes:
        return draw(2, len(x))
    h = x.new_zeros(len(x), *players.autoencoder.latent_shape)
    partners, own_draw = draws.mix()
    return Mix(players.mixer(gather_sources(h, partners), own_draw).share, partners)


def furthest(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """The largest |ours - plain| / |plain| of a player's gradients.

    The gradient of a bias before an instance norm is 0 up to rounding, so a gradient below a thousandth of the player's
    whole gradient is compared with that thousandth instead.
    """
    gradients = [(own.grad, other.grad) for own, other in pairs]
    floor = 1e-3 * torch.stack([plain.norm() for plain, _ in gradients if plain is not None]).norm()
    return max(((ours - plain).norm() / torch.maximum(plain.norm(), floor)).item() for plain, ours in gradients)  # type: ignore[operator,union-attr]
