"""A plugin that is one Python file, named on the command line: `--plugin poles.py`.

The file runs under a module name of its own. It is compiled from the very bytes whose hash is recorded, so Python's
cache of compiled files is not used.
"""

import hashlib
import re
import sys
from dataclasses import dataclass
from importlib.abc import InspectLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from mixzoo.core.errors import ConfigError, path_excerpt

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.py")  # it may stand before the '/' of a full name


@dataclass(frozen=True)
class SingleFile:
    """The path and content of a plugin's file."""

    path: Path  # absolute
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def module_name(self) -> str:
        return f"mixzoo_file_{re.sub('[^A-Za-z0-9]', '_', self.path.stem)}_{self.sha256[:16]}"

    def load(self) -> ModuleType:
        """Run the file; returns its module, and raises whatever the file raises."""
        name = self.module_name
        spec = spec_from_file_location(name, self.path, loader=_Text(self))
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[name] = module  # where a dataclass looks up its module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


class LoadedFiles:
    """The plugin files that this process has loaded; a worker process that unpickles this loads those it lacks.

    Objects that are pickled after it may be of classes that those files define. A forked process has the classes, but
    a process that is spawned, or comes from a fork server, cannot import modules that only this process knows.
    """

    def __reduce__(self) -> tuple[object, tuple[list[SingleFile]]]:
        specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]  # "__main__" may have none
        loaders = [spec.loader for spec in specs if spec is not None]
        return _load_missing, ([loader.file for loader in loaders if isinstance(loader, _Text)],)


def _load_missing(files: list[SingleFile]) -> LoadedFiles:
    for file in files:
        if file.module_name not in sys.modules:
            file.load()
    return LoadedFiles()


class _Text(InspectLoader):
    """Loads a module from the content that was read."""

    def __init__(self, file: SingleFile) -> None:
        self.file = file

    def get_source(self, fullname: str) -> str:
        return self.file.content.decode()

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.file.content, str(self.file.path))


def read_single_file(path: Path) -> SingleFile:
    """The plugin's file at `path`. Raises ConfigError if there is none, or it cannot be a plugin."""
    where = f"--plugin {path}"
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as err:  # the name is too long, for example
        raise ConfigError(f"{path_excerpt(where)}: {err.strerror or err}") from err
    if is_folder:
        raise ConfigError(f"{where}: it is a folder; give one .py file, or install a package with `pip install {path}`")
    if not is_file:
        raise ConfigError(f"{where}: no such file")
    if not _NAME.fullmatch(path.name):
        raise ConfigError(
            f"{where}: name the file with letters, digits, '.', '_' and '-' only, and .py at the end, such as poles.py"
        )
    try:
        return SingleFile(path.absolute(), path.read_bytes())
    except OSError as err:
        raise ConfigError(f"{where}: cannot be read: {err.strerror}") from err
