"""Recipes -> built parts: seeded, checked against their contract, on the device."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from mixzoo.config import RunConfig, Train
from mixzoo.contract import Contract, signatures
from mixzoo.draws import seed_for
from mixzoo.errors import ConfigError, PluginError, listing
from mixzoo.evaluation.codes import evaluating
from mixzoo.evaluation.probe import build_probe, tells
from mixzoo.mixing import needs_map
from mixzoo.options import Part, options_of
from mixzoo.plugins import Zoo
from mixzoo.protocols import (
    AutoEncoder,
    BuildContext,
    Dataset,
    DatasetRecipe,
    Discriminator,
    Metric,
    Mixer,
    Needs,
    Objective,
)
from mixzoo.training.distributed import ALONE, World
from mixzoo.training.sharing import batch_norm_of
from mixzoo.training.step import Players, trainable
from mixzoo.training.watched import WatchedDiscriminator, check_latent_shape, check_module, described

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
    context = replace(data.build_context(), restored=restored)
    autoencoder = build_part(zoo, config, "autoencoder", context).to(device)
    context = replace(context, latent_shape=tuple(autoencoder.latent_shape))
    objective = build_part(zoo, config, "objective", context)
    mixer = build_part(zoo, config, "mixer", context)
    check_takes_codes(zoo, config.names["mixer"], mixer, context.latent_shape, config.parts["mixer"])
    if isinstance(mixer, nn.Module):
        mixer = mixer.to(device)
    discriminator = _discriminator(zoo, config, context, objective, device) if objective.needs.discriminator else None
    probe = _seeded(config.train.seed, "probe", lambda: build_probe(context).to(device)) if tells(context) else None
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


def build_part(zoo: Zoo, config: RunConfig, kind: str, context: BuildContext) -> Any:
    """The run's part of that kind, initialised from the run's seed."""
    name = config.names[kind]
    return built(config.parts[kind], kind, name, context, config.train.seed, zoo.plugin_of(kind, name))


def built(recipe: Any, kind: str, name: str, context: BuildContext, seed: int, plugin: str = "") -> Any:
    """A part from its recipe; ConfigError if it does not fit the data, PluginError if it is no such part.

    `plugin` is who offers it, for that message.
    """
    contract, part = Contract(kind, name, plugin), recipe
    if hasattr(recipe, "build"):
        try:
            part = contract.call("build", _seeded, seed, kind, lambda: recipe.build(context))
        except PluginError as err:
            if isinstance(err.__cause__, ValueError):  # how a part refuses what does not fit it
                raise ConfigError(f"{kind} {name!r}: {err.__cause__}") from err.__cause__
            raise
    check_is_a_part(contract, part)
    return part


def check_is_a_part(contract: Contract, part: Any) -> None:
    """PluginError that names what a built part lacks, or which of its attributes is not what it should be."""
    kind, protocol = contract.kind, cast("type[Any]", PROTOCOLS[contract.kind])
    if not isinstance(part, protocol):
        members = [m for m in (*vars(protocol), *protocol.__annotations__) if not m.startswith("_") or m == "__call__"]
        missing = sorted(m for m in members if not hasattr(part, m))
        raise PluginError(
            f"{contract} is no {protocol.__name__}: it lacks {listing(missing)}; expected {signatures(kind, missing)}"
        )
    if kind in ("autoencoder", "discriminator"):
        check_module(contract, part)
    if kind == "autoencoder":
        check_latent_shape(contract, part.latent_shape)
    if kind == "objective" and not isinstance(part.needs, Needs):
        raise contract.broken("needs", f"needs is {described(part.needs)}")
    if kind == "mixer" and (type(part.k) is not int or part.k < 2):
        raise contract.broken("k", f"k is {described(part.k)}")


def check_takes_codes(zoo: Zoo, name: str, mixer: Mixer, latent: tuple[int, ...], recipe: Any = None) -> None:
    """ConfigError, with the mixers that fit, for one that mixes positions of a map where codes are no maps.

    `recipe`, what the mixer was built from, tells which part inside it is at fault.
    """
    if not needs_map(mixer) or len(latent) == 3:
        return
    inner = _needing_map(recipe)
    fit = listing(
        entry.name
        for entry in zoo.of_kind("mixer")
        if not needs_map(entry.recipe) and not any(option.required for option in options_of(entry.recipe))
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


def _discriminator(
    zoo: Zoo, config: RunConfig, context: BuildContext, objective: Objective, device: torch.device
) -> Any:
    """D, with a head for the label where the objective needs one; ConfigError where it has none to give."""
    context = replace(context, num_labels=context.label_width if objective.needs.attributes else 0)
    discriminator = build_part(zoo, config, "discriminator", context).to(device)
    if found := batch_norm_of(discriminator):
        raise ConfigError(
            f"discriminator {config.names['discriminator']!r}: {found} makes the score of an image depend on the "
            "others of its batch, real and fake ones together; use one without, such as amr or acai"
        )
    watched = WatchedDiscriminator(discriminator, Contract("discriminator", config.names["discriminator"]))
    if context.num_labels:
        with evaluating(discriminator):
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
    with evaluating(discriminator.part):
        return discriminator(torch.zeros(1, *context.image_shape, device=device)).redrawn is not None


def _refuse_unmet_needs(
    config: RunConfig, objective: Objective, autoencoder: AutoEncoder, context: BuildContext
) -> None:
    name = f"objective {config.names['objective']!r}"
    if objective.needs.posterior and not hasattr(autoencoder, "posterior"):
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
