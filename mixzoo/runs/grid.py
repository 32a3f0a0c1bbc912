"""Which runs a sweep has: seeds times grids, each member resolved before anything starts.

    --seeds 1,2,3                          the field `seed` of each run; 1..3 and 1-3 are the same
    --grid objective.lam=5,10              an option of a part: PART.OPTION
    --grid train.lr=1e-3,1e-4              a number of the run: train.FIELD
    --grid "mixer=mixup,(dirichlet:k=3,alpha=0.5)"    whole parts; one that has commas stands in brackets

Several grids multiply. A grid over whole parts comes first, so that one over options reaches each of those parts.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from mixzoo.core.errors import ConfigError, MixzooError, excerpt, listing, nearest, path_excerpt, truncated_repr
from mixzoo.registry.config import DEFAULT_PARTS, FLAGS, RunConfig, Train
from mixzoo.registry.options import build, options_of, to_table
from mixzoo.registry.spec import parse_spec
from mixzoo.registry.zoo import Zoo

MOST_MEMBERS = 1000  # of a sweep; more is a typing error, or work for several sweeps
LONGEST_NAME = 120  # bytes of a member's directory
_RANGE = re.compile(r"([0-9]+)(?:\.\.\.?|-|:)([0-9]+)")
THREADS = 1  # of a member that states none: cores are filled by runs, and sums depend on the number of threads

Configure = Callable[[Mapping[str, str], Mapping[str, object]], RunConfig]  # flags (kind -> spec), numbers -> a run


@dataclass(frozen=True)
class Axis:
    """One grid: a key of the run file and its values, as they were typed."""

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
        """The option of the part, or '' for a grid over whole parts."""
        return self.key.partition(".")[2]


@dataclass(frozen=True)
class Member:
    """One run of a sweep: its directory's name, where in the grid it is, its config."""

    name: str  # such as 'seed=1,objective.lam=5'
    point: Mapping[str, str]  # key -> value, the seed left out
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
    """Every member of the sweep, point after point of the grid and seed after seed.

    `flags`, `numbers` and `data_root` are what the command line says beside; `configure` makes a config of such.
    """
    axes = [_axis(text, lambda: _homes(zoo, flags, numbers, configure)) for text in grids]
    _check_flags_are_used(axes, flags, numbers, data_root)
    if seeds is not None and "seed" in numbers:
        raise ConfigError("--seeds goes without --seed; give one of them")
    chosen = _seeds(seeds) if seeds is not None else [None]
    _check_count(chosen, axes)
    members: list[Member] = []
    for values in product(*(axis.values for axis in axes)):
        point = {axis.key: value for axis, value in zip(axes, values)}
        config = _at(zoo, axes, point, flags, numbers, configure)
        if "threads" not in numbers and "train.threads" not in point:  # a run file's 0 is what every one of them has
            config = replace(config, train=replace(config.train, threads=config.train.threads or THREADS))
        for seed in chosen:
            members.append(_member(config, point, seed, [member.name for member in members]))
    _check_no_duplicates(members)
    return members


def slug(members: Sequence[Member]) -> str:
    """A short name for the sweep: the parts that all members share."""
    kinds = ("dataset", "objective", "mixer")
    names = {kind: {member.config.names[kind].split("/")[-1] for member in members} for kind in kinds}
    return "-".join([*(name for kind in kinds if len(names[kind]) == 1 for name in names[kind]), "sweep"])


def _member(config: RunConfig, point: Mapping[str, str], seed: int | None, taken: Sequence[str]) -> Member:
    train = config.train if seed is None else replace(config.train, seed=seed)
    differs = ({} if seed is None else {"seed": str(seed)}) | dict(point)
    return Member(_name(differs, taken), point, replace(config, train=train))


def _name(differs: Mapping[str, str], taken: Sequence[str]) -> str:
    """What differs, as the name of a directory that no other member has and no shell misreads."""
    text = ",".join(f"{key}={value}" for key, value in differs.items())
    name = re.sub(r"[^A-Za-z0-9._=,:+-]", "_", text)[:LONGEST_NAME]
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, MOST_MEMBERS + 2))) if n not in taken)


