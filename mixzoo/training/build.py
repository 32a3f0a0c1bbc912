"""Recipes -> built parts: seeded, checked against their contract, on the device."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from mixzoo.config import RunConfig, Train
from mixzoo.draws import seed_for
from mixzoo.errors import ConfigError, PluginError, listing
from mixzoo.evaluation.codes import evaluating
from mixzoo.evaluation.probe import build_probe, tells
from mixzoo.mixing import needs_map
from mixzoo.options import Part, options_of
from mixzoo.plugins import Zoo
from mixzoo.protocols import (
    AutoEncoder,
    Dataset,
    DatasetRecipe,
    Discriminator,
    Metric,
    Mixer,
    Objective,
    Setting,
)
from mixzoo.training.distributed import ALONE, World
from mixzoo.training.sharing import batch_norm_of
from mixzoo.training.step import Players, trainable

PROTOCOLS = {
    "autoencoder": AutoEncoder,
    "discriminator": Discriminator,
    "mixer": Mixer,
    "objective": Objective,
    "dataset": DatasetRecipe,
    "metric": Metric,
}


def build_players(
    zoo: Zoo, config: RunConfig, data: Dataset, device: torch.device, *, restored: bool = False, world: World = ALONE
) -> Players:
    """Everything the run trains, initialised from its seed; `restored` where a checkpoint replaces the weights.

    The processes of `world` share each batch.
    """
    setting = replace(data.setting(), restored=restored)
    autoencoder = build_part(config, "autoencoder", setting).to(device)
    setting = replace(setting, latent_shape=tuple(autoencoder.latent_shape))
    objective = build_part(config, "objective", setting)
    mixer = build_part(config, "mixer", setting)
    refuse_vector_codes(zoo, config.names["mixer"], mixer, setting.latent_shape, config.parts["mixer"])
    if isinstance(mixer, nn.Module):
        mixer = mixer.to(device)
    discriminator = _discriminator(config, setting, objective, device) if objective.needs.discriminator else None
    probe = _seeded(config.train.seed, "probe", lambda: build_probe(setting).to(device)) if tells(setting) else None
    _refuse_unmet_needs(config, objective, autoencoder, setting)
    if objective.needs.second is not None:
        _refuse_second(zoo, config, objective.needs.second, setting)
        if isinstance(objective.needs.second, nn.Module):
            objective.needs.second.to(device)
    moved = {
        "autoencoder": trainable([autoencoder, mixer] if objective.needs.mix else [autoencoder]),
        "discriminator": trainable([discriminator]),
        "probe": trainable([probe]),
    }
    recorded = device.type == "cuda" and config.train.engine in ("auto", "graph") and world.size == 1
    optimisers = {n: _adam(config.train, n, params, device, recorded) for n, params in moved.items() if params}
    return Players(autoencoder, mixer, discriminator, probe, objective, optimisers, setting.label_width, world)


def build_part(config: RunConfig, kind: str, setting: Setting) -> Any:
    """The run's part of that kind, initialised from the run's seed."""
    return built(config.parts[kind], kind, config.names[kind], setting, config.train.seed)


def built(recipe: Any, kind: str, name: str, setting: Setting, seed: int) -> Any:
    """A part from its recipe; ConfigError where it does not fit the data, PluginError where it is no such part."""
    try:
        part = _seeded(seed, kind, lambda: recipe.build(setting)) if hasattr(recipe, "build") else recipe
    except ValueError as err:
        raise ConfigError(f"{kind} {name!r}: {err}") from err
    if not isinstance(part, PROTOCOLS[kind]):
        protocol = PROTOCOLS[kind]
        members = [m for m in (*vars(protocol), *protocol.__annotations__) if not m.startswith("_") or m == "__call__"]
        missing = listing(m for m in members if not hasattr(part, m))
        raise PluginError(f"{kind} {name!r} is no {protocol.__name__}: it lacks {missing}")
    return part


def refuse_vector_codes(zoo: Zoo, name: str, mixer: Mixer, latent: tuple[int, ...], recipe: Any = None) -> None:
    """ConfigError, with the mixers that fit, for one that mixes positions of a map where codes are no maps.

    `recipe`, what the mixer was built from, tells which part inside it is at fault.
    """
    if not needs_map(mixer) or len(latent) == 3:
        return
    inner = _needing_map(recipe)
    fit = listing(
        offer.name
        for offer in zoo.of_kind("mixer")
        if not needs_map(offer.recipe) and not any(option.required for option in options_of(offer.recipe))
    )
    which = f"holds {inner!r}, which " if inner else ""
    raise ConfigError(
        f"mixer {name!r} {which}mixes positions of a map [channels, height, width], and codes here are {latent}; "
        f"use an auto-encoder whose code is a map, or a mixer that takes vectors ({fit})"
    )


def _needing_map(recipe: Any) -> str:
    """The name of the part inside a recipe that needs a map, or ''."""
    inside = [getattr(recipe, f.name) for f in fields(recipe)] if is_dataclass(recipe) else []
    for part in inside:
        if isinstance(part, Part) and (found := _needing_map(part.recipe) or part.name * needs_map(part.recipe)):
            return found
    return ""


def _discriminator(config: RunConfig, setting: Setting, objective: Objective, device: torch.device) -> Any:
    """D, with a head for the label where the objective needs one; ConfigError where it has none to give."""
    setting = replace(setting, head=setting.label_width if objective.needs.attributes else 0)
    discriminator = build_part(config, "discriminator", setting).to(device)
    if found := batch_norm_of(discriminator):
        raise ConfigError(
            f"discriminator {config.names['discriminator']!r}: {found} makes the score of an image depend on the "
            "others of its batch, real and fake ones together; use one without, such as amr or acai"
        )
    if setting.head:
        with evaluating(discriminator):
            said = discriminator(torch.zeros(1, *setting.image_shape, device=device)).attributes
        if said is None or said.shape != (1, setting.head):
            raise ConfigError(
                f"objective {config.names['objective']!r} needs a discriminator that says {setting.head} numbers of "
                f"the label, and {config.names['discriminator']!r} says {0 if said is None else said.shape[1]}; use "
                "one with an attribute head, such as amr or acai"
            )
    if objective.needs.redrawn and not _redraws(discriminator, setting, device):
        raise ConfigError(
            f"objective {config.names['objective']!r} needs a discriminator that is an auto-encoder, and "
            f"{config.names['discriminator']!r} is none; use one that redraws images, such as "
            "--discriminator autoencoding"
        )
    return discriminator


def _redraws(discriminator: Any, setting: Setting, device: torch.device) -> bool:
    with evaluating(discriminator):
        return discriminator(torch.zeros(1, *setting.image_shape, device=device)).redrawn is not None


def _refuse_unmet_needs(config: RunConfig, objective: Objective, autoencoder: AutoEncoder, setting: Setting) -> None:
    name = f"objective {config.names['objective']!r}"
    if objective.needs.posterior and not hasattr(autoencoder, "posterior"):
        raise ConfigError(
            f"{name} needs an auto-encoder with a posterior; {config.names['autoencoder']!r} has none; "
            "use one that has, such as --autoencoder vae"
        )
    if objective.needs.labels and not setting.label_width:
        raise ConfigError(f"{name} needs labels, and {config.names['dataset']!r} has none; use data with labels")
    if config.train.labelled_images is not None and not objective.needs.labels:
        raise ConfigError(f"{name} reads no labels, so labelled_images= has no meaning; leave it out")


def _refuse_second(zoo: Zoo, config: RunConfig, mixer: Mixer, setting: Setting) -> None:
    if trainable([mixer]):
        raise ConfigError(
            f"objective {config.names['objective']!r}: its mixer must have no weights; name the one that learns with "
            "--mixer"
        )
    recipe = config.parts["objective"]
    named = [part for part in (getattr(recipe, f.name) for f in fields(recipe)) if isinstance(part, Part)]
    for part in named:
        refuse_vector_codes(zoo, part.name, mixer, setting.latent_shape, part.recipe)


def _seeded(seed: int, purpose: str, make: Any) -> Any:
    """What `make` returns with torch's generator seeded for this purpose; the caller's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for(seed, f"init/{purpose}"))  # parts are built on the CPU
        return make()


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
