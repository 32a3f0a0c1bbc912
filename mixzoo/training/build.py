"""Recipes -> built parts: seeded, checked against their contract, on the device."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from mixzoo.core.data import Dataset
from mixzoo.core.errors import ConfigError
from mixzoo.core.objective import Losses, Objective
from mixzoo.core.parts import AutoEncoder, BuildContext, HasPosterior, Mixer
from mixzoo.core.requirements import Requirements
from mixzoo.core.stand_in import StandInBatch
from mixzoo.core.stand_in_case import Sizes, Variation
from mixzoo.evaluation.codes import eval_mode
from mixzoo.evaluation.probe import build_probe, has_labels
from mixzoo.registry.building import build_part, check_takes_codes, seeded
from mixzoo.registry.config import RunConfig, Train
from mixzoo.registry.contract import Contract, described
from mixzoo.registry.options import Part
from mixzoo.registry.recipes import input_shape
from mixzoo.registry.zoo import Zoo
from mixzoo.training.distributed import SINGLE_PROCESS, DistributedContext
from mixzoo.training.learning_rate import SCHEDULED, is_scheduled, keep_rate_on_device
from mixzoo.training.parallel_checks import batch_norm_of
from mixzoo.training.players import Players
from mixzoo.training.step import trainable
from mixzoo.training.watched import WatchedDiscriminator

STAND_IN_EXAMPLES = 2


def build_players(
    zoo: Zoo,
    config: RunConfig,
    data: Dataset,
    device: torch.device,
    *,
    restored: bool = False,
    distributed: DistributedContext = SINGLE_PROCESS,
) -> Players:
    """Everything the run trains, initialised from its seed; `restored` if a checkpoint will replace the weights.

    The processes of `distributed` share each batch.
    """
    # Each part is seeded by its kind, so the order in which they are built changes none of them.
    context = replace(data.build_context(), restored=restored)
    autoencoder = _part(zoo, config, "autoencoder", context).to(device)
    context = replace(context, latent_shape=tuple(autoencoder.latent_shape))
    objective = _part(zoo, config, "objective", context)
    mixer = _part(zoo, config, "mixer", context)
    check_takes_codes(zoo, config.names["mixer"], mixer, context.latent_shape, config.parts["mixer"])
    if isinstance(mixer, nn.Module):
        mixer = mixer.to(device)

    # One call of the objective on a stand-in batch finds what else it needs; unmet requirements raise ConfigError.
    requirements = _requirements(zoo, config, objective, autoencoder, mixer, context, device)
    _check_requirements_are_met(config, requirements, autoencoder, context)
    for other in requirements.other_mixers:
        _check_other_mixer(zoo, config, other, context)
        if isinstance(other, nn.Module):
            other.to(device)
    discriminator = _discriminator(zoo, config, context, requirements, device) if requirements.discriminator else None
    probe = seeded(config.train.seed, "probe", lambda: build_probe(context).to(device)) if has_labels(context) else None

    # One optimiser per player; a mixer with weights learns with the auto-encoder, and a frozen player has none.
    trained = {
        "autoencoder": trainable([autoencoder, mixer] if requirements.mixes else [autoencoder]),
        "discriminator": trainable([discriminator]),
        "probe": trainable([probe]),
    }
    # An optimiser in a CUDA graph must be capturable; whether `auto` falls back is known only at the first step.
    graphs = config.train.engine not in ("eager", "compile") and distributed.world_size == 1
    recorded = device.type == "cuda" and graphs
    optimisers = {n: _adam(config.train, n, params, device, recorded) for n, params in trained.items() if params}
    return Players(
        autoencoder, mixer, discriminator, probe, objective, optimisers, requirements, context.label_width, distributed,
        clip_grad=config.train.clip_grad,
    )  # fmt: skip


def _part(zoo: Zoo, config: RunConfig, kind: str, context: BuildContext) -> Any:
    """The run's part of that kind, initialised from the run's seed."""
    name = config.names[kind]
    return build_part(config.parts[kind], kind, name, context, config.train.seed, zoo.plugin_of(kind, name))


def _requirements(
    zoo: Zoo,
    config: RunConfig,
    objective: Objective,
    autoencoder: AutoEncoder,
    mixer: Mixer,
    context: BuildContext,
    device: torch.device,
) -> Requirements:
    """What the objective asks for, found with a stand-in batch of the run's sizes.

    The discriminator is not built yet, so a penalty on its slope goes through a stand-in too.
    """
    sizes = Sizes(
        STAND_IN_EXAMPLES, context.image_shape, context.latent_shape, context.classes, context.attributes, mixer.k
    )
    batch = StandInBatch(sizes, autoencoder=autoencoder, device=device, variation=Variation(dtype=torch.float32))
    contract = Contract("objective", config.names["objective"], zoo.plugin_of("objective", config.names["objective"]))
    with torch.enable_grad():
        losses = contract.call("losses", objective.losses, batch)
    if not isinstance(losses, Losses):
        raise contract.broken("losses", f"losses returned {described(losses)}")
    return batch.requirements(losses)


def _discriminator(
    zoo: Zoo, config: RunConfig, context: BuildContext, requirements: Requirements, device: torch.device
) -> Any:
    """D, with a label head if the objective reads label logits. Raises ConfigError if D lacks what is read."""
    context = replace(context, num_labels=context.label_width if requirements.label_logits else 0)
    discriminator = _part(zoo, config, "discriminator", context).to(device)
    objective, name = f"objective {config.names['objective']!r}", config.names["discriminator"]
    if found := batch_norm_of(discriminator):
        raise ConfigError(
            f"discriminator {name!r}: {found} makes the score of an image depend on the others of its batch, real and "
            "fake ones together; use one without, such as amr or acai"
        )
    if not (requirements.label_logits or requirements.reconstruction):
        return discriminator
    watched = WatchedDiscriminator(discriminator, Contract("discriminator", name))
    with eval_mode(discriminator):
        scores = watched(torch.zeros(1, *input_shape(config.parts["discriminator"], context), device=device))
    if requirements.label_logits and (
        scores.label_logits is None or scores.label_logits.shape != (1, context.num_labels)
    ):
        given = 0 if scores.label_logits is None else scores.label_logits.shape[1]
        raise ConfigError(
            f"{objective} needs a discriminator with logits of {context.num_labels} label numbers, and {name!r} has "
            f"{given}; use one with a label head, such as amr or acai"
        )
    if requirements.reconstruction and scores.reconstruction is None:
        raise ConfigError(
            f"{objective} needs a discriminator that is an auto-encoder, and {name!r} is none; use one that "
            "reconstructs images, such as --discriminator autoencoding"
        )
    return discriminator


def _check_requirements_are_met(
    config: RunConfig, requirements: Requirements, autoencoder: AutoEncoder, context: BuildContext
) -> None:
    """Raises ConfigError if the auto-encoder or the data lack what the objective asks for."""
    name = f"objective {config.names['objective']!r}"
    if requirements.posterior and not isinstance(autoencoder, HasPosterior):
        raise ConfigError(
            f"{name} needs an auto-encoder with a posterior; {config.names['autoencoder']!r} has none; "
            "use one that has, such as --autoencoder vae"
        )
    if requirements.labels and not context.label_width:
        raise ConfigError(f"{name} needs labels, and {config.names['dataset']!r} has none; use data with labels")
    if config.train.labelled_images is not None and not requirements.labels:
        raise ConfigError(f"{name} reads no labels, so labelled_images= has no meaning; leave it out")


def _check_other_mixer(zoo: Zoo, config: RunConfig, mixer: Mixer, context: BuildContext) -> None:
    """Raise ConfigError if a mixer that the objective brings along has weights or cannot mix these codes."""
    if trainable([mixer]):
        raise ConfigError(
            f"objective {config.names['objective']!r}: its mixer must have no weights; name the one that learns with "
            "--mixer"
        )
    recipe = config.parts["objective"]
    # getattr: the fields of a recipe are known only to its plugin.
    named = [part for part in (getattr(recipe, f.name) for f in fields(recipe)) if isinstance(part, Part)]
    for part in named:
        check_takes_codes(zoo, part.name, mixer, context.latent_shape, part.recipe)


def _adam(train: Train, player: str, parameters: list[nn.Parameter], device: torch.device, recorded: bool) -> Optimizer:
    rate = train.probe_lr if player == "probe" else train.lr
    adam = Adam(
        parameters,
        lr=rate,
        betas=(train.beta1, train.beta2),
        weight_decay=train.weight_decay,
        fused=device.type in ("cpu", "cuda"),  # one kernel for all weights
        capturable=recorded,  # keeps the step count on the GPU, which is slower outside a graph
    )
    if device.type == "cuda" and player in SCHEDULED and is_scheduled(train):
        keep_rate_on_device(adam, device)
    return adam
