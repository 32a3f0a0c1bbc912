"""Which GPU each process of a sweep uses, and how much of its memory: the least used GPU, unless the run names one."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil

import torch

from mixzoo.core.errors import ConfigError, truncated_repr

VARIABLE = "CUDA_VISIBLE_DEVICES"
RUNS_PER_GPU = "MIXZOO_RUNS_PER_GPU"  # how many runs use the GPU of this process
CONTEXT_BYTES = 600 << 20  # GPU memory of each process besides its tensors: CUDA context, libraries, kernels


class GpuPool:
    """Assigns processes to GPUs and keeps track of which GPUs are in use."""

    def __init__(self, devices: Mapping[str, torch.device], names: Sequence[str]) -> None:
        self._devices = devices  # process -> 'cuda' for any GPU, 'cuda:1' for that GPU only
        self._names = list(names)  # of the GPUs, as in CUDA_VISIBLE_DEVICES
        self._uses: dict[str, int] = {}  # running process -> index of its GPU

    @property
    def wanted(self) -> int:
        """The number of GPUs that the processes can use at the same time."""
        indices = [device.index for device in self._devices.values() if device.type == "cuda"]
        return len(self._names) if None in indices else len(set(indices))

    def take(self, process: str, at_once: int = 1) -> dict[str, str]:
        """Environment variables that restrict a process to the least used GPU; empty if it runs on the CPU.

        A process that names its GPU sees all of them. If several of `at_once` processes use one GPU, RUNS_PER_GPU
        says how many, and each of them limits its memory.
        """
        device = self._devices[process]
        if device.type != "cuda":
            return {}
        if device.index is not None:
            self._uses[process] = device.index
            return self._runs_per_gpu(device.index, at_once)
        used = Counter(self._uses.values())
        gpu = self._uses[process] = min(range(len(self._names)), key=lambda index: used[index])
        return {VARIABLE: self._names[gpu], **self._runs_per_gpu(gpu, at_once)}

    def _runs_per_gpu(self, gpu: int, at_once: int) -> dict[str, str]:
        requested = [device.index for device in self._devices.values() if device.type == "cuda"]
        running, runs = min(at_once, len(requested)), requested.count(gpu)
        if None in requested:  # these go to the least used GPU, so they are spread evenly
            runs += ceil(running / len(self._names))
        runs = min(runs, running)
        return {RUNS_PER_GPU: str(runs)} if runs > 1 else {}

    def leave(self, process: str) -> None:
        """Release the GPU of a process that has ended."""
        self._uses.pop(process, None)


def visible() -> list[str]:
    """The GPUs that this process may use, named as in CUDA_VISIBLE_DEVICES."""
    count = torch.cuda.device_count()
    given = os.environ.get(VARIABLE)
    names = given.split(",") if given else [str(index) for index in range(count)]
    return [name.strip() for name in names[:count]]


def runs_per_gpu() -> int:
    """The number of runs on the GPU of this process, itself included. Raises ConfigError if the variable is invalid."""
    given = os.environ.get(RUNS_PER_GPU, "1")
    if not (given.isascii() and given.isdecimal() and int(given) > 0):
        raise ConfigError(
            f"the variable {RUNS_PER_GPU} is {truncated_repr(given)}, and should be a number >= 1; leave it out"
        )
    return int(given)


def memory_fraction(total: int) -> float:
    """The fraction of a GPU's `total` bytes that the tensors of this process may take."""
    runs = runs_per_gpu()
    return 1.0 if runs == 1 else max(1 / runs - CONTEXT_BYTES / total, 1 / (2 * runs))


def limit_memory(device: torch.device) -> None:
    """Limit the memory of this process if several runs use its GPU, so that a run that needs more fails alone."""
    if device.type == "cuda" and runs_per_gpu() > 1:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(
            memory_fraction(total), device.index
        )  # rejects 'cuda' without an index


def free_memory(device: torch.device) -> int:
    """The bytes of GPU memory that this process may still take."""
    free, total = torch.cuda.mem_get_info(device)
    return min(free, int(memory_fraction(total) * total) - torch.cuda.memory_reserved(device))


def memory_advice() -> str:
    """Advice, besides smaller batches, for a run that is out of memory; '' if it has the GPU to itself."""
    runs = runs_per_gpu()
    return f", or fewer --jobs: {runs} runs share the GPU" if runs > 1 else ""
