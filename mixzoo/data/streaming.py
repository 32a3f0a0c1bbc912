"""Batches of images that worker processes read from their files ahead of the step that needs them.

The images of a step are a function of its number, so workers know which batches come next, and a resumed run starts
reading at its own step: no position in the data is saved.
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
    """A split that is never in memory as a whole; workers read the images of the next steps ahead.

    Without workers this process reads each batch when it is asked for. Asking for another step than the next one
    restarts the workers there. Raises DataError if an image cannot be read or a worker dies.
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
        self._next_step = -1  # whose batch `_batches` gives next
        self._batches: Iterator[tuple[list[int], Tensor | str]] | None = None

    def batch(self, step: int) -> Batch:
        if self._workers == 0:
            index = self.order.own(step)
            return copy_to_device(self._pinned(self._source.read(index)), index, self.labels)
        if step != self._next_step or self._batches is None:
            self._restart(step)
        assert self._batches is not None
        numbers, stored = next(self._batches)
        self._next_step = step + 1
        if isinstance(stored, str):
            raise DataError(stored)
        return copy_to_device(stored, torch.tensor(numbers), self.labels)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.close()
        except RuntimeError as late:
            error = late
        cut_off = isinstance(error, (ConnectionError, EOFError))  # it died while it was handing over a batch
        if cut_off or is_dead_worker_error(error):
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"data: a worker process died ({reason}); try fewer --workers, or 0") from error

    def close(self) -> None:
        """End the workers. Dropping the iterator is not enough, since a traceback can keep it alive."""
        batches, self._batches = self._batches, None
        if isinstance(batches, _MultiProcessingDataLoaderIter):
            with contextlib.suppress(RuntimeError):  # a worker's death may be reported as late as this
                batches._shutdown_workers()
            for worker in batches._workers:  # one that waits for a lock of a dead worker would never end
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
            generator=Generator(),  # the loader draws a seed for its workers; not from the global generator
        )
        with warnings.catch_warnings():  # Python >= 3.12 warns of forks with threads; workers use no OpenMP or CUDA
            warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
            self._batches = iter(loader)

    def _pinned(self, stored: Tensor) -> Tensor:
        return stored.pin_memory() if self.device.type == "cuda" else stored


class _Steps:
    """The image numbers of each step from `start` on, as a sampler."""

    def __init__(self, order: BatchOrder, start: int, steps: int) -> None:
        self._order, self._start, self._steps = order, start, steps

    def __iter__(self) -> Iterator[list[int]]:
        return (self._order.own(step).tolist() for step in range(self._start, self._steps))

    def __len__(self) -> int:
        return self._steps - self._start


class _Reader(Dataset[Any]):
    """A source as a data set for torch's loader: an item is a batch with its image numbers, or an error message."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __reduce__(self) -> tuple[object, tuple[LoadedFiles, Source]]:
        """For spawned workers: plugin files come first, since the source's class may be defined in one of them."""
        return _reader, (LoadedFiles(), self._source)

    def __getitem__(self, numbers: list[int]) -> tuple[list[int], Tensor | str]:
        try:
            return numbers, self._source.read(torch.tensor(numbers))
        except DataError as err:  # passed on as text: the loader would turn the exception into many lines
            return numbers, str(err)


def _reader(files: LoadedFiles, source: Source) -> _Reader:
    return _Reader(source)


def is_dead_worker_error(error: BaseException | None) -> bool:
    """Whether the loader raised this because a worker died; it may do so anywhere, from a signal handler."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def ignore_signals(worker: int) -> None:
    """Ignore signals in a worker: one sent to the whole process group must not take the last step's batch away."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
