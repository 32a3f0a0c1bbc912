"""Pictures of a finished or half-finished run, drawn from its newest checkpoint into its own directory."""

import re
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from mixzoo.errors import ConfigError
from mixzoo.pictures.grid import save_png, sheet
from mixzoo.pictures.interpolation import strips, triangle
from mixzoo.plugins import Zoo
from mixzoo.protocols import Mixer, Setting
from mixzoo.run import Opened, open_run
from mixzoo.spec import parse_spec
from mixzoo.training.build import built, refuse_vector_codes
from mixzoo.training.step import trainable

LONGEST_SLUG = 80  # characters of a mixer's spec in a file name


@dataclass(frozen=True)
class Drawn:
    """The files drawn, by what they show, and lines about what was not, or may not be as it was."""

    files: dict[str, Path]
    notes: tuple[str, ...] = ()


def draw_interpolations(
    zoo: Zoo, home: Path, mixer_spec: str | None, *, pairs: int, steps: int, side: int, device: str
) -> Drawn:
    """Strips, and the triangle where the mixer takes three sources or more, with the run's mixer or another."""
    run = open_run(zoo, home, device)
    mixer, spec = run.players.mixer, run.config.names["mixer"]
    if mixer_spec is not None:
        mixer, spec = _other_mixer(zoo, run, mixer_spec), mixer_spec
    warnings = tuple(f"warning: {line}" for line in run.changed)
    slug = _slug(spec)
    pictures, autoencoder, test = home / "pictures", run.players.autoencoder, run.data.test
    rows = strips(autoencoder, mixer, test, pairs=pairs, steps=steps, device=run.device)
    files = {"strips": save_png(sheet(rows), pictures / f"strips-{slug}.png")}
    if mixer.k < 3:
        return Drawn(files, (*warnings, f"no triangle: {spec} mixes {mixer.k} sources; try --mixer dirichlet:k=3"))
    files["triangle"] = save_png(
        triangle(autoencoder, mixer, test, side=side, device=run.device), pictures / f"triangle-{slug}.png"
    )
    return Drawn(files, warnings)


def _other_mixer(zoo: Zoo, run: Opened, text: str) -> Mixer:
    """The mixer of that spec, for this run's codes; ConfigError where it would have to learn first."""
    spec, where = parse_spec(text, "--mixer"), f"--mixer {text}"
    recipe = zoo.recipe("mixer", spec, where)
    latent = tuple(run.players.autoencoder.latent_shape)
    setting = Setting(run.data.image_shape, len(run.data.class_names), latent)
    mixer: Mixer = built(recipe, "mixer", spec.name, setting, run.config.train.seed)
    if trainable([mixer]):
        raise ConfigError(f"{where}: it is a learned mixer, and only the run's own has learned here")
    refuse_vector_codes(zoo, spec.name, mixer, latent)
    return mixer


def _slug(spec: str) -> str:
    """The spec as part of a file name; a long one is cut, with a number that tells it from others."""
    slug = re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")
    return slug if len(slug) <= LONGEST_SLUG else f"{slug[:LONGEST_SLUG]}-{crc32(spec.encode()):08x}"
