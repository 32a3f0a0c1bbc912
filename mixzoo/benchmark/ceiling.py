"""Measured limits of this machine, with which a step is compared."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch.nn.functional import conv2d

from mixzoo.benchmark.counting import Counts
from mixzoo.benchmark.timing import interleaved

REPEATS = 7
SQUARE = 1024  # rows and columns of the matrices
COPIED = 64 << 20  # bytes, more than a cache holds
TINY = 200  # consecutive operations on one number


@dataclass(frozen=True)
class Ceiling:
    """Peak rates of one device, for one precision and torch's current number of threads."""

    flops: float  # per second, the faster of a matrix product and a convolution of many maps
    bytes: float  # per second, read and written, in a copy larger than a cache
    launch: float  # seconds per operation on one number


class Floor(NamedTuple):
    """The least time that a step could take, and the limit that sets it."""

    seconds: float
    limit: str  # flops, bytes or launches


@lru_cache
def ceiling(device: torch.device, precision: str = "fp32", threads: int = 0) -> Ceiling:
    """The limits of the device, measured once per process for each precision and number of threads, as set now."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(SQUARE, SQUARE, device=device).to(dtype) for _ in range(2))
    x = torch.randn(64, 64, 32, 32, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
    w = torch.randn(64, 64, 3, 3, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
    source, copy = (torch.zeros(COPIED, dtype=torch.uint8, device=device) for _ in range(2))
    one = torch.zeros(1, device=device)

    def launches() -> None:
        for _ in range(TINY):
            one.add_(1.0)

    workloads: dict[str, Callable[[], object]] = {
        "product": partial(torch.matmul, a, b),
        "convolution": partial(conv2d, x, w, padding=1),
        "copy": partial(copy.copy_, source),
        "launch": launches,
    }
    with torch.no_grad():
        times = interleaved(workloads, device, repeats=REPEATS, warm_up=2)
    best = {name: min(taken.clock(device)) for name, taken in times.items()}  # a ceiling is the best repeat
    product, convolution = 2 * SQUARE**3, 2 * 64 * 32 * 32 * 64 * 64 * 9
    return Ceiling(
        flops=max(product / best["product"], convolution / best["convolution"]),
        bytes=2 * COPIED / best["copy"],
        launch=best["launch"] / TINY,
    )


def floor(counts: Counts, limits: Ceiling, launched: int) -> Floor:
    """max(FLOPs / FLOP rate, bytes / byte rate, operations x launch time).

    Bytes that stay in a cache move faster than a large copy, so on a CPU the second term is an estimate.
    """
    seconds = {
        "flops": counts.flops / limits.flops,
        "bytes": counts.bytes / limits.bytes,
        "launches": launched * limits.launch,
    }
    limit = max(seconds, key=lambda name: seconds[name])
    return Floor(seconds[limit], limit)
