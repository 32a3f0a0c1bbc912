"""The runs of a sweep: seeds times grids, each config complete before any run starts.

    --seeds 1,2,3                          a run for each seed; 1..3 and 1-3 are the same
    --grid objective.lam=5,10              an option of a part: PART.OPTION
    --grid train.lr=1e-3,1e-4              a number of the run: train.FIELD
    --grid "mixer=mixup,(dirichlet:k=3,alpha=0.5)"    whole parts; a spec with commas needs brackets

Several grids multiply. Whole parts are set before options, so that a grid over an option applies to each of the parts.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from mixzoo.core.errors import ConfigError, MixzooError, excerpt, listing, nearest, path_excerpt, truncated_repr
from mixzoo.registry.config import DEFAULT_PARTS, FLAGS, RunConfig, Train
from mixzoo.registry.options import build, options_of
from mixzoo.registry.spec import parse_spec
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.setting import with_number, with_option

MAX_MEMBERS = 1000  # of a sweep; more is a typing error, or a job for several sweeps
LONGEST_NAME = 120  # characters in the name of a member's directory
_RANGE = re.compile(r"([0-9]+)(?:\.\.\.?|-|:)([0-9]+)")
THREADS = 1  # default of a member: runs side by side fill the cores, and sums depend on the number of threads

Configure = Callable[[Mapping[str, str], Mapping[str, object]], RunConfig]  # flags (kind -> spec), numbers -> a run


@dataclass(frozen=True)
class Axis:
    """One --grid: a key of the run file and its values, as typed."""

    key: str
    values: tuple[str, ...]

    @property
    def where(self) -> str:
        return f"--grid {excerpt(self.key)}"

    @property
    def part(self) -> str:
        return self.key.partition(".")[0]

    @property
    def option(self) -> str:
        """The option of the part; '' for a grid over whole parts."""
        return self.key.partition(".")[2]


@dataclass(frozen=True)
class Member:
    """One run of a sweep."""

    name: str  # of its directory, such as 'seed=1,objective.lam=5'
    point: Mapping[str, str]  # key -> value in the grid, without the seed
    config: RunConfig


def plan(
    zoo: Zoo,
    seeds: str | None,
    grids: Sequence[str],
    flags: Mapping[str, str],
    numbers: Mapping[str, object],
    configure: Configure,
    data_root: str | None = None,
) -> list[Member]:
    """The members of the sweep: every seed at the first point of the grid, then at the next.

    `flags`, `numbers` and `data_root` are the other options of the command line; `configure` makes a config from them.
    """
    # All that can be refused without building a config is refused first.
    axes = [_axis(text, lambda: _options_by_table(zoo, flags, numbers, configure)) for text in grids]
    _check_flags_are_used(axes, flags, numbers, data_root)
    if seeds is not None and "seed" in numbers:
        raise ConfigError("--seeds goes without --seed; give one of them")
    seed_list = _seeds(seeds) if seeds is not None else [None]
    _check_count(seed_list, axes)

    # threads = 0 (torch's own number) stands in every complete run file, so it counts only on the command line.
    members: list[Member] = []
    for values in product(*(axis.values for axis in axes)):
        point = {axis.key: value for axis, value in zip(axes, values)}
        config = _config_at(zoo, axes, point, flags, numbers, configure)
        if "threads" not in numbers and "train.threads" not in point:
            config = replace(config, train=replace(config.train, threads=config.train.threads or THREADS))
        for seed in seed_list:
            members.append(_member(config, point, seed, [member.name for member in members]))
    _check_no_duplicates(members)
    return members


def slug(members: Sequence[Member]) -> str:
    """A short name for the sweep, from the parts that all members share."""
    kinds = ("dataset", "objective", "mixer")
    names = {kind: {member.config.names[kind].split("/")[-1] for member in members} for kind in kinds}
    return "-".join([*(name for kind in kinds if len(names[kind]) == 1 for name in names[kind]), "sweep"])


def _member(config: RunConfig, point: Mapping[str, str], seed: int | None, taken: Sequence[str]) -> Member:
    train = config.train if seed is None else replace(config.train, seed=seed)
    settings = ({} if seed is None else {"seed": str(seed)}) | dict(point)
    return Member(_name(settings, taken), point, replace(config, train=train))


def _name(settings: Mapping[str, str], taken: Sequence[str]) -> str:
    """A directory name that states the member's settings, is unique in the sweep, and needs no quotes in a shell."""
    text = ",".join(f"{key}={value}" for key, value in settings.items())
    name = re.sub(r"[^A-Za-z0-9._=,:+-]", "_", text)[:LONGEST_NAME]
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, MAX_MEMBERS + 2))) if n not in taken)


