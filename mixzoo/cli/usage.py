"""One-line messages for command lines that the parser rejects."""

from itertools import pairwise

# typer's parser has no public names for its exceptions; these are the same since typer 0.26.
from typer._click.core import Command
from typer._click.exceptions import (
    BadOptionUsage,
    BadParameter,
    ClickException,
    MissingParameter,
    NoSuchOption,
    UsageError,
)
from typer.core import TyperArgument, TyperGroup, TyperOption

from mixzoo.core.errors import excerpt, nearest, printable, truncated_repr

COMMON_FLAGS = {  # flags of other programs -> what mixzoo has instead
    "--epochs": "--steps",
    "--iterations": "--steps",
    "--learning-rate": "--lr",
    "--model": "--autoencoder",
    "--loss": "--objective",
    "--output": "--out",
    "--gpu": "--device",
    "--cuda": "--device",
    "--resume": "`mixzoo resume`",
    "--metrics": "metrics = [...] in a run file, --config FILE",
}
COMMON_COMMANDS = {
    "help": "mixzoo --help",
    "version": "mixzoo --version",
    "run": "mixzoo train",
    "fit": "mixzoo train",
    "continue": "mixzoo resume",
    "plot": "mixzoo interpolate",
    "draw": "mixzoo interpolate",
    "info": "mixzoo show",
    "test": "mixzoo check",
}
SWITCH_VALUES = ("true", "false", "yes", "no", "on", "off", "1", "0")
DASHES = "\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}\N{HYPHEN}\N{NON-BREAKING HYPHEN}"  # what text editors turn -- into


def usage_message(err: ClickException, words: list[str]) -> str:
    """The message for an error of the parser; `words` is what was typed after `mixzoo`."""
    if isinstance(err, BadOptionUsage):
        use = "a value must follow it" if "requires" in err.message else "it takes no value"
        return f"{err.option_name}: {use}; see `mixzoo {words[0]} --help`"
    context = err.ctx if isinstance(err, UsageError) else None
    if context is None:
        return printable(err.format_message())
    command = f"mixzoo {context.info_name}" if context.parent else "mixzoo"
    match err:
        case NoSuchOption():
            return _no_such_option(context.command, command, err.option_name, words)
        case MissingParameter(param=TyperArgument() as argument):
            metavar, about = argument.metavar or argument.name or "", argument.help or ""
            return f"{metavar} is missing: {about.rstrip('.')}; write `{command} {metavar}`, see `{command} --help`"
        case BadParameter(param=TyperOption() as option):
            return f"{_bad_value(option, err.message, words)}; see `{command} --help`"
    if isinstance(context.command, TyperGroup):
        return _no_such_command(context.command, words)
    extra = err.message.partition("extra argument(s) (")[2]
    for before, word in pairwise(words):
        if extra.startswith((f"{word})", f"{word} ")):
            return _unexpected_word(context.command, command, word, before)
    return f"{printable(err.format_message())}; see `{command} --help`"


def _no_such_option(given: Command, command: str, name: str, words: list[str]) -> str:
    typed = next((word.partition("=")[0] for word in words if word.startswith(name)), name)  # -mixer arrives as -m
    wanted, known = _as_flag(typed), _options(given)
    if isinstance(given, TyperGroup):
        commands = [name for name, each in given.commands.items() if wanted in _options(each)]
        if commands:
            belongs = f"{wanted}: an option of {', '.join(commands)}, not of mixzoo itself"
            return f"{belongs}; write `mixzoo {commands[0]} {wanted}`"
    meant = f" Did you mean {COMMON_FLAGS[wanted]}?" if wanted in COMMON_FLAGS else _flag_near(wanted, known)
    return f"{excerpt(typed)}: no such option of `{command}`.{meant} See `{command} --help`"


def _bad_value(option: TyperOption, message: str, words: list[str]) -> str:
    """The option with the value typed, and what it must be in the words of typer's own checks."""
    name, value = option.opts[0], ""
    for before, word in pairwise([*words, ""]):
        if before.partition("=")[0] in option.opts:
            name, given, value = before.partition("=")
            value = value if given else word
    must = message.replace("Input should be", "must be").partition(", unable to parse")[0].rstrip(".")
    return f"{name} {excerpt(value)}: {printable(must)}"


def _no_such_command(group: TyperGroup, words: list[str]) -> str:
    word = next((word for word in words if not word.startswith("-")), "")
    other = COMMON_COMMANDS.get(word.lower())
    meant = f" Did you mean `{other}`?" if other else nearest(word, group.commands)
    return f"{truncated_repr(word)} is not a command ({', '.join(group.commands)}).{meant}"


def _unexpected_word(given: Command, command: str, word: str, before: str) -> str:
    """The message for a word that is no flag's value: perhaps a misspelt flag, or the value of a switch."""
    known, wanted = _options(given), _as_flag(word)
    if before in known and known[before].is_flag and word.lower() in SWITCH_VALUES:
        off = known[before].secondary_opts
        return f"{before} {word}: it takes no value; write {before}{f' or {off[0]}' if off else ''}"
    if word and word[0] in DASHES:
        wrong, meant = "flags begin with two plain hyphens", _flag_near(wanted, known)
    else:
        wrong = f"`{command}` does not take this word; a value follows its flag"
        meant = f" Did you mean {wanted}?" if wanted in known else ""
    return f"{excerpt(word) or truncated_repr(word)}: {wrong}.{meant} See `{command} --help`"


def _flag_near(wanted: str, known: dict[str, TyperOption]) -> str:
    return nearest(wanted, known).replace("'", "")


def _as_flag(typed: str) -> str:
    """The flag that was probably meant: --batch-images for -batch_images=8."""
    return "--" + typed.strip("-" + DASHES).partition("=")[0].replace("_", "-").lower()


def _options(command: Command) -> dict[str, TyperOption]:
    """The options of a command, by each of their names."""
    return {
        name: param
        for param in command.params
        if isinstance(param, TyperOption)
        for name in (*param.opts, *param.secondary_opts)
    }
