"""The pictures of a run are enlarged, labelled, compressed and written beside the next steps, where that helps."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

import torch

from mixzoo.core.data import Split
from mixzoo.core.storage import storage_errors
from mixzoo.evaluation.pictures import views
from mixzoo.evaluation.pictures.grid import save_png
from mixzoo.training.players import Players
from mixzoo.training.worker import Worker, beside_steps

NAME = "pictures"  # of the thread


def pictures_of(run_dir: Path, players: Players, split: Split, device: torch.device) -> "PictureWriter":
    """The writer of a run's pictures: reconstructions and mixes of the split, at RUN/pictures/step-STEP.png.

    Its calls raise StorageError if a picture cannot be drawn or written.
    """

    def decode(step: int) -> Callable[[], None]:
        file = run_dir / "pictures" / f"step-{step:08d}.png"
        draw = views.mixes_to_draw(players.autoencoder, players.mixer, split, str(device))

        def write() -> None:
            with storage_errors(file, "the picture could not be drawn"):  # fonts and caches are files, too
                picture = draw()
            save_png(picture, file, parents=False)  # a run directory that was moved is not made again

        return write

    return PictureWriter(device, decode)


class PictureWriter:
    """Writes one picture after another; a context manager that ends its thread.

    With `beside` (`beside_steps` if not given) the thread does it, and `wait` has to be called before anything relies
    on the file, such as a checkpoint: a run that is resumed from it does not draw earlier pictures again. Without,
    `write` itself does it.

    `decode` takes a step and decodes its images, on the device; the call that it returns draws and writes them, and
    uses neither the device nor the networks.
    """

    def __init__(
        self, device: torch.device, decode: Callable[[int], Callable[[], None]], *, beside: bool | None = None
    ) -> None:
        self._decode = decode
        beside = beside_steps(device) if beside is None else beside
        self._worker = Worker[Callable[[], None], None](NAME, lambda draw: draw()) if beside else None
        self._written: Future[None] | None = None

    def write(self, step: int) -> None:
        """Write the picture of this step, after the one before it. Raises what either of them raised."""
        self.wait()
        draw = self._decode(step)
        if self._worker is None:
            draw()
        else:
            self._written = self._worker.ask(draw)

    def wait(self) -> None:
        """Wait for the picture that is being written, if there is one. Raises what writing it raised."""
        if self._written is not None:
            written, self._written = self._written, None
            written.result()

    def __enter__(self) -> "PictureWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None:
            self._worker.close()
