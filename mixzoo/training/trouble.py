"""Exceptions that the machine causes, turned into errors that the user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixzoo.core.errors import (
    ConfigError,
    MixzooError,
    OutOfMemoryError,
    PluginError,
    StorageError,
    is_out_of_memory,
    printable,
    truncated_repr,
)
from mixzoo.core.gpu_pool import memory_advice
from mixzoo.registry.config import Train
from mixzoo.registry.contract import reason
from mixzoo.training.devices import first_sentence


@contextmanager
def out_of_memory_errors(train: Train) -> Iterator[None]:
    """Raises OutOfMemoryError in place of any exception inside the block that means there is no memory left."""
    try:
        yield
    except MixzooError:
        raise
    except Exception as err:
        if is_out_of_memory(err):
            raise _out_of_memory(train) from err
        raise


def as_trouble(err: BaseException, train: Train, run_dir: Path) -> MixzooError | None:
    """The error that the user can act on; None if the exception is a bug."""
    if is_out_of_memory(err):
        return _out_of_memory(train)
    if isinstance(err, OSError):
        where = printable(str(err.filename or run_dir))
        return StorageError(f"{where}: {err.strerror or err}")
    if isinstance(err, SystemExit):  # which would end the command with the exit code of its choice, 0 for example
        return PluginError(f"{run_dir}: a part has ended the run: {reason(err)}; it has to raise an exception instead")
    if isinstance(err, RuntimeError) and "use_deterministic_algorithms" in str(err):
        operation = first_sentence(err).partition(" does not have a deterministic")[0]
        return ConfigError(
            f"{truncated_repr(operation)} has no form that repeats bit for bit, and the run is deterministic; "
            "use --no-deterministic, or another part"
        )
    return None


def _out_of_memory(train: Train) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"out of memory with batches of {train.batch_images} images; use a smaller --batch-images{memory_advice()}"
    )