def _config_at(
    zoo: Zoo,
    axes: Sequence[Axis],
    point: Mapping[str, str],
    flags: Mapping[str, str],
    numbers: Mapping[str, object],
    configure: Configure,
) -> RunConfig:
    """The config at one point of the grid."""
    for axis in axes:
        if not axis.option:
            _check_whole_value(axis, point[axis.key])
            zoo.recipe(axis.part, point[axis.key], axis.where)
    parts = {axis.part: point[axis.key] for axis in axes if not axis.option}
    config = configure({**flags, **parts}, numbers)
    for axis in axes:
        if axis.part == "train":
            config = with_number(config, axis.option, point[axis.key], axis.where)
        elif axis.option:
            config = with_option(zoo, config, axis.part, axis.option, point[axis.key], axis.where)
    return config


def _axis(text: str, options_by_table: Callable[[], Mapping[str, Collection[str]]]) -> Axis:
    """Parse KEY=VALUE,VALUE,...; raises ConfigError if no run file can have that key.

    `options_by_table` has the options of every table of the run, to suggest a table for a key without one.
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    where = f"--grid {excerpt(key)}"
    if not equals:
        raise ConfigError(f"--grid {excerpt(text)}: give KEY=VALUE,VALUE,..., such as objective.lam=5,10")
    if values.startswith("[") and values.endswith("]"):
        raise ConfigError(
            f"{where}: give the values without brackets around all of them. Did you mean {excerpt(values[1:-1])}?"
        )
    axis, known = Axis(key, _split(values, where)), [*DEFAULT_PARTS, "train"]
    if key == "train.seed" or key == "seed":
        raise ConfigError(
            f"{where}: seeds are given by --seeds, so that scores are averaged over them. "
            f"Did you mean --seeds {excerpt(values)}?"
        )
    if axis.part not in known:
        raise ConfigError(
            f"{where}: {truncated_repr(axis.part)} is not a table of a run file "
            f"({listing(known)}).{_suggestion(key, options_by_table()) or nearest(axis.part, known)}"
        )
    if "." in axis.option or key.endswith(".") or key == "train":
        raise ConfigError(f"{where}: a key is PART, PART.OPTION or train.FIELD, such as mixer, mixer.k or train.lr")
    fields = [option.name for option in options_of(Train)]
    if axis.part == "train" and axis.option not in fields:
        raise ConfigError(
            f"{where}: {truncated_repr(axis.option)} is not a number of a run "
            f"({listing(fields)}).{nearest(axis.option, fields)}"
        )
    return axis


def _suggestion(key: str, options_by_table: Mapping[str, Collection[str]]) -> str:
    """' Did you mean train.lr?' for lr, --lr or train:lr; '' if no table has the option."""
    plain = key.strip("-").replace("-", "_").lower()
    table, _, option = re.sub("[:/]", ".", plain).rpartition(".")
    tables = [name for name, options in options_by_table.items() if option in options and table in ("", name)]
    return f" Did you mean {' or '.join(f'{name}.{option}' for name in tables)}?" if tables else ""


def _options_by_table(
    zoo: Zoo, flags: Mapping[str, str], numbers: Mapping[str, object], configure: Configure
) -> Mapping[str, Collection[str]]:
    """The options of each table of a run file: those of the run's own parts, and of other registered parts.

    An option that one of the run's parts has is listed only for that part. If the run itself is invalid, the options of
    all registered parts are listed.
    """
    train = [option.name for option in options_of(Train)]
    try:
        parts = {kind: [part] for kind, part in configure(flags, numbers).parts.items()}
    except MixzooError:
        parts = {}
    own = {kind: [o.name for part in parts.get(kind, []) for o in options_of(type(part))] for kind in DEFAULT_PARTS}
    every = {kind: [o.name for entry in zoo.of_kind(kind) for o in options_of(entry.recipe)] for kind in DEFAULT_PARTS}
    used = {option for options in own.values() for option in options}
    other = {kind: [name for name in names if name not in used] for kind, names in every.items()}
    return {"train": train, **{kind: [*own[kind], *other[kind]] for kind in DEFAULT_PARTS}}


def _check_whole_value(axis: Axis, value: str) -> None:
    """Raises ConfigError for an option without its part, such as alpha=2 in mixer=mixup,dirichlet:k=3,alpha=2."""
    if re.match(r"[a-z_]+=", value):
        raise ConfigError(
            f"{axis.where}: {truncated_repr(value)} is not a part; put a part with commas in brackets, such as "
            f"{axis.key}=mixup,(dirichlet:k=3,alpha=2)"
        )


def _seeds(text: str) -> list[int | None]:
    """Parse seeds such as 1,2,3, or 1..3 or 1-3 with both ends included."""
    try:
        values = [seed for value in _split(text, "--seeds") for seed in _range(value)]
    except ConfigError as err:
        listed = re.fullmatch(r"[\[({]?\s*([0-9]+(?:[\s,;|]+[0-9]+)+)\s*[\])}]?", text)
        suggestion = f" Did you mean {excerpt(','.join(re.findall('[0-9]+', text)))}?" if listed else ""
        raise ConfigError(f"{err}{suggestion}") from err
    if repeated := [value for value in values if values.count(value) > 1]:
        raise ConfigError(f"--seeds {excerpt(text)}: {repeated[0]} is given twice; once is enough")
    return list(values)


def _range(text: str) -> Iterable[int]:
    """The seeds from the first to the last of a range, or the one seed given."""
    bounds = _RANGE.fullmatch(text)
    if not bounds:
        return [build(Train, {"seed": text}, "--seeds").seed]
    first, last = (build(Train, {"seed": bound}, "--seeds").seed for bound in bounds.groups())
    if first > last:
        raise ConfigError(f"--seeds {excerpt(text)}: a range must go up. Did you mean {last}..{first}?")
    if last - first >= MAX_MEMBERS:
        raise ConfigError(f"--seeds {excerpt(text)}: {last - first + 1} seeds; a sweep has at most {MAX_MEMBERS} runs")
    return range(first, last + 1)


def _split(text: str, where: str) -> tuple[str, ...]:
    """Split at commas, but not inside brackets or quotes. Brackets around a value are removed."""
    values, depth, quoted = [""], 0, False
    for before, character in zip(" " + text, text):
        quoted ^= character == '"' and before != "\\"
        depth += 0 if quoted else (character == "(") - (character == ")")
        if character == "," and not depth and not quoted:
            values.append("")
        else:
            values[-1] += character
    values = [value.strip() for value in values]
    if "" in values:
        raise ConfigError(
            f"{where}: {truncated_repr(text)} has an empty value; separate values by commas, such as 1,2,3"
        )
    return tuple(value[1:-1] if value[0] == "(" and value[-1] == ")" else value for value in values)


def _check_flags_are_used(
    axes: Sequence[Axis], flags: Mapping[str, str], numbers: Mapping[str, object], data_root: str | None
) -> None:
    """Raises ConfigError if two grids, or a grid and a flag, set the same value: one of them would be ignored."""
    keys = [axis.key for axis in axes]
    for axis in axes:
        if keys.count(axis.key) > 1:
            raise ConfigError(f"{axis.where} is given twice; give all its values in one")
        if other := _set_by(axis, axes, flags, numbers, data_root):
            raise ConfigError(f"{axis.where}: {other} sets it already; leave one out")


def _set_by(
    axis: Axis,
    axes: Sequence[Axis],
    flags: Mapping[str, str],
    numbers: Mapping[str, object],
    data_root: str | None,
) -> str:
    """The other flag or grid that sets the value of this grid; '' if there is none."""
    if axis.key == "dataset.root" and data_root is not None:
        return f"--data-root {path_excerpt(data_root)}"
    if axis.part == "train":
        return f"--{axis.option.replace('_', '-')}" if axis.option in numbers else ""
    specs = [(FLAGS[axis.part], flags[axis.part])] if axis.part in flags else []
    if not axis.option:
        return f"{specs[0][0]} {excerpt(specs[0][1])}" if specs else ""
    specs += [(other.where, spec) for other in axes if other.key == axis.part for spec in other.values]
    return next(
        (f"{flag} {excerpt(spec)}" for flag, spec in specs if axis.option in parse_spec(spec, flag).options), ""
    )


def _check_count(seeds: Sequence[int | None], axes: Sequence[Axis]) -> None:
    count = len(seeds)
    for axis in axes:
        count *= len(axis.values)
    if count > MAX_MEMBERS:
        raise ConfigError(
            f"seeds times grids make {count} runs; a sweep has at most {MAX_MEMBERS}, so make several sweeps"
        )


def _check_no_duplicates(members: Sequence[Member]) -> None:
    """Raises ConfigError if two members are the same run under different names, such as lam=5 and lam=5.0."""
    seen: dict[str, Member] = {}
    for member in members:
        first = seen.setdefault(member.config.to_toml(), member)
        if first is not member:
            raise ConfigError(
                f"--grid: {excerpt(first.name)} and {excerpt(member.name)} are the same run; leave one out"
            )