def _at(
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
            config = _with_number(config, axis, point[axis.key])
        elif axis.option:
            config = _with_option(zoo, config, axis, point[axis.key])
    return config


def _with_number(config: RunConfig, axis: Axis, value: str) -> RunConfig:
    table = to_table(config.train) | {axis.option: value}
    return replace(config, train=build(Train, table, axis.where))


def _with_option(zoo: Zoo, config: RunConfig, axis: Axis, value: str) -> RunConfig:
    name, recipe = config.names[axis.part], config.parts[axis.part]
    known = [option.name for option in options_of(type(recipe))]
    if axis.option not in known:
        raise ConfigError(
            f"{axis.where}: {axis.part} {name!r} has no option {truncated_repr(axis.option)} "
            f"(it has: {listing(known)}).{nearest(axis.option, known)}"
        )
    recipe = zoo.recipe_from(axis.part, name, to_table(recipe) | {axis.option: value}, axis.where)
    return replace(config, parts={**config.parts, axis.part: recipe})


def _axis(text: str, homes: Callable[[], Mapping[str, Collection[str]]]) -> Axis:
    """KEY=VALUE,VALUE,... as an axis; ConfigError for a key that no run file could have.

    `homes` has the options of every table of the run, for a key without its table.
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    where = f"--grid {excerpt(key)}"
    if not equals:
        raise ConfigError(f"--grid {excerpt(text)}: give KEY=VALUE,VALUE,..., such as objective.lam=5,10")
    if values.startswith("[") and values.endswith("]"):
        raise ConfigError(f"{where}: values have no brackets around them all. Did you mean {excerpt(values[1:-1])}?")
    axis, known = Axis(key, _split(values, where)), [*DEFAULT_PARTS, "train"]
    if key == "train.seed" or key == "seed":
        raise ConfigError(
            f"{where}: seeds are given by --seeds, so that scores are averaged over them. "
            f"Did you mean --seeds {excerpt(values)}?"
        )
    if axis.part not in known:
        raise ConfigError(
            f"{where}: {truncated_repr(axis.part)} is no table of a run file "
            f"({listing(known)}).{_key_meant(key, homes()) or nearest(axis.part, known)}"
        )
    if "." in axis.option or key.endswith(".") or key == "train":
        raise ConfigError(f"{where}: a key is PART, PART.OPTION or train.FIELD, such as mixer, mixer.k or train.lr")
    fields = [option.name for option in options_of(Train)]
    if axis.part == "train" and axis.option not in fields:
        raise ConfigError(
            f"{where}: {truncated_repr(axis.option)} is no number of a run "
            f"({listing(fields)}).{nearest(axis.option, fields)}"
        )
    return axis


def _key_meant(key: str, homes: Mapping[str, Collection[str]]) -> str:
    """' Did you mean train.lr?' for lr, --lr or train:lr, or ''."""
    plain = key.strip("-").replace("-", "_").lower()
    table, _, option = re.sub("[:/]", ".", plain).rpartition(".")
    found = [run_dir for run_dir, options in homes.items() if option in options and table in ("", run_dir)]
    return f" Did you mean {' or '.join(f'{run_dir}.{option}' for run_dir in found)}?" if found else ""


def _homes(
    zoo: Zoo, flags: Mapping[str, str], numbers: Mapping[str, object], configure: Configure
) -> Mapping[str, Collection[str]]:
    """The options of each table of the run; of every registered part where the run itself is not right."""
    train = [option.name for option in options_of(Train)]
    try:
        parts = {kind: [part] for kind, part in configure(flags, numbers).parts.items()}
    except MixzooError:
        parts = {}
    found = {kind: [o.name for part in parts.get(kind, []) for o in options_of(type(part))] for kind in DEFAULT_PARTS}
    every = {kind: [o.name for entry in zoo.of_kind(kind) for o in options_of(entry.recipe)] for kind in DEFAULT_PARTS}
    of_run = {option for options in found.values() for option in options}
    rest = {kind: [name for name in names if name not in of_run] for kind, names in every.items()}
    return {"train": train, **{kind: [*found[kind], *rest[kind]] for kind in DEFAULT_PARTS}}


def _check_whole_value(axis: Axis, value: str) -> None:
    """ConfigError for what was meant as an option of the part before it, such as alpha=2 in dirichlet:k=3,alpha=2."""
    if re.match(r"[a-z_]+=", value):
        raise ConfigError(
            f"{axis.where}: {truncated_repr(value)} is no part; one with commas stands in brackets, such as "
            f"{axis.key}=mixup,(dirichlet:k=3,alpha=2)"
        )


def _seeds(text: str) -> list[int | None]:
    """The seeds that 1,2,3 names, or a range such as 1..3 or 1-3 in it, both ends included."""
    try:
        values = [seed for value in _split(text, "--seeds") for seed in _range(value)]
    except ConfigError as err:
        listed = re.fullmatch(r"[\[({]?\s*([0-9]+(?:[\s,;|]+[0-9]+)+)\s*[\])}]?", text)
        meant = f" Did you mean {excerpt(','.join(re.findall('[0-9]+', text)))}?" if listed else ""
        raise ConfigError(f"{err}{meant}") from err
    if twice := [value for value in values if values.count(value) > 1]:
        raise ConfigError(f"--seeds {excerpt(text)}: {twice[0]} is given twice; once is enough")
    return list(values)


def _range(text: str) -> Iterable[int]:
    """The seed, or those from the first to the last of a range."""
    bounds = _RANGE.fullmatch(text)
    if not bounds:
        return [build(Train, {"seed": text}, "--seeds").seed]
    first, last = (build(Train, {"seed": bound}, "--seeds").seed for bound in bounds.groups())
    if first > last:
        raise ConfigError(f"--seeds {excerpt(text)}: a range goes up. Did you mean {last}..{first}?")
    if last - first >= MOST_MEMBERS:
        raise ConfigError(f"--seeds {excerpt(text)}: {last - first + 1} seeds, a sweep has at most {MOST_MEMBERS} runs")
    return range(first, last + 1)


def _split(text: str, where: str) -> tuple[str, ...]:
    """The values between commas. A comma in brackets or quotes is part of a value. Brackets around a value go."""
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
            f"{where}: {truncated_repr(text)} has an empty value; give values with commas between, such as 1,2,3"
        )
    return tuple(value[1:-1] if value[0] == "(" and value[-1] == ")" else value for value in values)


def _check_flags_are_used(
    axes: Sequence[Axis], flags: Mapping[str, str], numbers: Mapping[str, object], data_root: str | None
) -> None:
    """ConfigError where two grids, or a grid and a flag, say the same thing."""
    keys = [axis.key for axis in axes]
    for axis in axes:
        if keys.count(axis.key) > 1:
            raise ConfigError(f"{axis.where} is given twice; give all its values in one")
        if stated := _stated(axis, axes, flags, numbers, data_root):
            raise ConfigError(f"{axis.where}: {stated} states it already; leave one out")


def _stated(
    axis: Axis,
    axes: Sequence[Axis],
    flags: Mapping[str, str],
    numbers: Mapping[str, object],
    data_root: str | None,
) -> str:
    """What else on the command line says what the grid says, or ''."""
    if axis.key == "dataset.root" and data_root is not None:
        return f"--data-root {path_excerpt(data_root)}"
    if axis.part == "train":
        return f"--{axis.option.replace('_', '-')}" if axis.option in numbers else ""
    whole = [(FLAGS[axis.part], flags[axis.part])] if axis.part in flags else []
    if not axis.option:
        return f"{whole[0][0]} {excerpt(whole[0][1])}" if whole else ""
    whole += [(other.where, spec) for other in axes if other.key == axis.part for spec in other.values]
    return next(
        (f"{flag} {excerpt(spec)}" for flag, spec in whole if axis.option in parse_spec(spec, flag).options), ""
    )


def _check_count(seeds: Sequence[int | None], axes: Sequence[Axis]) -> None:
    count = len(seeds)
    for axis in axes:
        count *= len(axis.values)
    if count > MOST_MEMBERS:
        raise ConfigError(
            f"seeds times grids make {count} runs, a sweep has at most {MOST_MEMBERS}; make several sweeps"
        )


def _check_no_duplicates(members: Sequence[Member]) -> None:
    """ConfigError where two members are one run under two names, such as lam=5 and lam=5.0."""
    seen: dict[str, Member] = {}
    for member in members:
        twin = seen.setdefault(member.config.to_toml(), member)
        if twin is not member:
            raise ConfigError(
                f"--grid: {excerpt(twin.name)} and {excerpt(member.name)} are the same run; leave one out"
            )
