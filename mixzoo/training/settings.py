"""torch's global settings during a run: threads, precision, and whether results repeat bit for bit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mixzoo.core.errors import ConfigError, truncated_repr
from mixzoo.registry.config import Train
from mixzoo.training.engine import precision_of

WORKSPACE, WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")  # the values with which cuBLAS is deterministic


@contextmanager
def settings(train: Train, device: torch.device, recorded_threads: int = 0) -> Iterator[None]:
    """Set torch's threads, determinism and precision for the run, and restore them afterwards.

    Sums depend on the number of threads in their last bits, so a resumed run uses the number it started with.
    """
    precise = precision_of(train, device) not in ("tf32", "bf16")
    repeats = device.type == "cpu" if train.deterministic is None else train.deterministic  # free on a CPU
    if repeats and device.type == "cuda":
        check_workspace(os.environ.setdefault(WORKSPACE, WORKSPACES[0]))  # cuBLAS reads it at its first call
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    try:
        torch.use_deterministic_algorithms(repeats)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow; it finds bugs
        matmul.allow_tf32 = cudnn.allow_tf32 = not precise
        cudnn.benchmark = not repeats  # it picks algorithms by timing them, so picks vary
        if train.threads or recorded_threads:
            torch.set_num_threads(train.threads or recorded_threads)
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before
        torch.set_num_threads(threads)


def check_workspace(given: str) -> None:
    """Raise ConfigError if cuBLAS is not deterministic with this value of CUBLAS_WORKSPACE_CONFIG."""
    if given not in WORKSPACES:
        raise ConfigError(
            f"--deterministic: the variable {WORKSPACE} is {truncated_repr(given)}, with which products on a GPU may "
            f"not repeat; use {' or '.join(WORKSPACES)}, or leave it out"
        )
