"""Draws a figure of runs: opens them, chooses the images, calls the figure, and wraps what it returns for saving."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mixzoo.core.arguments import path_of
from mixzoo.core.data import Dataset
from mixzoo.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MixzooError,
    NonFiniteError,
    listing,
    path_excerpt,
    printable,
)
from mixzoo.core.figure import Animation, Drawable, Figure, FigureRequest, FigureRun, HasCheckRun
from mixzoo.core.parts import Mixer
from mixzoo.core.storage import write_whole
from mixzoo.evaluation.pictures.scatter import picture_of
from mixzoo.evaluation.pictures.style import DPI, FORMS, figure_bytes
from mixzoo.registry.contract import Contract, check_follows_protocol, described
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.chosen_images import Images, chooser
from mixzoo.runs.comparing import variants_of
from mixzoo.runs.fitting_mixers import mixers_for
from mixzoo.runs.listing import PARTS, RunRecord, dotted
from mixzoo.runs.opening import Opened, open_run

MOST_RUNS = 24  # in one figure
MOST_PIXELS = 50_000_000  # of a figure
LARGEST_SCALE = 64
STILL, MOVING = (*FORMS, ".webp"), (".gif", ".webp")  # endings of the files
BOOKKEEPING = ("log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints", "engine")  # not in a label
ALIKE = 16  # test images that are compared to tell whether two runs have the same data


@dataclass(frozen=True)
class Drawing:
    """A figure that has been drawn; `save` writes it, and a notebook displays it."""

    content: Drawable  # a PIL image, a matplotlib Figure or an Animation
    notes: tuple[str, ...] = ()  # a line for each run that is left out, and for what a reader should know

    @property
    def endings(self) -> tuple[str, ...]:
        """What the name of its file may end in, the usual one first."""
        return MOVING if isinstance(self.content, Animation) else STILL

    @property
    def picture(self) -> Image.Image:
        """The figure as a picture; of an animation, its first frame."""
        if isinstance(self.content, Animation):
            return self.content.frames[0]
        return self.content if isinstance(self.content, Image.Image) else picture_of(self.content)

    def save(self, path: str | Path) -> Path:
        """Write the figure as PNG, SVG, PDF or WebP, an animation as GIF or WebP, by the ending of the path.

        A file that is there is overwritten. Raises ConfigError for another ending, StorageError if the file cannot be
        written.
        """
        file = path_of(path, "path")
        ending = file.suffix.lower()
        if ending not in self.endings:
            what = "this figure moves" if isinstance(self.content, Animation) else "this figure does not move"
            raise ConfigError(f"{path_excerpt(file)}: {what}; end the name in {listing(self.endings)}")
        write_whole(file, self._bytes(ending))
        return file

    def _bytes(self, ending: str) -> bytes:
        content, buffer = self.content, BytesIO()
        if isinstance(content, Animation):
            first, *others = content.frames
            more: dict[str, Any] = {"lossless": True} if ending == ".webp" else {}
            milliseconds = max(20, round(1000 * content.seconds))
            first.save(
                buffer, ending[1:].upper(), save_all=True, append_images=others, duration=milliseconds, loop=0, **more
            )
        elif ending == ".webp":
            self.picture.save(buffer, "WEBP", lossless=True)
        elif not isinstance(content, Image.Image):
            return figure_bytes(content, ending)
        elif ending == ".png":
            content.save(buffer, "PNG", optimize=True)
        else:
            return _embedded(content, ending)
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        """What a notebook displays."""
        buffer = BytesIO()
        self.picture.save(buffer, "PNG")
        return buffer.getvalue()


def check_ending(path: Path) -> None:
    """Raises ConfigError if no figure can be saved under this name, before anything is drawn."""
    known = dict.fromkeys((*STILL, *MOVING))
    if path.suffix.lower() not in known:
        raise ConfigError(f"{path_excerpt(path)}: end the name of a figure in {listing(known)}")


def draw(
    zoo: Zoo,
    spec: str,
    records: Sequence[RunRecord],
    images: Images = None,
    *,
    scale: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Drawing:
    """The figure of this spec, such as "codes:method=tsne", of these runs.

    Runs that cannot be opened, have other data than the first, or do not fit the figure are left out, with a note, if
    others remain. Raises ConfigError if none remains or something asked for is not allowed, DataError for a picture
    that cannot be read, PluginError if the figure breaks its contract.
    """
    parsed = zoo.spec("figure", spec)
    recipe = zoo.recipe("figure", parsed)
    contract = Contract("figure", parsed.name, zoo.plugin_of("figure", parsed.name))
    check_follows_protocol(contract, recipe)
    contract.check_takes("__call__", recipe, "runs", "request")
    figure: Figure = recipe
    _check_numbers(scale, seed)
    if not records:
        raise ConfigError("there are no runs to draw; give run directories, sweeps, or folders of them")
    if len(records) > MOST_RUNS:
        raise ConfigError(
            f"{len(records)} runs; a figure has {MOST_RUNS} at most. Choose some with --where KEY=VALUE, such as "
            "train.seed=1"
        )

    # Each run is opened and asked whether it fits; the reader is told of one that does not.
    notes: list[str] = []
    runs: list[FigureRun] = []
    refused: list[MixzooError] = []
    request = None
    shown: list[RunRecord] = []
    for record in records:
        try:
            opened = open_run(zoo, record.path, device)
            if runs:
                _check_same_data(runs[0].data, shown[0].path, opened.data, record.path)
        except (ConfigError, CheckpointError, DataError) as err:
            refused.append(err)
            continue
        run = _figure_run(zoo, record, opened, runs[0].data if runs else opened.data, notes)
        if not runs:
            request = FigureRequest(chooser(run.data, images, seed), images is not None, scale, seed)
        try:
            if isinstance(figure, HasCheckRun):
                contract.call("check_run", figure.check_run, run, request)
        except (ConfigError, DataError, NonFiniteError) as err:
            refused.append(type(err)(f"{path_excerpt(record.path)}: {err}"))
        else:
            notes += [f"warning: {line}" for line in opened.changed]
            runs.append(run)
            shown.append(record)
    if not runs:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise type(refused[0])(f"{refused[0]}{more}")
    notes += [f"left out: {err}" for err in refused]

    runs = [replace(run, label=label) for run, label in zip(runs, labels(shown))]
    content = contract.call("__call__", figure, runs, request)
    _check_drawable(contract, content)
    return Drawing(content, tuple(dict.fromkeys(map(printable, notes))))


def _figure_run(zoo: Zoo, record: RunRecord, opened: Opened, data: Dataset, notes: list[str]) -> FigureRun:
    @cache
    def mixers() -> dict[str, Mixer]:
        found, left_out = mixers_for(zoo, opened)
        notes.extend(left_out)
        return found

    players = opened.players
    settings = {key: value for key, value in dotted(record.table).items() if isinstance(value, str | int | float)}
    return FigureRun(
        record.path.name,
        players.autoencoder,
        players.mixer,
        data,
        opened.config.train.seed,
        opened.device,
        settings,
        mixers,
    )


def labels(records: Sequence[RunRecord]) -> list[str]:
    """What sets each run apart, in words: the settings that differ, the seed if it differs, or else its name."""
    found = {}
    for variant in variants_of(records):
        settings = [
            value if key in PARTS else f"{key.rpartition('.')[2]} {value.removesuffix('.0')}"
            for key, value in variant.settings.items()
            if value and key not in BOOKKEEPING
        ]
        for run in variant.runs:
            seed = [f"seed {run.seed}"] if len(variant.runs) > 1 else []
            found[run.path] = printable(
                ", ".join(dict.fromkeys([*settings, *seed])) or run.part("mixer") or run.path.name
            )
    words_of = [found[record.path] for record in records]
    twice = {one for one in words_of if words_of.count(one) > 1}
    return [f"{one}, {printable(r.path.name)}" if one in twice else one for one, r in zip(words_of, records)]


def _check_same_data(first: Dataset, first_path: Path, other: Dataset, path: Path) -> None:
    """Raises ConfigError if the second run has other test images than the first."""
    same = (
        first.image_shape == other.image_shape
        and (first.class_names, first.attribute_names) == (other.class_names, other.attribute_names)
        and len(first.test) == len(other.test)
    )
    if same:
        index = torch.arange(min(ALIKE, len(first.test)))
        same = torch.equal(first.test.read(index), other.test.read(index))
    if not same:
        raise ConfigError(
            f"{path_excerpt(path)}: its data are not those of {path_excerpt(first_path)}; draw runs on the same "
            "data in one figure"
        )


def _check_numbers(scale: Any, seed: Any) -> None:
    if scale is not None and not (type(scale) is int and 1 <= scale <= LARGEST_SCALE):
        raise ConfigError(f"scale={scale!r} must be an integer from 1 to {LARGEST_SCALE}")
    if type(seed) is not int or seed < 0:
        raise ConfigError(f"seed={seed!r} must be an integer >= 0")


def _check_drawable(contract: Contract, content: Any) -> None:
    """Raises PluginError if the figure returned nothing that can be saved, ConfigError if it is too large."""
    if isinstance(content, Animation):
        frames = list(content.frames)
        if not frames or not all(isinstance(frame, Image.Image) for frame in frames):
            raise contract.broken("__call__", "the frames of its Animation are not PIL images, one at least")
        pixels = sum(frame.width * frame.height for frame in frames)
    elif isinstance(content, Image.Image):
        pixels = content.width * content.height
    elif hasattr(content, "savefig"):
        return
    else:
        raise contract.broken("__call__", f"it returned {described(content)}")
    if pixels > MOST_PIXELS:
        raise ConfigError(
            f"the figure would have {pixels} pixels, at most {MOST_PIXELS}; give a smaller --scale, fewer runs, images "
            "or steps"
        )


def _embedded(image: Image.Image, ending: str) -> bytes:
    """A picture inside an SVG or a PDF, pixel for pixel."""
    from matplotlib.figure import Figure as Plot

    figure = Plot(figsize=(image.width / DPI, image.height / DPI), dpi=DPI)
    figure.figimage(np.asarray(image.convert("RGB")))
    return figure_bytes(figure, ending)
