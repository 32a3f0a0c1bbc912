"""Pictures of a finished or half-finished run, drawn from its newest checkpoint into its own directory."""

import re
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from torch import nn

from mixzoo.errors import ConfigError
from mixzoo.mixing import needs_map
from mixzoo.pictures import catalogue
from mixzoo.pictures.catalogue import CORNERS
from mixzoo.pictures.grid import save_png, sheet
from mixzoo.pictures.interpolation import strips, triangle
from mixzoo.plugins import Zoo
from mixzoo.protocols import Mixer, Setting
from mixzoo.run import Opened, open_run
from mixzoo.spec import Spec, parse_spec
from mixzoo.training.build import built, refuse_vector_codes
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
    home: Path,
    mixer_spec: str | None,
    *,
    pairs: int,
    steps: int,
    side: int,
    device: str,
    every_mixer: bool = False,
) -> Drawn:
    """Strips, and the triangle where the mixer takes three sources or more, with the run's mixer or another.

    With `every_mixer` a sheet beside, of every mixer on offer along one path between three images.
    """
    run = open_run(zoo, home, device)
    mixer, spec = run.players.mixer, run.config.names["mixer"]
    if mixer_spec is not None:
        mixer, spec = _other_mixer(zoo, run, mixer_spec), mixer_spec
    warnings = tuple(f"warning: {line}" for line in run.changed)
    slug = _slug(spec)
    pictures, autoencoder, test = home / "pictures", run.players.autoencoder, run.data.test
    rows = strips(autoencoder, mixer, test, pairs=pairs, steps=steps, device=run.device)
    files = {"strips": save_png(sheet(rows), pictures / f"strips-{slug}.png")}
    if every_mixer:
        found = catalogue.rows(autoencoder, _every_mixer(zoo, run), test, steps=CATALOGUE_STEPS, device=run.device)
        files["mixers"] = save_png(sheet(found), pictures / "mixers.png")
    if mixer.k < 3:
        return Drawn(files, (*warnings, f"no triangle: {spec} mixes {mixer.k} sources; try --mixer dirichlet:k=3"))
    files["triangle"] = save_png(
        triangle(autoencoder, mixer, test, side=side, device=run.device), pictures / f"triangle-{slug}.png"
    )
    return Drawn(files, warnings)


def _every_mixer(zoo: Zoo, run: Opened) -> dict[str, Mixer]:
    """The run's mixer and what has learned inside it, then every mixer on offer that needs no training.

    Of three sources where it takes any number; not one that takes other mixers, nor one that these codes do not fit.
    """
    config, own = run.config, run.players.mixer
    mixers = {f"{config.names['mixer']}, the run's": own}
    for name, inside in own.named_children() if isinstance(own, nn.Module) else []:
        if isinstance(inside, Mixer):
            mixers[f"{getattr(config.parts['mixer'], name).name}, the run's"] = inside
    for offer in zoo.of_kind("mixer"):
        options = zoo.options("mixer", offer.full_name)
        if any(option.required for option in options):
            continue
        spec = Spec(offer.full_name, {"k": str(CORNERS)} if "k" in {option.name for option in options} else {})
        mixer = _built(zoo, run, spec, f"mixer {offer.name!r}")
        if not trainable([mixer]) and not (needs_map(mixer) and len(run.players.autoencoder.latent_shape) == 1):
            mixers[str(Spec(offer.name, spec.options))] = mixer
    return mixers


def _built(zoo: Zoo, run: Opened, spec: Spec, where: str) -> Mixer:
    """The mixer of that spec, for this run's codes."""
    recipe = zoo.recipe("mixer", spec, where)
    setting = Setting(run.data.image_shape, len(run.data.class_names), tuple(run.players.autoencoder.latent_shape))
    mixer: Mixer = built(recipe, "mixer", spec.name, setting, run.config.train.seed)
    return mixer


def _other_mixer(zoo: Zoo, run: Opened, text: str) -> Mixer:
    """The mixer of that spec, for this run's codes; ConfigError where it would have to learn first."""
    spec, where = parse_spec(text, "--mixer"), f"--mixer {text}"
    mixer = _built(zoo, run, spec, where)
    if trainable([mixer]):
        raise ConfigError(f"{where}: it is a learned mixer, and only the run's own has learned here")
    refuse_vector_codes(zoo, spec.name, mixer, tuple(run.players.autoencoder.latent_shape))
    return mixer


def _slug(spec: str) -> str:
    """The spec as part of a file name; a long one is cut, with a number that tells it from others."""
    slug = re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")
    return slug if len(slug) <= LONGEST_SLUG else f"{slug[:LONGEST_SLUG]}-{crc32(spec.encode()):08x}"
