"""Batches of images that worker processes read from files before the step that needs them.

The images of a step are a function of its number, so workers know which batches come next, and a resumed run starts to
read at its step without a saved position in the data.
"""

import contextlib
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from mixzoo.core.data import Source
from mixzoo.core.errors import DataError
from mixzoo.data.batches import Batch, Batches, BatchOrder, copy_to_device
from mixzoo.registry.single_file import LoadedFiles

PREFETCH = 4  # batches that each worker reads ahead


class StreamedSplit(Batches):
    """A split that is never in memory as a whole: workers prefetch the images of the next steps.

    Without workers this process reads each batch when it is needed. If a step other than the next one is asked for, the
    workers are restarted at that step. Raises DataError if an image cannot be read or a worker dies.
    """

    def __init__(
        self,
        source: Source,
        labels: Int[Tensor, "n *attributes"],
        order: BatchOrder,
        *,
        steps: int,
        workers: int,
    ) -> None:
        super().__init__(order, labels)
        self._source, self._steps, self._workers = source, steps, workers
        self._next_step = 0  # the step of the next batch of `_batches`
        self._batches: Iterator[tuple[list[int], Tensor | str]] | None = None

    def start(self, step: int) -> None:
        if self._workers:
            self._restart(step)

    def batch(self, step: int, index: Int[Tensor, " own"] | None = None) -> Batch:
        if self._workers == 0:
            index = self.order.own(step)
            return copy_to_device(self._pinned(self._source.read(index)), index, self.labels)
        if step != self._next_step or self._batches is None:
            self._restart(step)
        assert self._batches is not None
        numbers, images = next(self._batches)
        self._next_step = step + 1
        if isinstance(images, str):
            raise DataError(images)
        return copy_to_device(images, torch.tensor(numbers), self.labels)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.close()
        except RuntimeError as raised_by_close:
            error = raised_by_close
        died_sending = isinstance(error, (ConnectionError, EOFError))  # a worker died while it sent a batch
        if died_sending or is_dead_worker_error(error):
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"data: a worker process died ({reason}); try fewer --workers, or 0") from error

    def close(self) -> None:
        """End the workers. To drop the iterator is not enough, because a traceback can keep it alive."""
        batches, self._batches = self._batches, None
        if isinstance(batches, _MultiProcessingDataLoaderIter):
            with contextlib.suppress(RuntimeError):  # the loader may report a worker's death only now
                batches._shutdown_workers()
            for worker in batches._workers:  # a worker that waits for a lock of a dead worker would never end
                worker.kill()

    def _restart(self, step: int) -> None:
        self.close()
        loader = DataLoader(
            _Reader(self._source),
            batch_size=None,  # each item of the sampler is a whole batch
            sampler=_Steps(self.order, step, self._steps),
            num_workers=self._workers,
            prefetch_factor=PREFETCH,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=ignore_signals,
            generator=Generator(),  # the loader would draw its workers' seed from the global generator
        )
        with warnings.catch_warnings():  # Python >= 3.12 warns if a threaded process forks; workers use no OpenMP, CUDA
            warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
            self._batches = iter(loader)
        self._next_step = step

    def _pinned(self, images: Tensor) -> Tensor:
        return images.pin_memory() if self.device.type == "cuda" else images


class _Steps:
    """A sampler of batches: the image numbers of each step from `start` to `steps` - 1."""

    def __init__(self, order: BatchOrder, start: int, steps: int) -> None:
        self._order, self._start, self._steps = order, start, steps

    def __iter__(self) -> Iterator[list[int]]:
        return (self._order.own(step).tolist() for step in range(self._start, self._steps))

    def __len__(self) -> int:
        return self._steps - self._start


class _Reader(Dataset[Any]):
    """A source as a Dataset for torch's loader. An item is (image numbers, images), or (image numbers, message)."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __reduce__(self) -> tuple[object, tuple[LoadedFiles, Source]]:
        """For spawned workers: files of --plugin are loaded first, because one may define the source's class."""
        return _reader, (LoadedFiles(), self._source)

    def __getitem__(self, numbers: list[int]) -> tuple[list[int], Tensor | str]:
        try:
            return numbers, self._source.read(torch.tensor(numbers))
        except DataError as err:  # returned as text, because the loader would add a traceback of many lines
            return numbers, str(err)


def _reader(files: LoadedFiles, source: Source) -> _Reader:
    return _Reader(source)


def is_dead_worker_error(error: BaseException | None) -> bool:
    """Whether the loader raised this because a worker died. Its signal handler can raise it at any line."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def ignore_signals(worker: int) -> None:
    """Ignore SIGINT and SIGTERM in a worker: the run, which gets them too, finishes its step before it stops."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
