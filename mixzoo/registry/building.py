"""A recipe -> its part: seeded, and checked against the protocol of its kind."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch

from mixzoo.core.errors import ConfigError, PluginError, listing
from mixzoo.core.mixing import needs_map
from mixzoo.core.parts import BuildContext, Mixer
from mixzoo.core.random import seed_for
from mixzoo.registry.contract import Contract, check_follows_protocol, described
from mixzoo.registry.options import Part, options_of
from mixzoo.registry.recipes import part_of
from mixzoo.registry.zoo import Zoo

T = TypeVar("T")


def build_part(recipe: Any, kind: str, name: str, context: BuildContext, seed: int = 0, plugin: str = "") -> Any:
    """The part that the recipe stands for, its weights initialised from the seed; `name` and `plugin` are for errors.

    Raises ConfigError if the part does not fit the context, and PluginError if it breaks the contract of its kind.
    """
    contract = Contract(kind, name, plugin)
    try:
        part = contract.call("build", lambda: seeded(seed, kind, lambda: part_of(recipe, context)))
    except PluginError as err:
        if isinstance(err.__cause__, ValueError):  # how a part says that it does not fit
            raise ConfigError(f"{kind} {name!r}: {err.__cause__}") from err.__cause__
        raise
    check_part(contract, part)
    return part


def seeded(seed: int, purpose: str, make: Callable[[], T]) -> T:
    """What `make` returns with torch's generator seeded for this purpose; the caller's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for(seed, f"init/{purpose}"))  # parts are built on the CPU
        return make()


def check_part(contract: Contract, part: Any) -> None:
    """Raises PluginError, with what was expected, if a member of a built part is missing or of another type."""
    check_follows_protocol(contract, part)
    if contract.kind in ("autoencoder", "discriminator"):
        check_module(contract, part)
    if contract.kind == "autoencoder":
        check_latent_shape(contract, part.latent_shape)
    if contract.kind == "mixer" and (type(part.k) is not int or part.k < 2):
        raise contract.broken("k", f"k is {described(part.k)}")


def check_module(contract: Contract, part: Any) -> None:
    """Raises PluginError if a network is not a torch.nn.Module, or has weights that have no shape yet."""
    if not isinstance(part, torch.nn.Module):
        raise contract.broken("build", f"build returned {described(part)}, which is not a torch.nn.Module")
    tensors = (*part.named_parameters(), *part.named_buffers())
    if lazy := [name for name, tensor in tensors if torch.nn.parameter.is_lazy(tensor)]:
        raise contract.broken("build", f"{lazy[0]} has no shape before a first pass (a lazy layer); let build make one")


def check_latent_shape(contract: Contract, shape: Any) -> None:
    """Raises PluginError if the shape of a code is neither that of a map nor that of a vector."""
    is_shape = isinstance(shape, tuple | list | torch.Size) and len(shape) in (1, 3)
    if not is_shape or not all(type(n) is int and n > 0 for n in shape):
        raise contract.broken("latent_shape", f"latent_shape is {described(shape)}")


def check_takes_codes(zoo: Zoo, name: str, mixer: Mixer, latent: tuple[int, ...], recipe: Any = None) -> None:
    """Raises ConfigError, with mixers that fit, if the mixer mixes positions of a map and codes of this shape are none.

    `recipe`, what the mixer was built from, tells which mixer inside it is at fault.
    """
    if not needs_map(mixer) or len(latent) == 3:
        return
    inner = _part_that_needs_map(recipe)
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


def _part_that_needs_map(recipe: Any) -> str:
    """The name of the innermost part of a recipe that needs a map, or ''."""
    inside = [getattr(recipe, f.name) for f in fields(recipe)] if is_dataclass(recipe) else []
    for part in inside:
        if isinstance(part, Part) and (
            found := _part_that_needs_map(part.recipe) or part.name * needs_map(part.recipe)
        ):
            return found
    return ""
