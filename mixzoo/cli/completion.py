"""The values that a shell offers after a flag, or in place of a word, when Tab is pressed.

Names and options of parts come from the cache that `mixzoo list`, `show` and `plugins` write: no plugin is loaded, and
no torch. A function here takes the word typed so far and returns the words that it may become, each with a line of help
for shells that show one.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from typer._click.core import Context  # typer passes this one; as mixzoo/cli/usage.py, it has no public name

if TYPE_CHECKING:
    from mixzoo.registry.catalogue import Catalogue
    from mixzoo.runs.listing import RunRecord

Word: TypeAlias = tuple[str, str]  # what to write, and a line of help
Complete: TypeAlias = Callable[[Context, str], Sequence[Word]]

DEVICES = ("auto", "cpu", "cuda")
BREAKS = ":="  # what bash takes for the end of a word, though it is inside a spec
FEW = 50  # runs whose metrics are looked into
HEAD_BYTES = 50_000  # of a log: all names are in its first lines


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


def score(ctx: Context, incomplete: str) -> Sequence[Word]:
    """A score of the runs named before, or a metric for all of its scores."""
    names = dict.fromkeys(name for record in _records(ctx) for name in record.numbers)
    metrics = dict.fromkeys(name.rpartition(".")[0] for name in names)
    return [*((metric, "all of its scores") for metric in metrics if metric), *((name, "") for name in names)]


def term(ctx: Context, incomplete: str) -> Sequence[Word]:
    """A number of metrics.jsonl of the runs named before, without its player's name too."""
    from mixzoo.core.errors import MixzooError
    from mixzoo.core.json_file import parse_object

    lines: list[bytes] = []
    for record in _records(ctx)[:FEW]:
        with suppress(OSError), (record.path / "metrics.jsonl").open("rb") as file:
            lines += file.read(HEAD_BYTES).split(b"\n")[:-1]
    names = dict[str, None]()
    for line in lines:
        with suppress(MixzooError):  # a number that is not finite, or a line that is damaged
            names |= dict.fromkeys(parse_object(line, "").names())
    known = [name for name in names if name not in ("step", "images", "seconds") and "(" not in name]
    return [(name, "") for name in dict.fromkeys([*known, *(name.rpartition("/")[2] for name in known)])]


def key_of_runs(ctx: Context, incomplete: str) -> Sequence[Word]:
    """A key by which runs are sorted."""
    from mixzoo.runs.listing import known_keys

    return [(key, "") for key in ("path", "age", *known_keys(_records(ctx)))]


def condition(ctx: Context, incomplete: str) -> Sequence[Word]:
    """KEY=VALUE with a key that the runs named before have, then with a value that one of them has."""
    from mixzoo.runs.listing import PARTS, known_keys

    records = _records(ctx)
    key, equals, _ = incomplete.partition("=")
    if not equals:
        scores = {name for record in records for name in record.numbers}
        keys = [key for key in known_keys(records) if key not in scores and not key.endswith((".name", "score"))]
        return [(f"{key}=", "") for key in keys]
    values = dict.fromkeys(record.part(key) if key in PARTS else _as_typed(record.value(key)) for record in records)
    return [(f"{key}={value}", "") for value in values if value]


def setting(ctx: Context, incomplete: str) -> Sequence[Word]:
    """KEY=VALUE with a key of the run file, then with the choices of that key."""
    return list(_setting(ctx, incomplete, several=False))


def axis(ctx: Context, incomplete: str) -> Sequence[Word]:
    """KEY=VALUE,VALUE,... of a grid: a key of the run file or a kind of part, then choices, or names of parts."""
    return list(_setting(ctx, incomplete, several=True))


