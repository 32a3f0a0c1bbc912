"""What a page calls a run, and what it leaves out: folders of the machine, and the names of people in them.

A run is named by its folder, after its sweep's if two runs have the same; an absolute path becomes the word FOLDER.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mixzoo.core.errors import printable
from mixzoo.runs.listing import RunRecord

HIDDEN = "FOLDER"
# An absolute path, or one from a home folder, to the end of what may belong to it: a name may have spaces in it.
_PATH = re.compile(r"""(?<![\w/.])(?:file:/+|~\w*/|[A-Za-z]:\\|\\\\|/(?=[^/\s]))(?:(?!:\s)[^,;'"`()\[\]{}<>|\n])*""")
_UPWARDS = re.compile(r"""(?<![\w/.])\.\./(?:(?!:\s)[^,;'"`()\[\]{}<>|\n])*""")


@dataclass(frozen=True)
class Naming:
    """The names of runs by path, and what stands for the paths in a text."""

    names: Mapping[Path, str]
    replaced: Mapping[str, str]  # text of a path -> what stands for it, the longest first

    def public(self, text: str) -> str:
        """The text on one line, with the names of runs for their paths, and without any other folder."""
        for path, name in self.replaced.items():
            text = text.replace(path, name)
        return printable(_UPWARDS.sub(HIDDEN, _PATH.sub(HIDDEN, text)))


def named(records: Sequence[RunRecord]) -> tuple[list[RunRecord], Naming]:
    """The runs by absolute path, and their names."""
    own = [replace(record, path=Path(os.path.abspath(record.path))) for record in records]
    folders = Counter(record.path.name for record in own)
    seen, names = Counter[str](), dict[Path, str]()
    for path in (record.path for record in own):
        name = path.name if folders[path.name] == 1 else f"{path.parent.name}/{path.name}"
        seen[name] += 1
        names[path] = printable(name if seen[name] == 1 else f"{name} ({seen[name]})") or "run"

    # Messages have paths as they were given; "." would be in every text.
    replaced: dict[str, str] = {}
    for given, record in zip(records, own):
        for text in (str(given.path), str(record.path)):
            if len(text) > 2:
                replaced |= {text: names[record.path], printable(text): names[record.path]}
    for record in own:
        for key in ("dataset.root", "dataset.path"):
            value = record.value(key)
            if isinstance(value, str) and os.path.isabs(value) and len(value) > 2:
                replaced.setdefault(value, HIDDEN)
    for folder in (str(Path.home()), os.getcwd()):
        if len(folder) > 2:
            replaced.setdefault(folder, HIDDEN)
    return own, Naming(names, {path: replaced[path] for path in sorted(replaced, key=len, reverse=True)})
