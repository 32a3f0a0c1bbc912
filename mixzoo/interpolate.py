"""Pictures of a finished or half-finished run, drawn from its newest checkpoint into its own directory."""

import re
from dataclasses import dataclass
from pathlib import Path

from mixzoo.errors import ConfigError
from mixzoo.pictures.grid import save_png, sheet
from mixzoo.pictures.interpolation import strips, triangle
from mixzoo.plugins import Zoo
from mixzoo.run import open_run


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
        mixer, spec = zoo.recipe("mixer", mixer_spec, f"--mixer {mixer_spec}"), mixer_spec
        if hasattr(mixer, "build"):
            raise ConfigError(f"--mixer {mixer_spec}: it is a learned mixer, and only the run's own has learned here")
    warnings = tuple(f"warning: {line}" for line in run.changed)
    slug = re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")
    pictures, autoencoder, test = home / "pictures", run.players.autoencoder, run.data.test
    rows = strips(autoencoder, mixer, test, pairs=pairs, steps=steps, device=run.device)
    files = {"strips": save_png(sheet(rows), pictures / f"strips-{slug}.png")}
    if mixer.k < 3:
        return Drawn(files, (*warnings, f"no triangle: {spec} mixes {mixer.k} sources; try --mixer dirichlet:k=3"))
    files["triangle"] = save_png(
        triangle(autoencoder, mixer, test, side=side, device=run.device), pictures / f"triangle-{slug}.png"
    )
    return Drawn(files, warnings)
