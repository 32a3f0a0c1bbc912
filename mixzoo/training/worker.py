"""A thread that works beside the training steps: what it computes is the same in any thread and at any time."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

import torch

CLOSE_SECONDS = 5.0  # that the end of a run waits for what a thread is making

Given = TypeVar("Given")
Made = TypeVar("Made")


def beside_steps(device: torch.device) -> bool:
    """Whether threads work beside the steps on this device.

    On a CPU they would compete with the steps for the cores (benchmarks/results/draws.md).
    """
    return device.type == "cuda"


@dataclass(frozen=True)
class ThreadSettings:
    """torch's settings that belong to one thread. All others, such as determinism, are those of the process."""

    inference: bool
    gradients: bool
    autocast: bool
    autocast_dtype: torch.dtype
    device: torch.device

    @classmethod
    def of_this(cls) -> "ThreadSettings":
        autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        return cls(torch.is_inference_mode_enabled(), torch.is_grad_enabled(), *autocast, torch.get_default_device())

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, this thread has these settings."""
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(self.inference))
            stack.enter_context(torch.set_grad_enabled(self.gradients))  # inference_mode sets it, too
            stack.enter_context(torch.autocast("cpu", self.autocast_dtype, self.autocast))
            if self.device != torch.get_default_device():
                stack.enter_context(self.device)
            yield


class Worker(Generic[Given, Made]):
    """A thread that calls a function with what it is asked, one after another, with torch's settings of its maker.

    It never keeps the process from its exit.
    """

    def __init__(self, name: str, function: Callable[[Given], Made]) -> None:
        self.closing = False
        self._function = function
        self._tasks: SimpleQueue[tuple[Given, Future[Made]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(ThreadSettings.of_this(),), name=name, daemon=True)

    def ask(self, given: Given) -> "Future[Made]":
        """The result of the call, once it is made, or what it raised."""
        task = given, Future[Made]()
        self._tasks.put(task)
        if not self._thread.is_alive():
            self._thread.start()
        return task[1]

    def close(self) -> None:
        """End the thread. The function can look at `closing`, to end early; one that hangs is left after 5 s."""
        self.closing = True
        self._tasks.put(None)
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def _run(self, settings: ThreadSettings) -> None:
        with settings.applied():
            while (task := self._tasks.get()) is not None and not self.closing:
                given, result = task
                try:
                    result.set_result(self._function(given))
                except BaseException as err:
                    result.set_exception(err)
                del task, given, result  # nothing that was made stays while the thread waits
