"""Faulty storage, planted to see whether the tests of this folder find it.

A writer without fsync is out of their reach: only a power cut shows it.
"""

import contextlib
import shutil

from safetensors.torch import save

import mixzoo.core.storage as storage
import mixzoo.runs.directory as directory
import mixzoo.runs.run as run
import mixzoo.training.checkpoint as checkpoint
import mixzoo.training.loop as loop
from mixzoo.core.errors import StorageError
from mixzoo.training.checkpoint_manifest import manifest_files

PLAIN_COMMIT, PLAIN_LAST = checkpoint.commit, directory.last_committed


def renamed_before_it_is_written(folder, players, progress, *, keep, keep_best, run, environment, ready):
    """A checkpoint has its name before it has its files."""
    target = checkpoint.path_of(folder, progress.step)
    with storage.storage_errors(target):
        folder.mkdir(exist_ok=True)
        target.mkdir(exist_ok=True)
        files = {f"{stem}.safetensors": save(tensors) for stem, tensors in checkpoint.state_of(players).items()}
        for name, content in {**files, **manifest_files(progress, files, run, environment)}.items():
            storage.write_flushed(target / name, content)
    ready()
    checkpoint.remove_older(folder, progress.step, keep, keep_best=keep_best)
    return target


def swallows_errors(directory, players, progress, **rest):
    """A checkpoint that cannot be written is passed over."""
    try:
        return PLAIN_COMMIT(directory, players, progress, **rest)
    except StorageError:
        return checkpoint.path_of(directory, progress.step)


def writes_in_place(path, content):
    """A small file is written under its own name."""
    with storage.storage_errors(path):
        storage.write_flushed(path, content)


class Status:
    """status.json has the step of a checkpoint before it is there."""

    step = None

    @classmethod
    def commit(cls, folder, players, progress, **rest):
        cls.step = progress.step
        directory.write_status(folder.parent, "running")
        return PLAIN_COMMIT(folder, players, progress, **rest)

    @classmethod
    def last_committed(cls, run_dir):
        return cls.step if cls.step is not None else PLAIN_LAST(run_dir)


class Unhashed:
    """In place of hashlib.sha256: every hash equals every other."""

    class Any(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            return True

        def __ne__(self, other):
            return False

    def __init__(self, content=b""):
        pass

    def update(self, content):
        pass

    def hexdigest(self):
        return self.Any("0" * 64)


MUTANTS = {
    "renamed before it is written": [(loop, "commit", renamed_before_it_is_written)],
    "errors swallowed": [(loop, "commit", swallows_errors)],
    "small files written in place": [(storage, "write_whole", writes_in_place)],
    "nothing cleaned up": [
        (shutil, "rmtree", lambda path, ignore_errors=False: None),
        (run, "remove_leftovers", lambda run_dir: None),
    ],
    "status before the commit": [(loop, "commit", Status.commit), (directory, "last_committed", Status.last_committed)],
}


@contextlib.contextmanager
def planted(name):
    """The fault is there inside the block."""
    before = [(module, attribute, getattr(module, attribute)) for module, attribute, _ in MUTANTS.get(name, [])]
    for module, attribute, fault in MUTANTS.get(name, []):
        setattr(module, attribute, fault)
    try:
        yield
    finally:
        for module, attribute, plain in before:
            setattr(module, attribute, plain)
