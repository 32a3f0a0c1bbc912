"""A new plugin's package, from the templates that come with mixzoo: it works as it is, and is there to be changed.

mixzoo-stripes/  pyproject.toml  README.md  mixzoo_stripes/{__init__,plugin,stripes}.py  tests/test_stripes.py
"""

import os
import re
import shutil
from importlib.resources import files
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from string import Template

from mixzoo.errors import ConfigError, StorageError, listing, shown
from mixzoo.hookspecs import API_VERSION
from mixzoo.kinds import KINDS
from mixzoo.plugins import first_party, load_zoo
from mixzoo.spec import KEY

TEMPLATES = files("mixzoo") / "templates"
LONGEST = 40  # characters of a name


def write_plugin(name: str, kind: str, parent: Path) -> list[Path]:
    """Write the package of a part called `name` into `parent`, whole or not at all; the files, relative to `parent`.

    ConfigError for a name that cannot be one, or that is taken; StorageError where the disk refuses.
    """
    check_plugin_name(name, kind)
    home = Path(distribution_of(name))
    target, temporary = parent / home, parent / f".{home}-{os.getpid()}"
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target}: exists already; choose another name, or another folder to be in")
    found = package_files(name, kind)
    try:
        for path, text in found.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_text(text, encoding="utf-8")
        temporary.rename(target)
    except OSError as err:
        raise StorageError(f"{target}: the plugin could not be written: {err.strerror}") from err
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [home / path for path in found]


def package_files(name: str, kind: str) -> dict[str, str]:
    """Path -> text of every file of the package."""
    package = f"mixzoo_{name}"
    words = {
        "name": name,
        "Name": class_name(name),
        "package": package,
        "distribution": distribution_of(name),
        "kind": kind,
        "hook": KINDS[kind].hook,
        "train": train_commands(name, kind),
        "api": str(API_VERSION),
    }
    templates = {
        "pyproject.toml": "package/pyproject.toml",
        "README.md": "package/README.md",
        f"{package}/__init__.py": "package/__init__.py",
        f"{package}/plugin.py": "package/plugin.py",
        f"{package}/{name}.py": f"{kind}/part.py",
        f"tests/test_{name}.py": f"{kind}/test.py",
    }
    return {path: Template(_template(source)).substitute(words) for path, source in templates.items()}


def check_plugin_name(name: str, kind: str) -> None:
    """ConfigError for a name that is no part's name, no module's name, or taken."""
    if not KEY.fullmatch(name) or len(name) > LONGEST:
        raise ConfigError(
            f"{shown(name)} is no name for a {kind}: up to {LONGEST} lower-case letters, digits and '_', a letter first"
        )
    if iskeyword(name) or iskeyword(class_name(name)) or name == "plugin" or class_name(name) in _imported(kind):
        raise ConfigError(f"{name!r} means something else in the package's own code; choose another name")
    own = {entry.name: entry.kind for entry in load_zoo(first_party()).registered}
    if name in own:
        raise ConfigError(f"{name!r} is a {own[name]} of mixzoo's own (its names: {listing(own)}); choose another name")
    if find_spec(f"mixzoo_{name}") is not None:
        raise ConfigError(f"a package mixzoo_{name} is installed already; choose another name")


def train_commands(name: str, kind: str) -> str:
    """The command, or the commands, that train with the new part."""
    if flag := KINDS[kind].flag:
        return f"mixzoo train {flag} {name}"
    return f"echo '{KINDS[kind].plural} = [\"{name}\"]' > {name}.toml\nmixzoo train --config {name}.toml"


def class_name(name: str) -> str:
    """'soft_cut' -> 'SoftCut'."""
    return "".join(word.capitalize() for word in name.split("_"))


def distribution_of(name: str) -> str:
    """'soft_cut' -> 'mixzoo-soft-cut', the package's name where packages are installed from, and its folder's."""
    return f"mixzoo-{re.sub('_+', '-', name).strip('-')}"


def _imported(kind: str) -> set[str]:
    """Names that the part's module has from elsewhere."""
    imports = re.findall(r"^(?:from .* )?import (.*)$", _template(f"{kind}/part.py"), flags=re.MULTILINE)
    return {name for line in imports for name in line.split(", ")}


def _template(path: str) -> str:
    return (TEMPLATES / f"{path}.txt").read_text(encoding="utf-8")