def _setting(ctx: Context, incomplete: str, *, several: bool) -> Iterator[Word]:
    from mixzoo.registry.config import Train
    from mixzoo.registry.options import choices_of, options_of
    from mixzoo.runs.listing import PARTS

    # Each key with its choices: the numbers of the run, then the options of its parts.
    catalogue, named = _catalogue(ctx), _names_of_parts(ctx)
    keys = {f"train.{option.name}": (option.help, choices_of(option.type)) for option in options_of(Train)}
    for kind in PARTS:
        entries = [entry for entry in catalogue.of_kind(kind) if named.get(kind) in (entry.name, entry.full_name)]
        options = [option for entry in entries for option in entry.text.options]
        keys |= {f"{kind}.{option.name}": (option.help, choices_of(option.type)) for option in options}
        if several:
            keys[kind] = (f"one run for each {kind}", [name for name, _ in _names(catalogue, kind)])

    # Of a list, only the last value is still being typed.
    key, equals, values = incomplete.partition("=")
    if not equals:
        yield from ((f"{key}=", help_text) for key, (help_text, _) in keys.items())
    elif key in keys:
        given, comma, _ = values.rpartition(",") if several else ("", "", "")
        yield from ((f"{key}={given}{comma}{choice}", "") for choice in keys[key][1])


def _names_of_parts(ctx: Context) -> dict[str, str]:
    """The name of the part of each kind: by its flag, else in the run file or the run that is named, else the usual."""
    from mixzoo.registry.config import DEFAULT_PARTS

    files = [Path(config)] if (config := ctx.params.get("config")) else [run / "run.toml" for run in _folders(ctx)]
    table: Mapping[str, Any] = {}
    if files:
        import tomllib

        try:
            table = tomllib.loads(files[0].read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            table = {}
    found = {kind: str(name) for kind, name in DEFAULT_PARTS.items()}
    for kind in found:
        given = ctx.params.get("data" if kind == "dataset" else kind) or table.get(kind) or found[kind]
        found[kind] = str(given.get("name") if isinstance(given, Mapping) else given).partition(":")[0]
    return found


def _records(ctx: Context) -> "list[RunRecord]":
    """The runs that are named on the command line, or those in `runs`; none if one cannot be found."""
    from mixzoo.core.errors import MixzooError
    from mixzoo.runs.listing import find_runs

    try:
        return find_runs(_folders(ctx) or [Path("runs")])
    except (MixzooError, OSError):
        return []


def _folders(ctx: Context) -> list[Path]:
    """The runs and folders on the command line: the parser leaves them in `args` if a flag still lacks its value."""
    given = next((own for name in ("run", "runs", "folders") if (own := ctx.params.get(name))), ctx.args)
    several = given if isinstance(given, list | tuple) else [given]
    return [Path(str(folder)) for folder in several if not str(folder).startswith("-")]


def _as_typed(value: Any) -> str:
    """A value of a run file as a condition has it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _spec(catalogue: "Catalogue", kind: str, incomplete: str) -> Iterator[Word]:
    """Names of parts; after `name:`, its options that are not given yet; after `option=`, its choices.

    An option that is a part has names, or after `option=(` a spec of its own.
    """
    from mixzoo.registry.kinds import KINDS
    from mixzoo.registry.options import choices_of

    name, colon, options = incomplete.partition(":")
    if not colon:
        yield from _names(catalogue, kind)
        return
    entry = next((e for e in catalogue.of_kind(kind) if name in (e.name, e.full_name)), None)
    if entry is None:
        return
    *given, last = _top_level(options)
    before = f"{name}:{''.join(f'{option},' for option in given)}"
    key, equals, value = last.partition("=")
    for option in entry.text.options:
        if not equals and option.name not in [text.partition("=")[0] for text in given]:
            yield f"{before}{option.name}=", option.help
        elif equals and option.name == key and option.type in KINDS:
            inner = _spec(catalogue, option.type, value[1:]) if value[:1] == "(" else _names(catalogue, option.type)
            yield from ((f"{before}{key}={value[:1] if value[:1] == '(' else ''}{word}", text) for word, text in inner)
        elif equals and option.name == key:
            yield from ((f"{before}{key}={choice}", option.help) for choice in choices_of(option.type))


def _top_level(options: str) -> list[str]:
    """The options between the commas that are in no bracket."""
    found, depth = [""], 0
    for character in options:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            found.append("")
        else:
            found[-1] += character
    return found


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
            # Only what follows the last break is replaced, so only that is printed; within quotes nothing breaks.
            value = self.get_completion_args()[1]
            value = value.partition("=")[2] if value.startswith("--") else value
            kept = max(value.rfind(character) for character in BREAKS) + 1
            words = os.environ["COMP_WORDS"].split("\n")
            kept = 0 if words[-1].startswith(("'", '"')) else kept
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
