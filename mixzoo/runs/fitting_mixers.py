"""Every mixer that can mix the codes of a run: its own, and the registered ones that need no training."""

from typing import Any

from torch import nn

from mixzoo.core.errors import ConfigError, PluginError
from mixzoo.core.parts import Mixer
from mixzoo.evaluation.pictures.mixer_sheet import CORNERS
from mixzoo.registry.building import check_takes_codes
from mixzoo.registry.options import Part
from mixzoo.registry.spec import Spec
from mixzoo.registry.zoo import RegisteredPart, Zoo
from mixzoo.runs.opening import Opened, build_mixer
from mixzoo.training.step import trainable


def mixers_for(zoo: Zoo, run: Opened) -> tuple[dict[str, Mixer], list[str]]:
    """The run's mixer and the learned mixers inside it, then every registered mixer; and notes on those left out.

    A mixer with an option k gets three sources. Mixers are left out if they need options, do not take these codes, or
    need training; a broken one has its own note.
    """
    config, own = run.config, run.players.mixer
    mixers, broken, left_out = {f"{config.names['mixer']}, the run's": own}, list[str](), list[str]()
    for name, inside in own.named_children() if isinstance(own, nn.Module) else []:
        part = getattr(config.parts["mixer"], name, None)
        if isinstance(inside, Mixer) and isinstance(part, Part):
            mixers[f"{name}={part.name}, the run's"] = inside
    for entry in zoo.of_kind("mixer"):
        try:
            spec, recipe, mixer = _build_registered(zoo, run, entry)
        except ConfigError:
            left_out.append(entry.name)
        except PluginError as err:
            broken.append(f"no row of {entry.full_name}: {err}")
        else:
            if trainable([mixer]):
                left_out.append(entry.name)
            elif recipe != config.parts["mixer"]:  # the run's own is there already
                mixers[spec] = mixer
    summary = [f"not in the sheet, as they need options or training: {', '.join(left_out)}"] if left_out else []
    return mixers, [*broken, *summary]


def _build_registered(zoo: Zoo, run: Opened, entry: RegisteredPart) -> tuple[str, Any, Mixer]:
    """A registered mixer, its spec and its recipe: with three sources if it has an option k, else with its defaults."""
    takes_k = any(option.name == "k" for option in zoo.options("mixer", entry.full_name))
    for options in ([{"k": str(CORNERS)}] if takes_k else []) + [{}]:
        try:
            recipe = zoo.recipe("mixer", Spec(entry.full_name, options), f"mixer {entry.name!r}")
            break
        except ConfigError:
            if not options:
                raise
    mixer = build_mixer(run, recipe, entry.full_name)
    check_takes_codes(zoo, entry.name, mixer, tuple(run.players.autoencoder.latent_shape), recipe)
    return str(Spec(entry.name, options)), recipe, mixer
