"""Command-line flags made from the schema: each number is declared once, in `mixzoo.registry.config.Train`."""

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import make_dataclass
from typing import Annotated, Any, Optional

import typer
from annotated_types import Ge, Le

from mixzoo.cli import completion, sections
from mixzoo.core.durations import seconds_of
from mixzoo.core.errors import ConfigError, excerpt, truncated_repr
from mixzoo.registry.config import Train
from mixzoo.registry.kinds import KINDS
from mixzoo.registry.options import Option, as_text, build, choices_of, options_of, readings

SPEC = "NAME[:KEY=VALUE,...]"
SECTIONS = {  # of the help, in which a number of the run is listed; the others are under "Training"
    **dict.fromkeys(
        ("device", "engine", "precision", "recompute", "data_on", "workers", "image_cache", "threads", "deterministic"),
        sections.HARDWARE,
    ),
    **dict.fromkeys(("log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints", "select"), sections.OUTPUT),
}
LATE = ("on", "max_time", "lost_after")  # after the numbers of the run in their section of the help
_METAVARS = {"integer": "INTEGER", "number": "FLOAT"}

Values = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=completion.setting,
        rich_help_panel=sections.FILE,
        help="Another value than the run file's: train.lr=1e-4, objective.lam=5; repeatable.",
    ),
]


def duration(flag: str, least: float = 0.0) -> Callable[[Any], float]:
    """A parser for a flag that takes a length of time, at least that many seconds; it raises ConfigError."""
    return lambda text: text if isinstance(text, float) else seconds_of(text, flag, least)


MaxTime = Annotated[
    float | None,
    typer.Option(
        "--max-time",
        rich_help_panel=sections.HARDWARE,
        parser=duration("--max-time"),
        metavar="TIME",
        help="Stop after this time as at a signal, with a checkpoint and exit code 75: 3h50m, 3:50:00, 90m, seconds.",
    ),
]

LostAfter = Annotated[
    float | None,
    typer.Option(
        "--lost-after",
        rich_help_panel=sections.HARDWARE,
        parser=duration("--lost-after", 5),
        metavar="TIME",
        help="With torchrun: end the run if a process gives no sign of life for this time. [default: 5m]",
    ),
]

LogTo = Annotated[
    str | None,
    typer.Option(
        "--log-to",
        rich_help_panel=sections.OUTPUT,
        metavar=SPEC,
        autocompletion=completion.part("logger"),
        help="Log the run as it trains, in logs/LOGGER/RUN, such as tensorboard; see `mixzoo list loggers`.",
    ),
]

On = Annotated[
    str | None,
    typer.Option(
        "--on",
        rich_help_panel=sections.HARDWARE,
        metavar=SPEC,
        autocompletion=completion.part("launcher"),
        help="Where the runs are computed, such as slurm:partition=gpu; see `mixzoo list launchers`. [default: local]",
    ),
]


def part_option(kind: str, help_text: str) -> Any:
    """The flag of a command that takes a part of this kind, as NAME[:KEY=VALUE,...]."""
    return typer.Option(
        KINDS[kind].flag or f"--{kind}", metavar=SPEC, autocompletion=completion.part(kind), help=help_text,
        rich_help_panel=sections.PARTS,
    )  # fmt: skip


def with_train_flags(
    *, lists: Collection[str] = (), without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each field of `Train` in place of its `numbers` argument.

    A flag that is not given is None, so that the run file's value applies; the schema checks ranges. The fields in
    `lists` take several values separated by commas and arrive as tuples; those in `without` get no flag.
    """
    options = {option.name: option for option in options_of(Train) if option.name not in without}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        return _with_flags(command, options, lists)

    return decorate


def _with_flags(
    command: Callable[..., None], options: dict[str, Option], lists: Collection[str]
) -> Callable[..., None]:
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "numbers"]
    flags = [_flag(option, several=name in lists) for name, option in options.items()]
    has_grid = any(p.name == "grid" for p in own)  # then a list for one number is probably meant as a sweep

    def wrapper(**given: Any) -> None:
        texts = {name: value for name in options if (value := given.pop(name)) is not None}
        numbers = {
            name: _several(options[name], value) if name in lists else _read(options[name], value, has_grid)
            for name, value in texts.items()
        }
        command(**given, numbers=numbers)

    wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
    late = [p for p in own if p.name in LATE]
    listed = [*(p for p in own if p not in late), *flags, *late]
    wrapper.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in listed}
    return wrapper


def _flag(option: Option, *, several: bool) -> inspect.Parameter:
    kind = bool if option.type == "true|false" else str  # numbers arrive as text, which the schema parses
    name = flag_of(option.name)
    declaration = f"{name}/--no-{name[2:]}" if kind is bool else name
    default = "" if option.default is None else f" [default: {as_text(option.default)}]"
    more = "; several values separated by commas" if several else ""
    choices = "|".join(choices_of(option.type))
    metavar = None if kind is bool else _METAVARS.get(option.type.split()[0], choices or "TEXT")
    values = completion.DEVICES if option.name == "device" else () if kind is bool else choices_of(option.type)
    declared = typer.Option(
        declaration, metavar=metavar, autocompletion=completion.one_of(*values) if values else None,
        help=f"{option.help[0].upper()}{option.help[1:]}{more}.{default}",
        rich_help_panel=SECTIONS.get(option.name, sections.TRAINING),
    )  # fmt: skip
    hint = Annotated[Optional[kind], declared]  # type: ignore[valid-type]  # noqa: UP045
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)


def flag_of(name: str) -> str:
    """The flag of a number of the run: --batch-images for batch_images."""
    return f"--{name.replace('_', '-')}"


def _read(option: Option, text: Any, has_grid: bool) -> Any:
    """The value of a flag's text, or the text itself for the schema to reject. Raises ConfigError for a list."""
    value = _value(option, text)
    if has_grid and isinstance(value, str) and option.type.startswith(("integer", "number")):
        seed = option.name == "seed"
        values = value.strip("[]() ")
        several = f"--seeds {values}" if seed else f"--grid train.{option.name}={values}"
        is_list = re.search(r"[0-9],|[0-9](\.\.|-|:)[0-9]" if seed else "[0-9],", value)
        if is_list and not re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", value):
            raise ConfigError(
                f"{flag_of(option.name)} {excerpt(value)}: a run takes one value. Did you mean {excerpt(several)}?"
            )
    return value


def _value(option: Option, text: Any) -> Any:
    """The number that the text of a number option spells, finite or not; anything else unchanged."""
    if not isinstance(text, str) or not option.type.startswith(("integer", "number")):
        return text
    return float(text) if re.fullmatch("[+-]?(nan|inf|infinity)", text, re.IGNORECASE) else readings(text)[-1]


def _several(option: Option, text: str) -> tuple[Any, ...]:
    """The comma-separated values, each checked by the schema."""
    where = flag_of(option.name)
    try:
        return tuple(getattr(build(Train, {option.name: part.strip()}, where), option.name) for part in text.split(","))
    except ConfigError as err:
        raise ConfigError(
            f"{where} {truncated_repr(text)}: each must be {option.allowed}, separated by commas"
        ) from err


def integer(name: str, low: int, high: int) -> Callable[[Any], int]:
    """A parser for a flag that takes an integer from `low` to `high`; it raises ConfigError for anything else."""
    number = make_dataclass("Number", [(name, Annotated[int, Ge(low), Le(high)])], frozen=True)

    def read(text: Any) -> int:
        return int(getattr(build(number, {name: readings(text)[-1]}, flag_of(name)), name))

    return read
