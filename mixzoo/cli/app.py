"""The command line. Each command is one file that parses, calls and prints; heavy modules are imported inside it."""

import os
import sys
from typing import Annotated

import typer
from typer._click.exceptions import (  # as mixzoo/cli/usage.py has them
    ClickException,
    NoArgsIsHelpError,
    UsageError,
)

from mixzoo.cli.bench import bench
from mixzoo.cli.check import check
from mixzoo.cli.compare import compare
from mixzoo.cli.completion import prepare_shell
from mixzoo.cli.data import data
from mixzoo.cli.doctor import doctor
from mixzoo.cli.embed import embed
from mixzoo.cli.evaluate import evaluate
from mixzoo.cli.figure import figure
from mixzoo.cli.interpolate import interpolate
from mixzoo.cli.list import list_parts
from mixzoo.cli.new_plugin import new_plugin
from mixzoo.cli.plot import plot
from mixzoo.cli.plugins import plugins
from mixzoo.cli.report import report
from mixzoo.cli.resume import resume
from mixzoo.cli.rm import rm
from mixzoo.cli.runs import runs
from mixzoo.cli.sections import SectionedCommand
from mixzoo.cli.show import show
from mixzoo.cli.streams import safe_streams
from mixzoo.cli.track import track
from mixzoo.cli.train import train
from mixzoo.cli.usage import check_no_word_is_empty, usage_message
from mixzoo.core.errors import (
    INTERRUPTED,
    EndedWithAnother,
    MixzooError,
    OutOfMemoryError,
    PluginError,
    is_out_of_memory,
    one_line,
    printable,
)

app = typer.Typer(
    name="mixzoo",
    help="Auto-encoders that mix: encode images, mix their codes, decode the mix, and make it look real.",
    epilog="First steps: mixzoo train --mixer dirichlet:k=4 --objective amr",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(requested: bool | None) -> None:
    if requested:
        from mixzoo import __version__

        typer.echo(f"mixzoo {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    pass


app.command("train", cls=SectionedCommand)(train)
app.command("resume")(resume)
app.command("runs")(runs)
app.command("evaluate")(evaluate)
app.command("compare")(compare)
app.command("plot")(plot)
app.command("report")(report)
app.command("figure")(figure)
app.command("embed")(embed)
app.command("track")(track)
app.command("rm")(rm)
app.command("ls", hidden=True)(runs)
app.command("interpolate")(interpolate)
app.command("list")(list_parts)
app.command("show")(show)
app.command("plugins")(plugins)
app.command("check")(check)
app.command("bench", cls=SectionedCommand)(bench)
app.add_typer(data, name="data")
app.command("doctor")(doctor)
app.command("new-plugin")(new_plugin)


def main() -> None:
    """Run the command line. An error that a user can act on is one line on standard error, with its own exit code."""
    with safe_streams():
        try:
            code = _run()
        except SystemExit as err:  # one of several processes, ended by another's failure
            code = err.code if isinstance(err.code, int) else int(err.code is not None)
        distributed = sys.modules.get("mixzoo.training.distributed")  # not loaded in a single process
        if distributed is not None and distributed.has_joined():
            distributed.end_process(code)
        sys.exit(code)


def _run() -> int:
    """Run the command in sys.argv, print its error if it has one, and return its exit code."""
    is_completion = "_MIXZOO_COMPLETE" in os.environ or {"--install-completion", "--show-completion"} & set(sys.argv)
    try:
        command = typer.main.get_command(app)
        if is_completion:
            prepare_shell()  # after typer has registered the shells that it knows
        check_no_word_is_empty(sys.argv[1:])
        code = command(prog_name="mixzoo", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # what typer returns on KeyboardInterrupt
            print("mixzoo: interrupted", file=sys.stderr)
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:  # before the command has begun; typer returns INTERRUPTED for a later one
        print("mixzoo: interrupted", file=sys.stderr)
        return INTERRUPTED
    except NoArgsIsHelpError as err:
        err.show()
        return UsageError.exit_code
    except ClickException as err:
        print(f"mixzoo: {usage_message(err, sys.argv[1:])}", file=sys.stderr)
        return err.exit_code
    except MixzooError as err:
        lines = f"mixzoo: {err}".split("\n")  # the message for a malformed spec has a caret under the mistake
        print("\n".join(map(printable, lines)), file=sys.stderr)
        return err.exit_code
    except SystemExit as err:
        if is_completion or isinstance(err, EndedWithAnother):
            raise
        from mixzoo.registry.contract import reason

        line = f"mixzoo: a part has ended the command: {reason(err)}; it has to raise an exception instead"
        print(line, file=sys.stderr)
        return PluginError.exit_code
    except Exception as err:
        if not is_out_of_memory(err):
            raise
        print(f"mixzoo: out of memory ({one_line(err) or type(err).__name__})", file=sys.stderr)
        return OutOfMemoryError.exit_code
