"""Draws interpolations with the newest checkpoint of a run, finished or not, into its pictures directory."""

import re
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from torch import nn

from mixzoo.core.errors import ConfigError, PluginError, excerpt
from mixzoo.core.parts import Mixer
from mixzoo.evaluation.pictures import views
from mixzoo.evaluation.pictures.conditioned import aims_at_labels, conditioned_strips, pairs_with_different_labels
from mixzoo.evaluation.pictures.grid import save_png
from mixzoo.evaluation.pictures.mixer_sheet import CORNERS
from mixzoo.registry.building import check_takes_codes
from mixzoo.registry.options import Part
from mixzoo.registry.spec import Spec
from mixzoo.registry.zoo import RegisteredPart, Zoo
from mixzoo.runs.opening import Opened, build_mixer, open_run, other_mixer
from mixzoo.training.step import trainable

CATALOGUE_STEPS = 5  # mixes between two images in the sheet of every mixer
LONGEST_SLUG = 80  # characters of a mixer's spec in a file name


@dataclass(frozen=True)
class Drawn:
    """The files drawn, by kind of picture, and notes on what was left out or may differ."""

    files: dict[str, Path]
    notes: tuple[str, ...] = ()


def draw_interpolations(
    zoo: Zoo,
    run_dir: Path,
    mixer_spec: str | None,
    *,
    pairs: int,
    steps: int,
    side: int,
    device: str,
    every_mixer: bool = False,
) -> Drawn:
    """Draw strips between pairs of test images, and a triangle if the mixer takes three sources or more.

    The mixer is the run's own unless `mixer_spec` names another. `every_mixer` adds a sheet of all registered mixers on
    one path between three images. If there are fewer than `pairs` pairs of test images, all are drawn, with a note.
    """
    if min(pairs, steps - 1, side - 1) < 1:
        raise ConfigError(
            f"pairs={pairs}, steps={steps}, side={side}: pairs is at least 1, steps and side are at least 2"
        )
    run = open_run(zoo, run_dir, device)
    mixer, spec = run.players.mixer, run.config.names["mixer"]
    if mixer_spec is not None:
        mixer, spec = other_mixer(zoo, run, mixer_spec), mixer_spec
    warnings = tuple(f"warning: {line}" for line in run.changed)
    if line := views.note(run.data.test):
        warnings = (*warnings, line)
    available = len(run.data.test) // 2
    if pairs > available:
        warnings = (
            *warnings,
            f"{available} pairs, not {pairs}: there are {len(run.data.test)} test images, two to a pair",
        )
        pairs = available

    slug = _slug(spec)
    pictures, autoencoder, test = run_dir / "pictures", run.players.autoencoder, run.data.test
    strips = views.strips(autoencoder, mixer, test, pairs=pairs, steps=steps, device=run.device)
    files = {"strips": save_png(strips, pictures / f"strips-{slug}.png")}
    if every_mixer:
        mixers, omissions = _every_mixer(zoo, run)
        warnings = (*warnings, *omissions)
        sheet = views.every_mixer(autoencoder, mixers, test, steps=CATALOGUE_STEPS, device=run.device)
        files["mixers"] = save_png(sheet, pictures / "mixers.png")

    # A mixer that aims at labels shows something new only between images with different labels.
    aims = aims_at_labels(mixer, run.data, tuple(autoencoder.latent_shape), run.device)
    if aims and (labelled := pairs_with_different_labels(test, run.data.build_context().label_width, pairs)):
        conditioned = conditioned_strips(autoencoder, mixer, run.data, pairs=labelled, steps=steps, device=run.device)
        files["conditioned"] = save_png(conditioned, pictures / f"conditioned-{slug}.png")

    if mixer.k < 3:
        return Drawn(
            files, (*warnings, f"no triangle: {excerpt(spec)} mixes {mixer.k} sources; try --mixer dirichlet:k=3")
        )
    files["triangle"] = save_png(
        views.triangle(autoencoder, mixer, test, side=side, device=run.device), pictures / f"triangle-{slug}.png"
    )
    return Drawn(files, warnings)


def _every_mixer(zoo: Zoo, run: Opened) -> tuple[dict[str, Mixer], list[str]]:
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
            spec, mixer = _build_registered(zoo, run, entry)
        except ConfigError:
            left_out.append(entry.name)
        except PluginError as err:
            broken.append(f"no row of {entry.full_name}: {err}")
        else:
            if trainable([mixer]):
                left_out.append(entry.name)
            else:
                mixers[spec] = mixer
    summary = [f"not in the sheet, as they need options or training: {', '.join(left_out)}"] if left_out else []
    return mixers, [*broken, *summary]


def _build_registered(zoo: Zoo, run: Opened, entry: RegisteredPart) -> tuple[str, Mixer]:
    """A registered mixer with its spec: with three sources if it has an option k, else with default options."""
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
    return str(Spec(entry.name, options)), mixer


def _slug(spec: str) -> str:
    """The spec as part of a file name; a long one is cut and gets a checksum, so that names stay distinct."""
    slug = re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")
    return slug if len(slug) <= LONGEST_SLUG else f"{slug[:LONGEST_SLUG]}-{crc32(spec.encode()):08x}"
