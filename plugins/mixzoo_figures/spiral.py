"""Scatter plots of data that are points, such as the spiral."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le

from mixzoo import ConfigError, FigureRequest, FigureRun, are_points, random_panel, scatter_plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spiral:
    """Decoded random mixes, in orange, over the points of the data, in blue: a panel for each run (AMR Figure 12)."""

    mixes: Annotated[int, Ge(1), Le(100_000), "random mixes in each panel"] = 1000

    def check_run(self, run: FigureRun, request: FigureRequest) -> None:
        """Raises ConfigError if the data are no points, or images are asked for."""
        if not are_points(run.data.test):
            raise ConfigError(
                f"its data are images {run.data.image_shape}, not points; `mixzoo figure strips` draws them"
            )
        if request.given:
            raise ConfigError("--images: mixes of random points are drawn; leave it out")

    def __call__(self, runs: Sequence[FigureRun], request: FigureRequest) -> "Figure":
        return scatter_plot(
            [
                random_panel(
                    run.label,
                    run.autoencoder,
                    run.mixer,
                    run.data.test,
                    run.device,
                    mixes=self.mixes,
                    seed=request.seed,
                )
                for run in runs
            ]
        )
