"""Room on the disk for a run, found out before its first step."""

from math import prod
from pathlib import Path

from torch import Tensor

from mixzoo.core.data import Split
from mixzoo.core.storage import check_room
from mixzoo.evaluation.pictures.mixes import COLUMNS
from mixzoo.registry.config import RunConfig, Train
from mixzoo.training.checkpoint import modules_of, saved
from mixzoo.training.players import Players
from mixzoo.training.step import parameters_of

SMALL_FILES = 20_000  # bytes of a checkpoint besides its tensors
MOMENTS = 2  # of Adam, each of the size of its parameter
ROWS, MARGINS = 9, 20_000  # rows of images of a picture; bytes of its labels and borders


PLANNED = "checkpoints and pictures"  # what is written, for a message


def check_run_fits(config: RunConfig, players: Players, split: Split, run_dir: Path, done: int = 0) -> None:
    """Raises StorageError if what the run will write after step `done` does not fit on its disk; process 0 checks."""
    if players.distributed.is_main:
        check_room(run_dir, run_bytes(config.train, players, split, run_dir, done), f"the run's {PLANNED}")


def run_bytes(train: Train, players: Players, split: Split, run_dir: Path | None = None, done: int = 0) -> int:
    """About what a run writes after step `done`: checkpoints, one more than it keeps, and a picture an evaluation.

    A new checkpoint is whole before an old one goes. Those that are in the run's directory have their room.
    """
    checkpoints, pictures = list[Path](), list[int]()
    if run_dir is not None and run_dir.is_dir():
        checkpoints = saved(run_dir / "checkpoints")
        pictures = [path.stat().st_size for path in (run_dir / "pictures").glob("step-*.png")]
    evaluations = _times(train.steps, train.evaluate_every, done)
    commits = _times(train.steps, train.checkpoint_every, done) + (evaluations if train.select == "best" else 0)
    new = min(commits, max(1, train.keep_checkpoints + 1 - len(checkpoints)))
    picture = max(pictures, default=MARGINS + COLUMNS * ROWS * prod(split.images.shape[1:]))
    return new * checkpoint_bytes(players) + evaluations * picture


def checkpoint_bytes(players: Players) -> int:
    """About the size of a checkpoint of the players once they have taken a step."""
    tensors: list[Tensor] = [t for module in modules_of(players).values() for t in module.state_dict().values()]
    tensors += [p for optimiser in players.optimisers.values() for p in parameters_of(optimiser) * MOMENTS]
    return SMALL_FILES + sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _times(steps: int, every: int, done: int) -> int:
    """How often something happens that is done every so many steps, and at the last."""
    return -(-steps // every) - done // every
