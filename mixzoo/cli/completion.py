"""The values that a shell offers after a flag, or in place of a word, when Tab is pressed.

Names and options of parts come from the cache that `mixzoo list`, `show` and `plugins` write: no plugin is loaded, and
no torch. A function here takes the word typed so far and returns the words that it may become, each with a line of help
for shells that show one.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from typer._click.core import Context  # typer passes this one; as mixzoo/cli/usage.py, it has no public name

if TYPE_CHECKING:
    from mixzoo.registry.catalogue import Catalogue

Word: TypeAlias = tuple[str, str]  # what to write, and a line of help
Complete: TypeAlias = Callable[[Context, str], Sequence[Word]]

DEVICES = ("auto", "cpu", "cuda")
BREAKS = ":="  # what bash takes for the end of a word, though it is inside a spec


def one_of(*words: str) -> Complete:
    """These words."""

    def complete(ctx: Context, incomplete: str) -> Sequence[Word]:
        return [(word, "") for word in words]

    return complete


def part(kind: str) -> Complete:
    """A spec of this kind of part: its name, then its options and their choices."""

    def complete(ctx: Context, incomplete: str) -> Sequence[Word]:
        return list(_spec(_catalogue(ctx), kind, incomplete))

    return complete


def part_of_given_kind(ctx: Context, incomplete: str) -> Sequence[Word]:
    """The name of a part of the kind that the word before says."""
    from mixzoo.core.errors import ConfigError
    from mixzoo.registry.kinds import kind_named

    try:
        kind = kind_named(str(ctx.params.get("kind", ""))).name
    except ConfigError:
        return []
    return _names(_catalogue(ctx), kind)


def part_or_distribution(ctx: Context, incomplete: str) -> Sequence[Word]:
    """What `mixzoo check` takes: the name of a part, or a distribution for all its parts."""
    catalogue = _catalogue(ctx)
    kinds = dict.fromkeys(entry.kind for entry in catalogue.registered)
    parts = [word for kind in kinds for word in _names(catalogue, kind)]
    distributions = sorted({plugin.distribution for plugin in catalogue.plugins})
    return [*parts, *((name, "all parts of this distribution") for name in distributions)]


def run(ctx: Context, incomplete: str) -> Sequence[Word]:
    """The directory of a run or a sweep: one in the folder typed so far, or in this folder or `runs`."""
    from mixzoo.runs.listing import RUN, SWEEP

    typed, slash, _ = incomplete.rpartition("/")
    found = []
    for folder in [f"{typed}{slash}"] if slash else ["", "runs/"]:
        try:
            names = sorted(entry.name for entry in os.scandir(folder or ".") if entry.is_dir())
        except OSError:
            continue
        for name in names:
            for file, what in ((RUN, "run"), (SWEEP, "sweep")):
                if os.path.isfile(f"{folder}{name}/{file}"):
                    found.append((f"{folder}{name}", what))
    return found


def _spec(catalogue: "Catalogue", kind: str, incomplete: str) -> Iterator[Word]:
    """Names of parts; after `name:`, its options that are not given yet; after `option=`, its choices."""
    from mixzoo.registry.options import choices_of

    name, colon, options = incomplete.partition(":")
    if not colon:
        yield from _names(catalogue, kind)
        return
    entry = next((e for e in catalogue.of_kind(kind) if name in (e.name, e.full_name)), None)
    if entry is None:
        return
    given, comma, last = options.rpartition(",")
    before = f"{name}:{given}{comma}"
    key, equals, _ = last.partition("=")
    for option in entry.text.options:
        if not equals and f",{option.name}=" not in f",{given}":
            yield f"{before}{option.name}=", option.help
        elif equals and option.name == key:
            yield from ((f"{before}{key}={choice}", option.help) for choice in choices_of(option.type))


def _names(catalogue: "Catalogue", kind: str) -> list[Word]:
    return [(catalogue.name_to_write(entry), entry.summary) for entry in catalogue.of_kind(kind)]


def _catalogue(ctx: Context) -> "Catalogue":
    """The parts that the cache knows, without those of `--plugin FILE`: Tab runs no code of a plugin."""
    from mixzoo.registry.catalogue import cached_catalogue
    from mixzoo.registry.zoo import first_party

    return cached_catalogue(first_party() if ctx.params.get("no_plugins") else None)


def prepare_shell() -> None:
    """Teach typer that a spec is one word, although bash breaks a word at ":" and "=".

    Bash hands the pieces over one by one, and replaces the last one alone. It also adds a space to what it completes,
    which must not follow `k=`.
    """
    from typer import _completion_shared
    from typer._click.shell_completion import add_completion_class
    from typer._completion_classes import BashComplete

    class SpecInBash(BashComplete):
        def get_completion_args(self) -> tuple[list[str], str]:
            words, incomplete = super().get_completion_args()
            *joined, last = _joined([*words, incomplete])
            return joined, last

        def complete(self) -> str:
            # Only what follows the last break is replaced, so only that is printed.
            value = self.get_completion_args()[1]
            value = value.partition("=")[2] if value.startswith("--") else value
            kept = max(value.rfind(character) for character in BREAKS) + 1
            return "\n".join(line[kept:] for line in super().complete().split("\n"))

    add_completion_class(SpecInBash, "bash")
    scripts = _completion_shared._completion_scripts
    ends = "    return 0\n"
    no_space = '    [[ "${COMPREPLY[0]}" == *= ]] && compopt -o nospace\n'
    scripts["bash"] = scripts["bash"].replace(ends, f"{no_space}{ends}")


def _joined(words: Sequence[str]) -> list[str]:
    """The words with those that bash broke at ":" and "=" put together again."""
    joined: list[str] = []
    for word in words:
        if joined and word and (word.strip(BREAKS) == "" or joined[-1].endswith(tuple(BREAKS))):
            joined[-1] += word
        else:
            joined.append(word)
    return joined
