"""Recipes -> built parts: seeded, checked against their contract, on the device."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from mixzoo.building import build_part, check_takes_codes, seeded
from mixzoo.config import RunConfig, Train
from mixzoo.contract import Contract
from mixzoo.errors import ConfigError
from mixzoo.evaluation.codes import eval_mode
from mixzoo.evaluation.probe import build_probe, has_labels
from mixzoo.options import Part
from mixzoo.plugins import Zoo
from mixzoo.protocols import (
    AutoEncoder,
    BuildContext,
    Dataset,
    HasPosterior,
    Mixer,
    Objective,
)
from mixzoo.training.distributed import ALONE, World
from mixzoo.training.sharing import batch_norm_of
from mixzoo.training.step import Players, trainable
from mixzoo.training.watched import WatchedDiscriminator


def build_players(
    zoo: Zoo, config: RunConfig, data: Dataset, device: torch.device, *, restored: bool = False, world: World = ALONE
) -> Players:
    """Everything the run trains, initialised from its seed; `restored` where a checkpoint replaces the weights.

    The processes of `world` share each batch.
    """
    context = replace(data.build_context(), restored=restored)
    autoencoder = _part(zoo, config, "autoencoder", context).to(device)
    context = replace(context, latent_shape=tuple(autoencoder.latent_shape))
    objective = _part(zoo, config, "objective", context)
    mixer = _part(zoo, config, "mixer", context)
    check_takes_codes(zoo, config.names["mixer"], mixer, context.latent_shape, config.parts["mixer"])
    if isinstance(mixer, nn.Module):
        mixer = mixer.to(device)
    discriminator = _discriminator(zoo, config, context, objective, device) if objective.needs.discriminator else None
    probe = seeded(config.train.seed, "probe", lambda: build_probe(context).to(device)) if has_labels(context) else None
    _refuse_unmet_needs(config, objective, autoencoder, context)
    if objective.needs.second is not None:
        _refuse_second(zoo, config, objective.needs.second, context)
        if isinstance(objective.needs.second, nn.Module):
            objective.needs.second.to(device)
    moved = {
        "autoencoder": trainable([autoencoder, mixer] if objective.needs.mix else [autoencoder]),
        "discriminator": trainable([discriminator]),
        "probe": trainable([probe]),
    }
    recorded = device.type == "cuda" and config.train.engine in ("auto", "graph") and world.size == 1
    optimisers = {n: _adam(config.train, n, params, device, recorded) for n, params in moved.items() if params}
    return Players(autoencoder, mixer, discriminator, probe, objective, optimisers, context.label_width, world)


def _part(zoo: Zoo, config: RunConfig, kind: str, context: BuildContext) -> Any:
    """The run's part of that kind, initialised from the run's seed."""
    name = config.names[kind]
    return build_part(config.parts[kind], kind, name, context, config.train.seed, zoo.plugin_of(kind, name))


def _discriminator(
    zoo: Zoo, config: RunConfig, context: BuildContext, objective: Objective, device: torch.device
) -> Any:
    """D, with a head for the label where the objective needs one; ConfigError where it has none to give."""
    context = replace(context, num_labels=context.label_width if objective.needs.attributes else 0)
    discriminator = _part(zoo, config, "discriminator", context).to(device)
    if found := batch_norm_of(discriminator):
        raise ConfigError(
            f"discriminator {config.names['discriminator']!r}: {found} makes the score of an image depend on the "
            "others of its batch, real and fake ones together; use one without, such as amr or acai"
        )
    watched = WatchedDiscriminator(discriminator, Contract("discriminator", config.names["discriminator"]))
    if context.num_labels:
        with eval_mode(discriminator):
            said = watched(torch.zeros(1, *context.image_shape, device=device)).attributes
        if said is None or said.shape != (1, context.num_labels):
            raise ConfigError(
                f"objective {config.names['objective']!r} needs a discriminator that says {context.num_labels} numbers "
                f"of the label, and {config.names['discriminator']!r} says {0 if said is None else said.shape[1]}; use "
                "one with an attribute head, such as amr or acai"
            )
    if objective.needs.redrawn and not _redraws(watched, context, device):
        raise ConfigError(
            f"objective {config.names['objective']!r} needs a discriminator that is an auto-encoder, and "
            f"{config.names['discriminator']!r} is none; use one that redraws images, such as "
            "--discriminator autoencoding"
        )
    return discriminator


def _redraws(discriminator: WatchedDiscriminator, context: BuildContext, device: torch.device) -> bool:
    with eval_mode(discriminator.part):
        return discriminator(torch.zeros(1, *context.image_shape, device=device)).redrawn is not None


def _refuse_unmet_needs(
    config: RunConfig, objective: Objective, autoencoder: AutoEncoder, context: BuildContext
) -> None:
    name = f"objective {config.names['objective']!r}"
    if objective.needs.posterior and not isinstance(autoencoder, HasPosterior):
        raise ConfigError(
            f"{name} needs an auto-encoder with a posterior; {config.names['autoencoder']!r} has none; "
            "use one that has, such as --autoencoder vae"
        )
    if objective.needs.labels and not context.label_width:
        raise ConfigError(f"{name} needs labels, and {config.names['dataset']!r} has none; use data with labels")
    if config.train.labelled_images is not None and not objective.needs.labels:
        raise ConfigError(f"{name} reads no labels, so labelled_images= has no meaning; leave it out")


def _refuse_second(zoo: Zoo, config: RunConfig, mixer: Mixer, context: BuildContext) -> None:
    if trainable([mixer]):
        raise ConfigError(
            f"objective {config.names['objective']!r}: its mixer must have no weights; name the one that learns with "
            "--mixer"
        )
    recipe = config.parts["objective"]
    named = [part for part in (getattr(recipe, f.name) for f in fields(recipe)) if isinstance(part, Part)]
    for part in named:
        check_takes_codes(zoo, part.name, mixer, context.latent_shape, part.recipe)


def _adam(train: Train, player: str, parameters: list[nn.Parameter], device: torch.device, recorded: bool) -> Optimizer:
    rate = train.probe_lr if player == "probe" else train.lr
    return Adam(
        parameters,
        lr=rate,
        betas=(train.beta1, train.beta2),
        weight_decay=train.weight_decay,
        fused=device.type in ("cpu", "cuda"),  # one kernel for all weights
        capturable=recorded,  # it counts steps where a graph can, which costs where there is none
    )
