"""One value of a config changed: --set KEY=VALUE, with the keys of a run file."""

from collections.abc import Iterable
from dataclasses import replace

from mixzoo.core.errors import ConfigError, excerpt, listing, nearest, truncated_repr
from mixzoo.registry.config import DEFAULT_PARTS, RunConfig, Train
from mixzoo.registry.options import build, options_of, to_table
from mixzoo.registry.zoo import Zoo

FIXED = {  # keys that a resumed run does not take from --set
    "train.seed": "every random number of the run follows from it; start a new run with --seed",
    "train.steps": "use --steps",
}


def with_values(zoo: Zoo, config: RunConfig, texts: Iterable[str]) -> RunConfig:
    """The config with the value of each "KEY=VALUE", such as "train.lr=1e-4" or "objective.lam=5".

    Raises ConfigError for a key that the run's file does not have, or a value that its option does not allow.
    """
    for text in texts:
        key, equals, value = text.partition("=")
        table, dot, option = key.strip().partition(".")
        where, value = f"--set {excerpt(key.strip())}", value.strip()
        if not (equals and dot and option):
            known = [field.name for field in options_of(Train)]
            meant = f" Did you mean train.{table}={value}?" if table in known else ""
            raise ConfigError(f"--set {excerpt(text)}: give TABLE.OPTION=VALUE, such as train.lr=1e-4.{meant}")
        if table == "train":
            config = with_number(config, option, value, where)
        elif table in DEFAULT_PARTS:
            config = with_option(zoo, config, table, option, value, where)
        else:
            known = [*DEFAULT_PARTS, "train"]
            raise ConfigError(
                f"{where}: {truncated_repr(table)} is not a table of a run file "
                f"({listing(known)}).{nearest(table, known)}"
            )
    return config


def changeable_keys(texts: Iterable[str]) -> frozenset[str]:
    """The keys of these settings, for a run that goes on with them.

    Raises ConfigError for the seed, which no run changes, and for the number of steps, which has a flag of its own.
    """
    keys = frozenset(text.partition("=")[0].strip() for text in texts)
    for key, reason in FIXED.items():
        if key in keys:
            raise ConfigError(f"--set {key}: {reason}")
    return keys


def with_number(config: RunConfig, field: str, value: str, where: str) -> RunConfig:
    """The config with another number of [train]. Raises ConfigError, beginning with `where`, if it is not allowed."""
    known = [option.name for option in options_of(Train)]
    if field not in known:
        raise ConfigError(
            f"{where}: {truncated_repr(field)} is not a number of a run ({listing(known)}).{nearest(field, known)}"
        )
    return replace(config, train=build(Train, to_table(config.train) | {field: value}, where))


def with_option(zoo: Zoo, config: RunConfig, kind: str, option: str, value: str, where: str) -> RunConfig:
    """The config with another option of one of its parts. Raises ConfigError if the part does not allow it."""
    name, recipe = config.names[kind], config.parts[kind]
    known = [option.name for option in options_of(type(recipe))]
    if option not in known:
        raise ConfigError(
            f"{where}: {kind} {name!r} has no option {truncated_repr(option)} (it has: {listing(known)})."
            f"{nearest(option, known)}"
        )
    recipe = zoo.recipe_from(kind, name, to_table(recipe) | {option: value}, where)
    return replace(config, parts={**config.parts, kind: recipe})
