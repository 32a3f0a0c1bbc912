"""TensorBoard: event files that `tensorboard --logdir` displays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from mixzoo import ConfigError, LoggedRun, open_picture


@dataclass(frozen=True, kw_only=True)
class TensorBoard:
    """Event files for TensorBoard: losses and accuracies, pictures, and the scores beside the run's settings (HParams).

    `tensorboard --logdir logs/tensorboard` displays all runs logged so far. Needs mixzoo[tensorboard].
    """

    pictures: Annotated[bool, "log the pictures too"] = True

    def open(self, run: LoggedRun) -> "TensorBoardSession":
        """A new event file in the run's folder. Raises ConfigError if the package tensorboard is missing."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as err:
            raise ConfigError(
                "logger 'tensorboard' needs the package tensorboard: pip install 'mixzoo[tensorboard]'"
            ) from err
        return TensorBoardSession(SummaryWriter(str(run.folder)), run, self.pictures)


@dataclass(frozen=True)
class TensorBoardSession:
    """An event file that is being written."""

    writer: Any  # a SummaryWriter
    run: LoggedRun
    pictures: bool

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """A point of each curve; on the disk when this returns."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()  # else TensorBoard would show a followed run minutes late

    def picture(self, step: int, path: Path) -> None:
        """The picture, under "pictures"."""
        if self.pictures:
            with open_picture(path) as image:
                self.writer.add_image("pictures", np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def finish(self, results: Mapping[str, float]) -> None:
        """The row of this run in TensorBoard's table of hyperparameters."""
        self.writer.add_hparams(dict(self.run.settings), dict(results), run_name=".")

    def close(self) -> None:
        """Close the event file."""
        self.writer.close()
