"""A trained run as an object: its numbers, and its networks applied to any images. It reads, and never locks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mixzoo.core.arguments import path_of, texts_of, with_argument_names
from mixzoo.core.data import Dataset
from mixzoo.core.errors import ConfigError, NonFiniteError, path_excerpt, truncated_repr
from mixzoo.core.json_file import read_object
from mixzoo.core.parts import AutoEncoder, CodeShape, Mixed, Mixer
from mixzoo.core.random import to_device
from mixzoo.core.strides import canonical
from mixzoo.data.prepare import prepare_images
from mixzoo.evaluation.codes import EVALUATION_BATCH, encode, eval_mode
from mixzoo.evaluation.pictures.grid import Row, save_png, sheet
from mixzoo.registry.config import RunConfig
from mixzoo.registry.functional import mix
from mixzoo.registry.zoo import Zoo, load_zoo, with_registered_since
from mixzoo.runs.directory import last_committed
from mixzoo.runs.evaluating import evaluate
from mixzoo.runs.listing import RunRecord, find_runs, with_killed
from mixzoo.runs.opening import Opened, open_config, open_run, other_mixer
from mixzoo.runs.reading import known_status
from mixzoo.training.logs import read_metrics

if TYPE_CHECKING:
    from mixzoo.runs.figure import LearningCurves
    from mixzoo.runs.report import Report


@dataclass(frozen=True)
class MixedImages:
    """Decoded mixes of images, with what they were made of."""

    images: Float[Tensor, "mixes channels height width"]  # g(h_mix), in [-1, 1]
    codes: Float[Tensor, "mixes *latent"]  # h_mix
    share: Float[Tensor, "k mixes *latent_or_ones"]  # the weight of each source at each position of the code
    sources: Int[Tensor, "k mixes"]  # which of the given images each source is
    given: Float[Tensor, "batch channels height width"]  # the images, as the network takes them

    def save(self, path: str | Path) -> Path:
        """A PNG with a row of mixes under a row for each source. Raises StorageError if it cannot be written."""
        rows = [Row(f"source {i + 1}", self.given[row]) for i, row in enumerate(self.sources)]
        file = path_of(path, "path")
        if file.suffix.lower() != ".png":
            raise ConfigError(f"{path_excerpt(file)}: the picture is a PNG; name a file that ends in .png")
        return save_png(sheet([*rows, Row("mix", self.images)]), file)


class Run:
    """The run in a directory: `config`, `results` and `metrics` as recorded, its networks from a checkpoint.

    Networks and data are loaded when they are first needed, on `device`. The weights are those of the newest checkpoint
    then or, of a completed run with train.select = "best", those of its best step.
    """

    def __init__(self, path: str | Path, *, device: str | torch.device = "auto", zoo: Zoo | None = None) -> None:
        self.path = path_of(path, "path")
        if not isinstance(device, str | torch.device):
            raise ConfigError(f"device={truncated_repr(device)} must be a text, such as 'auto', 'cpu' or 'cuda:0'")
        self._device = str(device)
        self._zoo, self.config, self.warnings = open_config(load_zoo() if zoo is None else zoo, self.path)

    def __repr__(self) -> str:
        return f"<mixzoo run {self.path}: {self.state}, {self.step} steps>"

    # --- what is recorded

    config: RunConfig
    warnings: list[str]  # a line for each part whose plugin has changed, and each damaged file that was passed over

    @property
    def state(self) -> str:
        """waiting, running, completed, interrupted, failed or killed, as `mixzoo.runs` has it; or damaged."""
        status, problem = known_status(self.path)
        if not status:
            return "damaged" if problem else "waiting"
        return with_killed([RunRecord(self.path, status.state, 0, {})])[0].state

    @property
    def step(self) -> int:
        """The step of the newest checkpoint; 0 if there is none."""
        return last_committed(self.path) or 0

    @property
    def results(self) -> dict[str, float]:
        """The scores of the completed run, by name, those of its probe included.

        Empty before its end, and while it goes on for more steps than those of its scores.
        """
        file = self.path / "results.json"
        if not file.exists():
            return {}
        found = read_object(file)
        return found.numbers("numbers") if found.integer("steps") == self.step else {}

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: {"kind": "train" or "evaluate", "step": ..., numbers}."""
        file = self.path / "metrics.jsonl"
        return read_metrics(file) if file.exists() else []

    @property
    def pictures(self) -> list[Path]:
        """The PNG files drawn so far, by name."""
        return sorted((self.path / "pictures").glob("*.png"))

    # --- the networks

    @cached_property
    def _opened(self) -> Opened:
        opened = with_argument_names(open_run)(self._zoo, self.path, self._device)
        self.warnings = opened.changed
        return opened

    @property
    def data(self) -> Dataset:
        """The run's data, loaded at first use."""
        return self._opened.data

    @property
    def device(self) -> str:
        """Where the networks are."""
        return self._opened.device

    @property
    def autoencoder(self) -> AutoEncoder:
        """The auto-encoder, with its trained weights."""
        return self._opened.players.autoencoder

    @property
    def mixer(self) -> Mixer:
        """The run's own mixer, with its weights if it learned any."""
        return self._opened.players.mixer

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images that the network takes."""
        return self.data.image_shape

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Of one code: (channels, height, width) or (features,)."""
        return tuple(self.autoencoder.latent_shape)

    def prepare(
        self, images: Any, *, value_range: tuple[float, float] | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """The images as the network takes them (`mixzoo.prepare_images`): PIL, files, arrays or tensors of any size."""
        return prepare_images(images, self.image_shape, value_range=value_range)

    def encode(self, images: Any, *, value_range: tuple[float, float] | None = None) -> Float[Tensor, "batch *latent"]:
        """h = f(x), on the CPU, in evaluation mode. `images` as `prepare` takes them.

        Raises NonFiniteError if a code has NaN or infinity.
        """
        return encode(self.autoencoder, self.prepare(images, value_range=value_range), self.device)

    def decode(self, h: Any) -> Float[Tensor, "batch channels height width"]:
        """x = g(h), on the CPU, in evaluation mode, of codes [batch, *latent_shape].

        Raises ConfigError if h is no batch of this run's codes, NonFiniteError if it holds NaN or infinity.
        """
        fits = isinstance(h, Tensor) and tuple(h.shape[1:]) == self.latent_shape and len(h) > 0
        if not fits or not h.is_floating_point() or h.layout != torch.strided or h.is_meta:
            found = f"{h.dtype} {tuple(h.shape)}" if isinstance(h, Tensor) else f"a {type(h).__name__}"
            expected = ", ".join(map(str, self.latent_shape))
            raise ConfigError(f"codes are {found}; this run's are floats [batch, {expected}], as encode gives them")
        if not h.isfinite().all():
            raise NonFiniteError("codes hold NaN or infinity")
        h = h.detach().float()
        with eval_mode(self.autoencoder):
            return torch.cat(
                [self.autoencoder.decode(part.to(self.device)).cpu() for part in canonical(h).split(EVALUATION_BATCH)]
            )

    def __call__(self, images: Any) -> Float[Tensor, "batch channels height width"]:
        """g(f(x)): the reconstructions of the images."""
        return self.decode(self.encode(images))

    def mix(
        self,
        images: Any,
        mixer: str | Mixer | None = None,
        *,
        at: Sequence[float] | None = None,
        labels: Int[Tensor, "batch *attributes"] | None = None,
        seed: int = 0,
        step: int = 0,
        value_range: tuple[float, float] | None = None,
    ) -> MixedImages:
        """Decoded mixes of the images, by the run's own mixer or another, such as "cutmix:k=3".

        Without `at` each image is mixed with k-1 others of the batch, as a training step with this seed and step does
        it. With `at`, one weight for each of k images that sums to 1, the images are the sources of one mix, in this
        order, at that point of the simplex. Raises ConfigError if the mixer does not fit, or needs weights that this
        run has not trained.
        """
        x = self.prepare(images, value_range=value_range)
        if at is None and len(x) < 2:
            raise ConfigError("one image would be mixed with itself; give two or more, or at= with k of them")
        h, by = self.encode(x, value_range=(-1, 1)), self.mixer_by(mixer)
        with eval_mode(by) if isinstance(by, nn.Module) else torch.no_grad():
            if at is None:
                made = mix(h.to(self.device), by, seed=seed, step=step, labels=labels)
                return MixedImages(self.decode(made.h.cpu()), made.h.cpu(), made.share.cpu(), made.sources.cpu(), x)
            mixed = self._mix_at(h, by, at, labels)
        return MixedImages(self.decode(mixed.h.cpu()), mixed.h.cpu(), mixed.share.cpu(), torch.arange(by.k)[:, None], x)

    def _mix_at(self, h: Tensor, mixer: Mixer, at: Sequence[float], labels: Tensor | None) -> Mixed:
        """One mix of k codes at a point of the simplex."""
        try:
            point = [float(weight) for weight in at]
        except (TypeError, ValueError):
            point = []
        if not (len(point) == len(h) == mixer.k and min(point) >= 0 and abs(sum(point) - 1) <= 1e-6):
            raise ConfigError(
                f"at={truncated_repr(at)} with {len(h)} images: the mixer takes {mixer.k} sources, so give {mixer.k} "
                f"images and {mixer.k} weights >= 0 that sum to 1"
            )
        draw = to_device(mixer.at(torch.tensor(point), CodeShape(1, tuple(h.shape[1:]))), torch.device(self.device))
        return mixer(h[:, None].to(self.device), draw, None if labels is None else labels[:, None].to(self.device))

    def mixer_by(self, mixer: str | Mixer | None = None) -> Mixer:
        """The mixer of this spec, such as "cutmix:k=3", for this run's codes; the run's own for None.

        Raises ConfigError if it does not take these codes, or needs weights that this run has not trained.
        """
        if not isinstance(mixer, str):
            return self.mixer if mixer is None else mixer
        made = other_mixer(with_registered_since(self._zoo), self._opened, mixer, "mixer")
        if isinstance(made, nn.Module):
            made.to(self.device)
        return made

    # --- curves and scores

    def plot(
        self, terms: str | Sequence[str] | None = None, *, log_scale: bool = False, smooth: int = 1
    ) -> "LearningCurves":
        """The learning curves of this run, a matplotlib Figure, as `mixzoo.plot` draws them."""
        from mixzoo.runs.figure import plot

        return plot(find_runs([self.path]), terms, log_scale=log_scale, smooth=smooth)

    def report(self, out: str | Path | None = None) -> "Report":
        """A page about this run, one HTML file that needs no other, as `mixzoo.report` makes it; written to `out`."""
        from mixzoo.runs.api import report

        return report(self, out=out)

    def evaluate(self, metrics: str | Sequence[str], *, again: bool = False) -> dict[str, dict[str, float]]:
        """The scores of the run's weights by each metric's spec; each is computed once and kept in the run.

        `again` computes them anew. Raises ConfigError for a metric that there is none of, DataError if one has no
        number for the run's data.
        """
        wanted = texts_of(metrics, "metrics")
        found = evaluate(with_registered_since(self._zoo), self.path, wanted, device=self._device, again=again)
        return {spec: dict(score.numbers) for spec, score in found.items()}


def load(run: "str | Path | Run | RunRecord", *, device: str | torch.device = "auto") -> Run:
    """The run in a directory, to encode, decode, mix and evaluate with; a record is one of `mixzoo.runs()`.

    Raises CheckpointError if it is no run, if it has no checkpoint that can be read, or lacks a plugin that it needs.
    """
    if isinstance(run, Run):
        return run
    if not isinstance(run, str | Path | RunRecord):
        raise ConfigError(f"{truncated_repr(run)} is not a run; give its directory")
    return Run(run.path if isinstance(run, RunRecord) else run, device=device)
