"""Checks the files of a data set and lists all that are bad, where a run stops at the first line.

report = check_data("folder:path=photos")
print(report)              # a line for each bad file, then what the data set holds
report.usable              # whether a run would accept the data
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mixzoo.core.arguments import with_argument_names
from mixzoo.core.data import CheckedFile, Dataset, HasDataFiles, HasFileChecks, HasStream
from mixzoo.core.errors import ConfigError, DataError, escaped, path_excerpt, truncated_repr
from mixzoo.data.contracts import load_dataset
from mixzoo.data.finite import check_finite
from mixzoo.registry.options import options_of
from mixzoo.registry.zoo import Zoo, load_zoo

MOST_NAMED = 10  # classes, sizes or modes in one line
DEEP = 3  # folders that a path may be below the root of its data set: root/MNIST/raw/FILE


@dataclass(frozen=True)
class DataReport:
    """What a check found in a data set: what it holds without its bad files, and these."""

    name: str  # as the data set is called
    files: int
    images: int
    classes: Mapping[str, int]  # images of each class; empty if labels are not stored by file
    sizes: Mapping[str, int]  # images of each size, such as "28x28"
    modes: Mapping[str, int]  # images of each mode, as Pillow calls them
    bad: tuple[CheckedFile, ...]
    skip_bad: int  # bad files that the spec allows
    problem: str = ""  # of the data set as a whole

    @property
    def usable(self) -> bool:
        """Whether a run would accept the data."""
        return not self.problem and (not self.bad or self._skipped)

    @property
    def _skipped(self) -> bool:
        return len(self.bad) <= self.skip_bad and all(file.skippable for file in self.bad)

    def __str__(self) -> str:
        return "\n".join([*(line_of(file) for file in self.bad), *self.summary])

    @property
    def summary(self) -> list[str]:
        """Lines about what the data set holds, and what to do."""
        files = f" in {_count(self.files - len(self.bad), 'good file')}" if self.files else ""
        lines = [f"{self.name}: {_count(self.images, 'image')}{files}"]
        for what in ("classes", "sizes", "modes"):
            counts = getattr(self, what)
            named = [f"{name} ({count})" for name, count in list(counts.items())[:MOST_NAMED]]
            more = f" and {len(counts) - MOST_NAMED} more" if len(counts) > MOST_NAMED else ""
            if named:
                lines.append(f"  {what:<8} {', '.join(named)}{more}")
        if self.problem:
            lines.append(f"  problem  {self.problem}")
        return [*lines, self._advice]

    @property
    def _advice(self) -> str:
        bad = _count(len(self.bad), "bad file")
        if self.usable:
            return f"{bad}, left out by skip_bad={self.skip_bad}" if self.bad else "no bad files"
        if not self.bad:
            return "no bad files, but a run cannot use the data set"
        skippable = all(file.skippable for file in self.bad)
        skip = f", or leave them out with --skip-bad {len(self.bad)}" if skippable else ""
        return f"{bad}: repair or remove them{skip}"

    def to_json(self) -> dict[str, Any]:
        """The report as JSON has it."""
        bad = [{"file": file.file, "problem": file.problem, "allowed": file.allowed} for file in self.bad]
        counts = {what: dict(getattr(self, what)) for what in ("classes", "sizes", "modes")}
        return {
            "name": self.name, "usable": self.usable, "files": self.files, "images": self.images, **counts,
            "bad": bad, "skipped": len(bad) if self._skipped else 0, "skip_bad": self.skip_bad, "problem": self.problem,
        }  # fmt: skip


Each = Callable[[CheckedFile], None]
Check = Callable[[Each], DataReport]


@dataclass
class _Tally:
    """Counts of the files seen so far."""

    files: int = 0
    images: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    bad: list[CheckedFile] = field(default_factory=list)

    def add(self, file: CheckedFile) -> None:
        self.files += 1
        self.images += file.images
        for counts, more in ((self.classes, file.classes), (self.sizes, file.sizes), (self.modes, file.modes)):
            counts.update(more)
        if file.problem:
            self.bad.append(file)


@with_argument_names
def check_data(data: str | Path) -> DataReport:
    """Check every file of a data set, as `mixzoo data check` does: `data` is a spec, or the path of a folder or file.

    Bad files are in the report, and nothing is raised for them. Raises ConfigError if `data` names no data set, and
    DataError if nothing is at the path. A folder in which several data sets are found is refused; name one by a spec.
    """
    if not isinstance(data, str | Path):
        raise ConfigError(f"data={truncated_repr(data)} must be a spec or a path, such as 'folder:path=photos'")
    checks = checks_of(load_zoo(), str(data), "data")
    if len(checks) > 1:
        names = ", ".join(name for name, _ in checks)
        raise ConfigError(f"data={truncated_repr(str(data))}: several data sets are there ({names}); give a spec")
    ((_, check),) = checks
    return check(lambda file: None)


def checks_of(zoo: Zoo, text: str, where: str) -> list[tuple[str, Check]]:
    """The data sets that a spec names or that are at a path, each with the function that checks it.

    Raises ConfigError, whose message begins with `where`, if there is none.
    """
    known = {name for entry in zoo.of_kind("dataset") for name in (entry.name, entry.full_name)}
    path = Path(text)
    if text.partition(":")[0].strip() in known or not (_is_there(path) or "/" in text):
        return [(text, partial(_check, zoo.recipe("dataset", text, where), text))]
    if not _is_there(path):
        raise DataError(f"{path_excerpt(text)}: no such file or folder; give a data set or a path")

    # A path inside a data set with a root: what is checked then is what lies at the path.
    found = list[tuple[str, Check]]()
    for name, root, only in _data_sets_at(zoo, path.absolute()):
        recipe = zoo.recipe_from("dataset", name, {"root": str(root)}, where)
        found.append((name, partial(_check, recipe, f"{name} under {escaped(str(root))}", only=only)))
    if found:
        return found
    if path.is_dir():
        name = zoo.qualified_default("dataset", "folder")
        recipe = zoo.recipe_from("dataset", name, {"path": text}, where)
        return [(name, partial(_check, recipe, f"folder {escaped(text)}"))]
    raise ConfigError(
        f"{where} {path_excerpt(text)}: a file that no data set has at this place; name the data set and its option, "
        "such as sprites:path=FILE"
    )


def _data_sets_at(zoo: Zoo, path: Path) -> Iterator[tuple[str, Path, list[str] | None]]:
    """The data sets with a root that have files at or below the path: name, root, those files; None for all."""
    for entry in zoo.of_kind("dataset"):
        if "root" not in entry.option_names or not isinstance(entry.recipe, HasDataFiles):
            continue
        for root in (path, *path.parents[:DEEP]):
            try:
                files = zoo.recipe_from("dataset", entry.full_name, {"root": str(root)}).data_files()
            except DataError:
                continue
            below = [file for file in files if _lies_at(root / file, path)]
            if any(files[file] for file in below):
                yield zoo.name_to_write(entry), root, None if len(below) == len(files) else below
                break


def _lies_at(file: Path, path: Path) -> bool:
    return file.is_relative_to(path) or file == path.with_suffix("")  # a name without the .gz that the file has


def _is_there(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except (OSError, ValueError):  # too long, or a NUL byte
        return False


def _check(recipe: Any, name: str, each: Each, *, only: list[str] | None = None) -> DataReport:
    """The report on one data set, or on those of its files in `only`; `each` is called with every file."""
    tally, problem, data = _Tally(), "", None
    skip_bad = recipe.skip_bad if "skip_bad" in {option.name for option in options_of(type(recipe))} else 0

    # Every file by itself, then the whole as a run loads it: that finds what no single file has.
    try:
        if isinstance(recipe, HasFileChecks):
            for file in recipe.check_files():
                if only is None or file.file in only:
                    tally.add(file)
                    each(file)
        if only is None and len(tally.bad) <= skip_bad:
            data = load_dataset(recipe, name, "stream" if isinstance(recipe, HasStream) else "load", 0)
            check_finite(data, name)
    except DataError as err:
        problem = str(err)
    if data is not None and not tally.files:
        _count_loaded(tally, data)
    return DataReport(
        name=name,
        files=tally.files,
        images=tally.images,
        classes=dict(tally.classes),
        sizes=dict(tally.sizes.most_common()),
        modes=dict(tally.modes.most_common()),
        bad=tuple(tally.bad),
        skip_bad=skip_bad,
        problem=problem,
    )


def _count_loaded(tally: _Tally, data: Dataset) -> None:
    """Count the images of a data set whose files were not seen one by one."""
    for split in (data.train, data.validation, data.test):
        count, channels, height, width = split.images.shape
        tally.images += count
        tally.sizes[f"{width}x{height}"] += count
        tally.modes[{1: "L", 3: "RGB"}.get(channels, f"{channels} channels")] += count
        if data.class_names:
            numbers, counts = split.labels.unique(return_counts=True)
            tally.classes.update({data.class_names[n]: c for n, c in zip(numbers.tolist(), counts.tolist())})


def line_of(file: CheckedFile) -> str:
    """A bad file on one line: its name, what is wrong, what is allowed."""
    return f"{file.file}: {file.problem}{f'; {file.allowed}' if file.allowed else ''}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
