"""Pictures of a finished or half-finished run, drawn from its newest checkpoint into its own directory."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from torch import nn

from mixzoo.core.errors import ConfigError, PluginError, excerpt
from mixzoo.core.parts import Mixer
from mixzoo.evaluation.pictures import views
from mixzoo.evaluation.pictures.conditioned import aims_at_labels, conditioned_strips, pairs_with_different_labels
from mixzoo.evaluation.pictures.grid import save_png
from mixzoo.evaluation.pictures.mixer_sheet import CORNERS
from mixzoo.registry.building import build_part, check_takes_codes
from mixzoo.registry.options import Part
from mixzoo.registry.spec import Spec
from mixzoo.registry.zoo import RegisteredPart, Zoo
from mixzoo.runs.opening import Opened, open_run
from mixzoo.training.step import trainable

CATALOGUE_STEPS = 5  # mixes a leg of the sheet of every mixer
LONGEST_SLUG = 80  # characters of a mixer's spec in a file name


@dataclass(frozen=True)
class Drawn:
    """The files drawn, by what they show, and lines about what was not, or may not be as it was."""

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
    """Strips, and the triangle where the mixer takes three sources or more, with the run's mixer or another.

    With `every_mixer` a sheet beside, of every mixer on offer along one path between three images. Where there are
    fewer than `pairs` pairs of test images, all are drawn and a note says how many.
    """
    if min(pairs, steps - 1, side - 1) < 1:
        raise ConfigError(
            f"pairs={pairs}, steps={steps}, side={side}: pairs is at least 1, steps and side are at least 2"
        )
    run = open_run(zoo, run_dir, device)
    mixer, spec = run.players.mixer, run.config.names["mixer"]
    if mixer_spec is not None:
        mixer, spec = _other_mixer(zoo, run, mixer_spec), mixer_spec
    warnings = tuple(f"warning: {line}" for line in run.changed)
    if line := views.note(run.data.test):
        warnings = (*warnings, line)
    if pairs > (most := len(run.data.test) // 2):
        warnings = (*warnings, f"{most} pairs, not {pairs}: there are {len(run.data.test)} test images, two to a pair")
        pairs = most
    slug = _slug(spec)
    pictures, autoencoder, test = run_dir / "pictures", run.players.autoencoder, run.data.test
    strips = views.strips(autoencoder, mixer, test, pairs=pairs, steps=steps, device=run.device)
    files = {"strips": save_png(strips, pictures / f"strips-{slug}.png")}
    if every_mixer:
        mixers, absent = _every_mixer(zoo, run)
        warnings = (*warnings, *absent)
        sheet = views.every_mixer(autoencoder, mixers, test, steps=CATALOGUE_STEPS, device=run.device)
        files["mixers"] = save_png(sheet, pictures / "mixers.png")
    aims = aims_at_labels(mixer, run.data, tuple(autoencoder.latent_shape), run.device)
    if aims and (apart := pairs_with_different_labels(test, run.data.build_context().label_width, pairs)):
        drawn = conditioned_strips(autoencoder, mixer, run.data, pairs=apart, steps=steps, device=run.device)
        files["conditioned"] = save_png(drawn, pictures / f"conditioned-{slug}.png")
    if mixer.k < 3:
        return Drawn(
            files, (*warnings, f"no triangle: {excerpt(spec)} mixes {mixer.k} sources; try --mixer dirichlet:k=3")
        )
    files["triangle"] = save_png(
        views.triangle(autoencoder, mixer, test, side=side, device=run.device), pictures / f"triangle-{slug}.png"
    )
    return Drawn(files, warnings)


def _every_mixer(zoo: Zoo, run: Opened) -> tuple[dict[str, Mixer], list[str]]:
    """The run's mixer and what has learned inside it, then every mixer on offer; and a line on those left out.

    Of three sources where a mixer takes that many. Left out are mixers that need an option, do not take these codes, or
    would have to learn first; one that its plugin got wrong has a line of its own.
    """
    config, own = run.config, run.players.mixer
    mixers, broken, left_out = {f"{config.names['mixer']}, the run's": own}, list[str](), list[str]()
    for name, inside in own.named_children() if isinstance(own, nn.Module) else []:
        part = getattr(config.parts["mixer"], name, None)
        if isinstance(inside, Mixer) and isinstance(part, Part):
            mixers[f"{name}={part.name}, the run's"] = inside
    for entry in zoo.of_kind("mixer"):
        try:
            spec, mixer = _offered(zoo, run, entry)
        except ConfigError:
            left_out.append(entry.name)
        except PluginError as err:
            broken.append(f"no row of {entry.full_name}: {err}")
        else:
            if trainable([mixer]):
                left_out.append(entry.name)
            else:
                mixers[spec] = mixer
    quiet = [f"not in the sheet, as they need options or training: {', '.join(left_out)}"] if left_out else []
    return mixers, [*broken, *quiet]


def _offered(zoo: Zoo, run: Opened, entry: RegisteredPart) -> tuple[str, Mixer]:
    """A mixer on offer and what a row calls it: of three sources, or with its default options."""
    takes_k = any(option.name == "k" for option in zoo.options("mixer", entry.full_name))
    for options in ([{"k": str(CORNERS)}] if takes_k else []) + [{}]:
        try:
            recipe = zoo.recipe("mixer", Spec(entry.full_name, options), f"mixer {entry.name!r}")
            break
        except ConfigError:
            if not options:
                raise
    mixer = _built(run, recipe, entry.full_name)
    check_takes_codes(zoo, entry.name, mixer, tuple(run.players.autoencoder.latent_shape), recipe)
    return str(Spec(entry.name, options)), mixer


def _built(run: Opened, recipe: Any, name: str) -> Mixer:
    """The mixer of that recipe, for this run's codes."""
    context = run.data.build_context(tuple(run.players.autoencoder.latent_shape))
    mixer: Mixer = build_part(recipe, "mixer", name, context, run.config.train.seed)
    return mixer


def _other_mixer(zoo: Zoo, run: Opened, text: str) -> Mixer:
    """The mixer of that spec, for this run's codes; ConfigError where it would have to learn first."""
    spec, where = zoo.spec("mixer", text, "--mixer"), f"--mixer {excerpt(text)}"
    recipe = zoo.recipe("mixer", spec, where)
    mixer = _built(run, recipe, spec.name)
    if trainable([mixer]):
        raise ConfigError(f"{where}: it is a learned mixer, and only the run's own has learned here")
    check_takes_codes(zoo, spec.name, mixer, tuple(run.players.autoencoder.latent_shape), recipe)
    return mixer


def _slug(spec: str) -> str:
    """The spec as part of a file name; a long one is cut, with a number that tells it from others."""
    slug = re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")
    return slug if len(slug) <= LONGEST_SLUG else f"{slug[:LONGEST_SLUG]}-{crc32(spec.encode()):08x}"
