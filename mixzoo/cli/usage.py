"""One-line messages for command lines that the parser rejects."""

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise

from typer import BadParameter

# typer's parser has no public names for these; they are the same since typer 0.26.
from typer._click.core import Command, Context
from typer._click.exceptions import (
    BadOptionUsage,
    ClickException,
    MissingParameter,
    NoSuchOption,
    UsageError,
)
from typer.core import TyperArgument, TyperGroup, TyperOption

from mixzoo.core.errors import ConfigError, excerpt, nearest, printable, truncated_repr

COMMON_FLAGS = {  # flags of other programs -> what mixzoo has instead
    "--epochs": "--steps",
    "--iterations": "--steps",
    "--learning-rate": "--lr",
    "--model": "--autoencoder",
    "--loss": "--objective",
    "--output": "--out",
    "--gpu": "--device",
    "--cuda": "--device cuda",
    "--gpus": "--device",
    "--cpu": "--device cpu",
    "--amp": "--precision bf16",
    "--fp16": "--precision bf16",
    "--bf16": "--precision bf16",
    "--metrics": "--metric",
    "--metric": "--score",
    "--resume": "`mixzoo resume`",
    "--checkpoint": "`mixzoo resume`",
    "--ckpt": "`mixzoo resume`",
    "--max-steps": "--steps",
    **dict.fromkeys(("--name", "--run-name", "--exp-name", "--experiment", "--output-dir", "--save-dir"), "--out"),
    **dict.fromkeys(("--logger", "--tensorboard", "--wandb", "--mlflow", "--project"), "--log-to"),
}
COMMON_COMMANDS = {
    "help": "mixzoo --help",
    "version": "mixzoo --version",
    "run": "mixzoo train",
    "fit": "mixzoo train",
    "continue": "mixzoo resume",
    "draw": "mixzoo interpolate",
    "sample": "mixzoo interpolate",
    "generate": "mixzoo interpolate",
    "encode": "mixzoo embed",
    "log": "mixzoo track",
    "delete": "mixzoo rm",
    "remove": "mixzoo rm",
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
    command = _command_of(context)
    match err:
        case NoSuchOption():
            return _no_such_option(context.command, command, err.option_name, words)
        case MissingParameter(param=TyperOption() as option):
            about = (option.help or "").partition(" [")[0].rstrip(".")
            written = f"{option.opts[0]} {option.metavar or 'VALUE'}"
            return f"{option.opts[0]} is missing: {about}; write `{command} ... {written}`, see `{command} --help`"
        case MissingParameter(param=TyperArgument() as argument):
            metavar, about = argument.metavar or argument.name or "", argument.help or ""
            return f"{metavar} is missing: {about.rstrip('.')}; write `{command} {metavar}`, see `{command} --help`"
        case BadParameter(param=TyperOption() as option):
            return f"{_bad_value(option, err.message, words)}; see `{command} --help`"
    if isinstance(context.command, TyperGroup):
        return _no_such_command(context.command, words[len(command.split()) - 1 :], command)
    extra = err.message.partition("extra argument(s) (")[2]
    for before, word in pairwise(words):
        if extra.startswith((f"{word})", f"{word} ")):
            return _unexpected_word(context.command, command, word, before, words)
    return f"{printable(err.format_message())}; see `{command} --help`"


def _command_of(context: Context) -> str:
    """The command as it is typed, with the words of its groups: `mixzoo data check`."""
    words = list[str]()
    while context.parent is not None:
        words.insert(0, context.info_name or "")
        context = context.parent
    return " ".join(["mixzoo", *words])


def check_no_word_is_empty(words: Sequence[str]) -> None:
    """Raises ConfigError for a word that is empty: as a path it would be this folder."""
    for before, word in pairwise(["", *words]):
        if not word or re.fullmatch("--[a-z-]+=", word):
            place = f" after {excerpt(word or before)}" if word or before else ""
            raise ConfigError(f"an empty word{place}; is it a variable of the shell that is not set?")


def _no_such_option(given: Command, command: str, name: str, words: list[str]) -> str:
    typed = next((word.partition("=")[0] for word in words if word.startswith(name)), name)  # -mixer arrives as -m
    wanted, known = _as_flag(typed), _options(given)
    if isinstance(given, TyperGroup):
        commands = [name for name, each in given.commands.items() if wanted in _options(each)]
        if commands:
            belongs = f"{wanted}: an option of {', '.join(commands)}, not of mixzoo itself"
            return f"{belongs}; write `mixzoo {commands[0]} {wanted}`"
    other = COMMON_FLAGS.get(wanted, "")
    if other.startswith("`") or other.partition(" ")[0] in known:
        meant = f" Did you mean {other}?"
    else:
        meant = "" if wanted in known else _of_run_file(wanted, known)
        meant = meant or _flag_near(wanted, known)
    return f"{excerpt(typed)}: no such option of `{command}`.{meant} See `{command} --help`"


def _of_run_file(wanted: str, known: dict[str, TyperOption]) -> str:
    """What to write in place of a flag that is an option of a part, or a number of the run; '' if it is neither."""
    from mixzoo.registry.catalogue import cached_catalogue
    from mixzoo.registry.config import Train
    from mixzoo.registry.kinds import KINDS
    from mixzoo.registry.options import options_of
    from mixzoo.runs.listing import PARTS

    key = wanted.removeprefix("--").replace("-", "_")
    if "--set" in known and key in {option.name for option in options_of(Train)}:
        return f" Did you mean --set train.{key}=VALUE?"

    # The parts that the cache knows: a mistake on the command line loads no plugin, and no torch.
    having = {entry.kind for entry in cached_catalogue().registered if key in entry.option_names}
    for kind in [KINDS[name] for name in (*PARTS, *KINDS) if name in having]:
        flag = kind.flag or f"--{kind.name}"
        if flag in known or ("--set" in known and kind.name in PARTS):
            write = f"{flag} NAME:{key}=VALUE" if flag in known else f"--set {kind.name}.{key}=VALUE"
            return f" It is an option of {kind.with_article}; write {write}."
    return ""


def _bad_value(option: TyperOption, message: str, words: list[str]) -> str:
    """The option with the value typed, and what it must be in the words of typer's own checks."""
    name, value = option.opts[0], ""
    for before, word in pairwise([*words, ""]):
        if before.partition("=")[0] in option.opts:
            name, given, value = before.partition("=")
            value = value if given else word
    must = message.replace("Input should be", "must be").partition(", unable to parse")[0].rstrip(".")
    return f"{name} {excerpt(value)}: {printable(must)}"


def _no_such_command(group: TyperGroup, words: list[str], command: str) -> str:
    word = next((word for word in words if not word.startswith("-")), "")
    other = COMMON_COMMANDS.get(word.lower()) if command == "mixzoo" else None
    meant = f" Did you mean `{other}`?" if other else nearest(word, group.commands)
    of = "" if command == "mixzoo" else f" of `{command}`"
    return f"{truncated_repr(word)} is not a command{of} ({', '.join(group.commands)}).{meant}"


def _unexpected_word(given: Command, command: str, word: str, before: str, words: list[str]) -> str:
    """The message for a word that is no flag's value: perhaps a misspelt flag, or the value of a switch."""
    known, wanted = _options(given), _as_flag(word)
    if before in known and known[before].is_flag and word.lower() in SWITCH_VALUES:
        off = known[before].secondary_opts
        return f"{before} {word}: it takes no value; write {before}{f' or {off[0]}' if off else ''}"
    if word and word[0] in DASHES:
        wrong, meant = "flags begin with two plain hyphens", _flag_near(wanted, known)
    elif spread := _spread_value(known, words, words.index(word)):
        wrong, meant = spread
    else:
        wrong = f"`{command}` does not take this word; a value follows its flag"
        meant = f" Did you mean {wanted}?" if wanted in known else ""
    return f"{excerpt(word) or truncated_repr(word)}: {wrong}.{meant} See `{command} --help`"


def _spread_value(known: dict[str, TyperOption], words: list[str], at: int) -> tuple[str, str] | None:
    """What is wrong with a flag whose value goes on in the word `at`, and the words that were probably meant."""
    start = next((i for i in range(at - 1, -1, -1) if words[i].startswith("-")), None)
    flag, equals, first = ("", "", "") if start is None else words[start].partition("=")
    option = known.get(flag)
    if start is None or option is None or option.is_flag:
        return None
    end = next((i for i in range(at, len(words)) if words[i].startswith("-")), len(words))
    pieces = [*([first] if equals else []), *words[start + 1 : end]]

    # A spec, or a list, that was typed with spaces is one word without them.
    if "," in (metavar := option.metavar or "") or "=" in metavar:
        joined, listed = pieces[0], "=" not in metavar
        for piece in pieces[1:]:
            if joined[-1:] not in tuple(",:=") and piece[:1] not in tuple(",:="):
                if not listed:
                    break
                joined += ","
            joined += piece
        else:
            return f"the value of {flag} has no spaces", f" Did you mean {flag} {excerpt(joined)}?"
    if option.multiple:
        meant = " ".join(f"{flag} {piece}" for piece in pieces)
        return f"{flag} takes one value, and may be repeated", f" Did you mean {excerpt(meant)}?"
    if metavar in ("DIR", "FILE"):
        return "a value with spaces goes in quotes", f" Did you mean {flag} {excerpt(shlex.quote(' '.join(pieces)))}?"
    return None


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
