"""The package of a new plugin, filled in from mixzoo's templates. It works as it is and is meant to be edited.

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

from mixzoo.core.errors import ConfigError, StorageError, listing, truncated_repr
from mixzoo.registry.hookspecs import API_VERSION
from mixzoo.registry.kinds import KINDS
from mixzoo.registry.spec import KEY
from mixzoo.registry.zoo import first_party, load_zoo

TEMPLATES = files("mixzoo.cli") / "templates"
MAX_NAME_LENGTH = 40  # characters in a name


def write_plugin(name: str, kind: str, parent: Path) -> list[Path]:
    """Write the package of a part called `name` into `parent`, all files or none. Returns their paths below `parent`.

    Raises ConfigError if the name cannot be used or is taken, and StorageError if the files cannot be written.
    """
    check_plugin_name(name, kind)
    folder = Path(distribution_of(name))
    target, temporary = parent / folder, parent / f".{folder}-{os.getpid()}"
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target}: already exists; choose another name, or run the command in another folder")
    texts = package_files(name, kind)
    try:
        for path, text in texts.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_text(text, encoding="utf-8")
        temporary.rename(target)
    except OSError as err:
        raise StorageError(f"{target}: the plugin could not be written: {err.strerror}") from err
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [folder / path for path in texts]


def package_files(name: str, kind: str) -> dict[str, str]:
    """The text of every file of the package, by path."""
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
    """Raises ConfigError if the name is invalid for a part or a module, or already taken."""
    if not KEY.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise ConfigError(
            f"{truncated_repr(name)} cannot name a {kind}: use at most {MAX_NAME_LENGTH} letters a-z, digits and '_', "
            "starting with a letter"
        )
    if iskeyword(name) or iskeyword(class_name(name)) or name == "plugin" or class_name(name) in _imported(kind):
        raise ConfigError(f"{name!r} already means something in the package's own code; choose another name")
    first_party_kinds = {entry.name: entry.kind for entry in load_zoo(first_party()).registered}
    if name in first_party_kinds:
        taken = f"{name!r} is already the name of a mixzoo {first_party_kinds[name]}"
        raise ConfigError(f"{taken} ({listing(first_party_kinds)}); choose another name")
    if find_spec(f"mixzoo_{name}") is not None:
        raise ConfigError(f"a package mixzoo_{name} is already installed; choose another name")


def train_commands(name: str, kind: str) -> str:
    """The shell commands, one or two lines, that use the new part."""
    if flag := KINDS[kind].flag:
        return f"mixzoo train {flag} {name}"
    if kind == "figure":
        return f"mixzoo train --out runs/first\nmixzoo figure {name} runs/first"
    return f"echo '{KINDS[kind].plural} = [\"{name}\"]' > {name}.toml\nmixzoo train --config {name}.toml"


def class_name(name: str) -> str:
    """'soft_cut' -> 'SoftCut'."""
    return "".join(word.capitalize() for word in name.split("_"))


def distribution_of(name: str) -> str:
    """'soft_cut' -> 'mixzoo-soft-cut', the name of the distribution and of its folder."""
    return f"mixzoo-{re.sub('_+', '-', name).strip('-')}"


def _imported(kind: str) -> set[str]:
    """The names that the part's module imports."""
    imports = re.findall(r"^(?:from .* )?import (.*)$", _template(f"{kind}/part.py"), flags=re.MULTILINE)
    return {name for line in imports for name in line.split(", ")}


def _template(path: str) -> str:
    return (TEMPLATES / f"{path}.txt").read_text(encoding="utf-8")
