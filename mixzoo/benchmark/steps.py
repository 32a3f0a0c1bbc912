"""The training step of a configured run as a function: what `mixzoo train` does between two evaluations."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from mixzoo.data.batches import check_batch_fits
from mixzoo.data.placement import LoadedData, load_data, train_batches
from mixzoo.registry.config import RunConfig
from mixzoo.registry.zoo import Zoo
from mixzoo.training.blocks import Blocks
from mixzoo.training.build import build_players
from mixzoo.training.devices import pick_device
from mixzoo.training.engine import build_engine
from mixzoo.training.logs import MetricsFile, ProgressDisplay
from mixzoo.training.loop import Clock, Loop
from mixzoo.training.picture_writer import PictureWriter
from mixzoo.training.players import Players
from mixzoo.training.settings import settings

ENDLESS = 10**9  # steps: a benchmark never reaches the end of its run


@dataclass
class Stepper:
    """Each call is the next step of the run: draws, batch and update, exactly as in the training loop."""

    loop: Loop
    device: torch.device
    inputs: Blocks
    notes: list[str] = field(default_factory=list)  # reasons why `auto` fell back to another engine
    done: int = 0

    def __call__(self) -> dict[str, Tensor]:
        report = self.loop.step(self.done, self.inputs.at(self.done))
        self.done += 1
        return report

    def logged(self) -> dict[str, Tensor]:
        """The next step, with a line of metrics if one is due."""
        report = self()
        if self.done % self.loop.train.log_every == 0:
            self.loop.log(self.done, report, Clock(self.loop.train, self.done - 1))
        return report

    @property
    def players(self) -> Players:
        return self.loop.players


@contextmanager
def stepper(
    zoo: Zoo, config: RunConfig, placed: LoadedData | None = None, players: Players | None = None
) -> Iterator[Stepper]:
    """The run of the config, built and ready for its first step; `placed` and `players` are made if not given.

    Threads, determinism and precision are the run's inside the context. Its metrics are deleted at the end.
    """
    device = pick_device(config.train.device)
    placed = read(config, device) if placed is None else placed
    train = replace(config.train, steps=ENDLESS)
    check_batch_fits(placed.data.train, train.batch_images)
    with settings(train, device), TemporaryDirectory() as folder, ExitStack() as stack:
        built = build_players(zoo, config, placed.data, device) if players is None else players
        images = stack.enter_context(train_batches(placed, train, device, built.distributed.shard))
        notes: list[str] = []
        engine = build_engine(train, built, device, notes.append)
        run_dir, data = Path(folder), placed.data
        metrics = stack.enter_context(closing(MetricsFile(run_dir / "metrics.jsonl")))
        pictures = PictureWriter(device, lambda step: lambda: None)
        loop = Loop(train, built, engine, data, images, metrics, run_dir, ProgressDisplay(), pictures)
        yield Stepper(loop, device, stack.enter_context(loop.blocks()), notes)


def read(config: RunConfig, device: torch.device) -> LoadedData:
    """The data of the run, loaded to where `data_on` puts them."""
    return load_data(config.parts["dataset"], config.names["dataset"], config.train, device)


def eager(config: RunConfig) -> RunConfig:
    """The config with the eager engine, so that every operation can be counted."""
    return replace(config, train=replace(config.train, engine="eager"))
