"""Draws interpolations with the newest checkpoint of a run, finished or not, into its pictures directory."""

import re
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from mixzoo.core.errors import ConfigError, excerpt
from mixzoo.evaluation.pictures import views
from mixzoo.evaluation.pictures.conditioned import aims_at_labels, conditioned_strips, pairs_with_different_labels
from mixzoo.evaluation.pictures.grid import save_png
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.fitting_mixers import mixers_for
from mixzoo.runs.opening import open_run, other_mixer

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
        mixers, omissions = mixers_for(zoo, run)
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


def _slug(spec: str) -> str:
    """The spec as part of a file name; a long one is cut and gets a checksum, so that names stay distinct."""
    slug = re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")
    return slug if len(slug) <= LONGEST_SLUG else f"{slug[:LONGEST_SLUG]}-{crc32(spec.encode()):08x}"
