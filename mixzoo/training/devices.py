"""The device that a name stands for, whether this machine has it, and the device of this process."""

import re
import warnings

import torch

from mixzoo.core.errors import ConfigError, printable, truncated_repr
from mixzoo.core.gpu_pool import limit_memory
from mixzoo.training.distributed import SINGLE_PROCESS, DistributedContext

LONGEST_REASON = 160  # characters of torch's own message; some are pages long
OTHER_NAMES = {"gpu": "cuda", "nvidia": "cuda", "rocm": "cuda", "hip": "cuda", "metal": "mps", "apple": "mps"}


def pick_device(
    name: str, distributed: DistributedContext = SINGLE_PROCESS, *, untouched: bool = False
) -> torch.device:
    """The device with that name. 'auto' is a GPU if there is one; of several processes, each gets its own GPU.

    Raises ConfigError if this machine lacks it. `untouched` opens no GPU, for a process that will not compute there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if distributed.world_size > 1 and name not in ("cpu", "cuda"):
        raise ConfigError(
            f"--device {name!r}: each of {distributed.world_size} processes takes a device of its own; use cpu or cuda"
        )
    if distributed.world_size > 1 and name == "cuda":
        name = f"cuda:{distributed.local_rank}"
    device = parse_device(name)
    check_device(device, name, untouched=untouched)
    # Streams and CUDA graphs are made on the current GPU. 'cuda' without an index is the current GPU already, and stays
    # without one: an index would say that the user asked for this GPU.
    if device.type == "cuda" and device.index is not None and not untouched:
        torch.cuda.set_device(device)
    if not untouched:
        limit_memory(device)
    return device


def parse_device(name: str) -> torch.device:
    """The device of that name, present or not. Raises ConfigError if torch has no device of that name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that torch will give up
            device = torch.device(name)
    except (RuntimeError, ValueError, OverflowError) as err:
        advice = _meant(name) or "auto, cpu, cuda or cuda:NUMBER"
        raise _unusable(name, "torch has no device of that name", advice) from err
    if device.type == "meta":  # tensors without numbers
        raise _unusable(name, "its tensors have no values", "auto or cpu")
    if device.type == "cpu" and device.index:
        raise _unusable(name, "a machine has one CPU device, whatever its cores", "cpu")
    return torch.device("cpu") if device.type == "cpu" else device


def check_device(device: torch.device, name: str = "", *, untouched: bool = False) -> None:
    """Raise ConfigError if this machine lacks the device; `name` is what the user called it.

    With `untouched`, a GPU that the driver lists is not opened: a process that only starts others must not hold a
    context on each, which takes hundreds of megabytes.
    """
    name = name or str(device)
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0  # asks the driver, and opens no context
    if gpus and (device.index or 0) >= gpus:
        has = f"{gpus} GPUs, cuda:0 to cuda:{gpus - 1}" if gpus > 1 else "one GPU, cuda:0"
        raise _unusable(name, f"this machine has {has}", "one of them, auto or cpu")
    if gpus and untouched:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.empty(0, device=device)
    except Exception as err:  # whatever the backend raises, from ImportError to its own kinds
        raise _unusable(name, first_sentence(err), "auto or cpu") from err


def first_sentence(err: BaseException) -> str:
    """The first sentence of an error's message, shortened."""
    lines = str(err).strip().splitlines() or [type(err).__name__]
    sentence = printable(lines[0].partition(". ")[0].removesuffix("."))
    return sentence if len(sentence) <= LONGEST_REASON else f"{sentence[:LONGEST_REASON]}..."


def _unusable(name: str, reason: str, advice: str) -> ConfigError:
    return ConfigError(f"--device {truncated_repr(name)} cannot be used here ({reason}); use {advice}")


def _meant(name: str) -> str:
    """torch's name for a device that is spelled otherwise, or '' if it is not clear which."""
    found = re.fullmatch(r"([a-z]*):?([0-9]*)(.*)", name.strip().lower(), re.DOTALL)
    kind, number, rest = found.groups() if found else ("", "", "")
    kind = "cuda" if number and not kind else OTHER_NAMES.get(kind, kind)  # a number alone is a GPU's
    if kind not in ("cpu", "cuda", "mps", "xpu"):
        return ""
    numbered = kind == "cuda" and number and not rest and len(number) < 3
    return f"{kind}:{int(number)}" if numbered else kind
