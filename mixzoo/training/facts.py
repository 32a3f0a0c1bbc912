"""What a person is shown of a run before its first step."""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from mixzoo.core.data import Dataset
from mixzoo.core.errors import printable
from mixzoo.core.mixing import draw_for
from mixzoo.core.parts import CodeShape, Mixer
from mixzoo.core.random import mapped
from mixzoo.data.placement import LoadedData
from mixzoo.evaluation.pictures import views
from mixzoo.registry.config import RunConfig
from mixzoo.training.checkpoint import modules_of
from mixzoo.training.checkpoint_manifest import Progress
from mixzoo.training.players import Players

NAMED = 3  # files that the first lines of a run name


def notes(config: RunConfig, placed: LoadedData, players: Players, progress: Progress) -> Iterator[str]:
    """What a person should know of the run before it begins, beside its facts."""
    if placed.note:
        yield placed.note
    yield from placed.cache_notes
    if line := views.note(placed.data.test):
        yield line
    if players.mixer.k > config.train.batch_images and not progress.step:
        yield (
            f"warning: the mixer takes k={players.mixer.k} sources from batches of {config.train.batch_images} "
            "images, so every mix holds some image twice"
        )


def facts(run_dir: Path, data: Dataset, players: Players, device: torch.device) -> list[str]:
    """Lines about the run: its directory, its data, the size of a code, the parameters of its parts and its device."""
    # getattr: the splits are attributes called by the names that are printed.
    splits = ", ".join(f"{len(getattr(data, name))} {name}" for name in ("train", "validation", "test"))
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in modules_of(players).items()}
    parameters = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    latent = players.autoencoder.latent_shape
    shape = "x".join(map(str, data.image_shape))
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    skipped = [f"skipped     {skipped_files(data.skipped)}"] if data.skipped else []
    return [
        f"run         {printable(str(run_dir))}",
        f"data        {printable(data.source)}: images of {shape}, {splits}",
        *skipped,
        f"code        {'x'.join(map(str, latent))}, {prod(latent):,} numbers (an image: {prod(data.image_shape):,})",
        f"parameters  {parameters}",
        f"device      {device}{threads}",
    ]


def skipped_files(skipped: Mapping[str, str]) -> str:
    """How many files were left out of the data, and the first of them with the reasons."""
    first = ", ".join(f"{printable(name)} ({printable(reason)})" for name, reason in list(skipped.items())[:NAMED])
    more = f" and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
    return f"{len(skipped)} file{'' if len(skipped) == 1 else 's'} that cannot be read: {first}{more}"


def follows_progress(players: Players, config: RunConfig) -> bool:
    """Whether a mixer of the run draws otherwise at another progress of the training."""
    shape = CodeShape(config.train.batch_images, tuple(players.autoencoder.latent_shape))
    mixers = [players.mixer, *players.requirements.other_mixers]

    def draws(mixer: Mixer, progress: float) -> str:
        rng = torch.Generator().manual_seed(0)
        found = list[str]()

        def note(tensor: Tensor) -> Tensor:
            found.append(repr(tensor.tolist()))
            return tensor

        mapped(note, draw_for(mixer, shape, rng, progress))
        return "".join(found)

    return any(draws(mixer, 0) != draws(mixer, i / 10) for mixer in mixers for i in range(1, 11))
