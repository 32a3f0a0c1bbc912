"""The command that trains a run again: every option of its run file as a flag, quoted for a shell."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mixzoo.registry.kinds import KINDS
from mixzoo.registry.options import as_text
from mixzoo.registry.spec import Spec
from mixzoo.runs.listing import PARTS


def rerun(table: Mapping[str, Any], public: Callable[[str], str], files: Sequence[str] = ()) -> list[str]:
    """The words of `mixzoo train` with everything that run.toml says; `files` are the plugins that are single files.

    `public` makes a text fit for others: a folder in an option becomes a word that the reader replaces.
    """
    words = ["mixzoo", "train"]
    for kind in PARTS:
        part = table.get(kind)
        if isinstance(part, Mapping) and isinstance(part.get("name"), str):
            words += [KINDS[kind].flag or f"--{kind}", str(_spec(part, public))]
    metrics = table.get("metrics")
    for metric in metrics if isinstance(metrics, list) else []:
        words += ["--metric", public(str(metric))]
    train = table.get("train")
    for name, value in (train if isinstance(train, Mapping) else {}).items():
        flag = str(name).replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", public(as_text(value))]
    for file in files:
        words += ["--plugin", public(Path(file).name)]
    return [shlex.quote(word) for word in words]


def typed(words: Sequence[str], public: Callable[[str], str]) -> list[str]:
    """The words of a command line as it was typed, but for folders, quoted for a shell."""
    return [shlex.quote(word) for word in ("mixzoo", *map(public, words))]


def _spec(part: Mapping[str, Any], public: Callable[[str], str]) -> Spec:
    options: dict[str, str | Spec] = {}
    for key, value in part.items():
        if isinstance(value, Mapping):
            options[key] = _spec(value, public)
        elif key != "name":
            options[key] = public(as_text(value))
    return Spec(public(str(part.get("name", ""))), options)
