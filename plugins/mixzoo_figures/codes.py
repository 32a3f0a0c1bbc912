"""Codes of test images in the plane, by class, with mixes between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from torch import Tensor

from mixzoo import (
    COLOURS,
    CodeShape,
    ConfigError,
    FigureRequest,
    FigureRun,
    encode,
    eval_mode,
    figure_style,
    path_between_two,
    to_device,
)
from mixzoo_figures.mixing import OtherMixer, Steps, check_mixes, mixer_of, pairs_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "o^sDvPX*<>"  # the shape changes each time that the colours begin again
MOST_CLASSES = len(COLOURS) * len(MARKERS)
SIDE, LEGEND = 3.4, 1.3  # inches: of a panel, and of the legend
COLUMNS = 4
LONGEST_NAME = 12  # characters of a class that is named inside the panel


@dataclass(frozen=True, kw_only=True)
class Codes:
    """Codes of test images in the plane, coloured by class, with the paths of mixes between some: a panel for each run.

    pca shows the two directions in which codes vary most, and how much of their variance that is; its plane is linear,
    so the path of a linear mixer is straight. tsne and umap show which codes are neighbours; distances between groups
    mean little there. Colours and shapes are classes, or whether an image has `attribute`.
    """

    method: Annotated[Literal["pca", "tsne", "umap"], "how codes get into the plane; umap needs umap-learn"] = "pca"
    images: Annotated[int, Ge(10), Le(20_000), "test images, from the start of the split"] = 1000
    pairs: Annotated[int, Ge(0), Le(20), "pairs of images with a path of mixes between them"] = 2
    steps: Steps = 15
    attribute: Annotated[str, "the attribute that is coloured, for data that have attributes; the first if empty"] = ""
    mixer: OtherMixer = None

    def check_run(self, run: FigureRun, request: FigureRequest) -> None:
        """Raises ConfigError if there are too many classes, no such attribute, or the run cannot mix the images."""
        if len(run.data.class_names) > MOST_CLASSES:
            raise ConfigError(f"{len(run.data.class_names)} classes; colours and shapes tell {MOST_CLASSES} apart")
        known = run.data.attribute_names
        if self.attribute and self.attribute not in known:
            raise ConfigError(f"attribute={self.attribute!r} is none of its data's ({', '.join(known) or 'none'})")
        if len(run.data.test) < 3:
            raise ConfigError(f"it has {len(run.data.test)} test images, and a plane of codes takes three or more")
        if self.pairs:
            check_mixes(run, mixer_of(run, self.mixer), request.choose(2 * self.pairs))

    def __call__(self, runs: Sequence[FigureRun], request: FigureRequest) -> "Figure":
        from matplotlib.figure import Figure

        columns = min(COLUMNS, len(runs))
        rows = -(-len(runs) // columns)
        names, groups = self._groups(runs[0])
        with figure_style():
            size = (SIDE * columns + LEGEND * bool(names), (SIDE + 0.3) * rows)
            figure = Figure(figsize=size, layout="constrained")
            for number, run in enumerate(runs, 1):
                axes = figure.add_subplot(rows, columns, number)
                self._panel(axes, run, request, names, groups)
            if names:
                handles, _ = figure.axes[0].get_legend_handles_labels()
                shown = [name for i, name in enumerate(names) if bool((groups == i).any())]
                legend = figure.legend(handles[: len(shown)], shown, loc="outside right upper", markerscale=1.6)
                for text in legend.get_texts():
                    text.set_parse_math(False)
        return figure

    def _groups(self, run: FigureRun) -> tuple[list[str], Tensor]:
        """The name of each colour, and the group of each image that is drawn; no names if there are no labels."""
        labels = run.data.test.labels[: self.images]
        if names := run.data.attribute_names:
            name = self.attribute or names[0]
            return [f"not {name}", name], labels[:, names.index(name)].long()
        return list(run.data.class_names), labels if run.data.class_names else torch.zeros(len(labels))

    def _panel(self, axes: Any, run: FigureRun, request: FigureRequest, names: Sequence[str], groups: Tensor) -> None:
        from matplotlib.patheffects import withStroke

        codes = encode(run.autoencoder, run.data.test.images, run.device, torch.arange(len(groups))).flatten(1)
        paths = self._paths(run, request)
        where, remark = placed(codes, torch.cat([codes[:0], *paths]), self.method, request.seed)
        points, between = where[: len(codes)], where[len(codes) :]
        for i in groups.unique().tolist():
            own = points[(groups == i).numpy()]
            colour, marker = COLOURS[int(i) % len(COLOURS)], MARKERS[int(i) // len(COLOURS)]
            axes.scatter(*own.T, s=9, c=colour, marker=marker, linewidths=0, alpha=0.55, label=str(i))
            if names and len(names[int(i)]) <= LONGEST_NAME:  # beside the legend, for readers who see few colours
                name = axes.text(*np.median(own, 0), names[int(i)], weight="bold", ha="center", va="center", zorder=6)
                name.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
                name.set_parse_math(False)
        for path in np.split(between, len(paths)) if paths else []:
            axes.plot(*path.T, color="white", linewidth=3.2, zorder=3)
            axes.plot(*path.T, color="black", linewidth=1.2, marker=".", markersize=4, zorder=4)
            axes.plot(*path[[0, -1]].T, color="black", linewidth=0, marker="*", markersize=9, zorder=5)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{run.label}\n{remark}", loc="left").set_parse_math(False)

    def _paths(self, run: FigureRun, request: FigureRequest) -> list[Tensor]:
        """The codes on the path between the images of each pair, [steps, features]."""
        if not self.pairs:
            return []
        images, mixer = request.choose(2 * self.pairs), mixer_of(run, self.mixer)
        paths = []
        for a, b in pairs_of(images, request):
            sources = [[a, b][min(i, 1)] for i in range(mixer.k)]
            labels = None if images.labels is None else images.labels[sources][:, None].to(run.device)
            with eval_mode(run.autoencoder):
                h = run.autoencoder.encode(images.x[sources].to(run.device))[:, None]
                shape = CodeShape(1, tuple(h.shape[2:]))
                draws = [to_device(mixer.at(p, shape), h.device) for p in path_between_two(mixer.k, self.steps)]
                paths.append(torch.cat([mixer(h, draw, labels).h.flatten(1).cpu() for draw in draws]))
        return paths


def placed(codes: Tensor, mixes: Tensor, method: str, seed: int) -> tuple[NDArray[np.float64], str]:
    """The codes, then the mixes, in the plane [n, 2], and a remark for the reader.

    PCA is that of the codes alone. The other methods place all points together, as they cannot place a new one.
    Raises ConfigError if umap-learn is missing.
    """
    both = torch.cat([codes, mixes]).double().numpy()
    if method == "pca":
        centre = codes.double().mean(0).numpy()
        _, spread, directions = np.linalg.svd(both[: len(codes)] - centre, full_matrices=False)
        directions = directions[:2] * np.sign(directions[:2].sum(1, keepdims=True) + 1e-12)  # signs are arbitrary
        share = spread[:2] ** 2 / max((spread**2).sum(), 1e-300)
        plane = (both - centre) @ directions.T
        plane = np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))  # a code of one number
        return plane, f"PCA, {' + '.join(f'{100 * s:.0f}' for s in share)} % of the variance"
    if method == "umap":
        try:
            from umap import UMAP
        except ImportError as err:
            raise ConfigError("codes:method=umap needs the package umap-learn: pip install umap-learn") from err
        return np.asarray(UMAP(random_state=seed, n_jobs=1).fit_transform(both), np.float64), "UMAP"
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(both) - 1) / 3)
    return TSNE(init="pca", random_state=seed, perplexity=perplexity).fit_transform(both).astype(np.float64), "t-SNE"
