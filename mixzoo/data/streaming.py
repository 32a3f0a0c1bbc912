"""Images read from their files as they are needed, ahead of the step that needs them.

Which images a step takes is a function of its number, so what comes next is known: worker processes read the batches of
the steps to come, in order, and a run that goes on at any step begins to read there. No position is saved.
"""

import contextlib
import signal
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from mixzoo.data.batches import Batch, sent
from mixzoo.errors import DataError
from mixzoo.protocols import Source
from mixzoo.single_file import LoadedFiles

AHEAD = 4  # batches that each worker reads ahead


class StreamedSplit:
    """A split that is never held whole: `indices(step)` says which images each step takes, and they are read ahead.

    With no workers the process itself reads each batch when it is asked for. A batch asked for out of turn restarts the
    reading at its step. An image that cannot be read, or a worker that dies, is one DataError.
    """

    def __init__(
        self,
        source: Source,
        labels: Int[Tensor, "n *attributes"],
        indices: Callable[[int], Int[Tensor, " batch"]],
        *,
        steps: int,
        workers: int,
    ) -> None:
        self._source, self._labels, self._indices = source, labels, indices
        self._steps, self._workers = steps, workers
        self._next = -1  # the step whose batch `_coming` gives next
        self._coming: Iterator[tuple[list[int], Tensor | str]] | None = None

    @property
    def device(self) -> torch.device:
        return self._labels.device

    def __len__(self) -> int:
        return len(self._source)

    def batch(self, step: int, index: Int[Tensor, " batch"]) -> Batch:
        if self._workers == 0:
            return sent(self._pinned(self._source.read(index)), index, self._labels)
        if step != self._next or self._coming is None:
            self._restart(step)
        assert self._coming is not None
        numbers, stored = next(self._coming)
        self._next = step + 1
        if isinstance(stored, str):
            raise DataError(stored)
        assert numbers == index.tolist(), f"step {step} asks for other images than indices({step}) said"
        return sent(stored, index, self._labels)

    def __enter__(self) -> "StreamedSplit":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.close()
        except RuntimeError as late:
            error = late
        cut_off = isinstance(error, (ConnectionError, EOFError))  # in the middle of a batch that it was handing over
        if cut_off or tells_of_a_dead_worker(error):
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"data: a process that reads images died ({reason}); try fewer --workers, or 0") from error

    def close(self) -> None:
        """End the workers. Dropping the iterator would do, were it not for tracebacks, which keep it alive."""
        coming, self._coming = self._coming, None
        if isinstance(coming, _MultiProcessingDataLoaderIter):
            with contextlib.suppress(RuntimeError):  # that of a worker which died can come as late as this
                coming._shutdown_workers()
            for worker in coming._workers:  # one that waits for what a dead one held would wait for ever
                worker.kill()

    def _restart(self, step: int) -> None:
        self.close()
        loader = DataLoader(
            _Reads(self._source),
            batch_size=None,  # the sampler's items are batches already
            sampler=_Steps(self._indices, step, self._steps),
            num_workers=self._workers,
            prefetch_factor=AHEAD,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=leave_signals_to_the_run,
            generator=Generator(),  # its seed for workers, which none uses, comes from here and moves no global one
        )
        with warnings.catch_warnings():  # Python from 3.12 on warns of threads; workers run no OpenMP, and no CUDA
            warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
            self._coming = iter(loader)

    def _pinned(self, stored: Tensor) -> Tensor:
        return stored.pin_memory() if self.device.type == "cuda" else stored


class _Steps:
    """What the steps from `start` on take, one list of image numbers a step."""

    def __init__(self, indices: Callable[[int], Tensor], start: int, steps: int) -> None:
        self._indices, self._start, self._steps = indices, start, steps

    def __iter__(self) -> Iterator[list[int]]:
        return (self._indices(step).tolist() for step in range(self._start, self._steps))

    def __len__(self) -> int:
        return self._steps - self._start


class _Reads(Dataset[Any]):
    """A source as torch's loader sees it: an item is a whole batch, with its numbers, or what is wrong with it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __reduce__(self) -> tuple[object, tuple[LoadedFiles, Source]]:
        """For workers that are not forked: the plugin files first, since the source may be of a class of theirs."""
        return _reads, (LoadedFiles(), self._source)

    def __getitem__(self, numbers: list[int]) -> tuple[list[int], Tensor | str]:
        try:
            return numbers, self._source.read(torch.tensor(numbers))
        except DataError as err:  # in words: the loader would make many lines of an exception
            return numbers, str(err)


def _reads(files: LoadedFiles, source: Source) -> _Reads:
    return _Reads(source)


def tells_of_a_dead_worker(error: BaseException | None) -> bool:
    """Whether it is what the loader raises where a worker died: from a signal handler, so wherever the run is then."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def leave_signals_to_the_run(worker: int) -> None:
    """Workers end when the run ends them: a signal to the whole group must not take the batch from the last step."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
