"""Python processes that need not import torch again: each is forked from one that has imported it, and little else.

`run` and `start` are `subprocess.run` and `Popen` of an interpreter, for tests of what a command does: most of the time
of a short command is the import of libraries. mixzoo and its plugins are imported anew in each process. Tests of
imports, and of how an interpreter starts, takes signals and ends, have a real one.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import shlex
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from pathlib import Path
from types import ModuleType

EXECUTABLE = "WARM_EXECUTABLE"  # in the environment of a process: its sys.executable, such as `python()`
LIBRARIES = (
    "torch",
    "torch._inductor.config",
    "timm",
    "sklearn.datasets",
    "sklearn.linear_model",
    "rich.table",
    "typer",
)


class Running:
    """A process that was asked for."""

    def __init__(self, arguments, connection):
        self.arguments, self.connection, self.answers = arguments, connection, connection.makefile()
        self.pid = int(self.answers.readline())

    def wait(self, timeout=None):
        """Its exit code; TimeoutExpired if it still runs after these seconds."""
        with self.connection, self.answers:
            self.connection.settimeout(timeout)
            try:
                return int(self.answers.readline())
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(self.arguments, timeout) from None


@cache
def address():
    """The socket of a process that has the libraries, which forks itself for every request; it ends with this one."""
    folder = tempfile.mkdtemp(prefix="warm-")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/socket")
    listener.listen()
    number = listener.fileno()
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", str(number)],
        pass_fds=[number],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # or `pytest | tail` would not end while a process that a test left behind runs
    )
    listener.close()

    def close():
        process.stdin.close()
        process.wait()
        os.remove(f"{folder}/socket")
        os.rmdir(folder)

    atexit.register(close)
    return f"{folder}/socket"


def start(*arguments, cwd=None, env=None, streams=(0, 1, 2), installed=(), at=None):
    """Begin `python ARGUMENTS` (-m MODULE ..., -c CODE ..., or a script).

    `streams` are (input, output, errors), files or numbers; `installed` are further folders of installed packages.
    """
    numbers = [stream if isinstance(stream, int) else stream.fileno() for stream in streams]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(at or address())
    with tempfile.TemporaryFile("w+") as request:
        words = [str(word) for word in arguments]
        json.dump(
            [words, str(cwd or os.getcwd()), dict(os.environ if env is None else env), [*map(str, installed)]], request
        )
        request.seek(0)
        socket.send_fds(connection, [b"r"], [request.fileno(), *numbers])
    return Running(arguments, connection)


def run(*arguments, timeout=600, **settings):
    """What `python ARGUMENTS` comes to, with its output as text."""
    with open(os.devnull) as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = start(*arguments, streams=(nothing, out, err), **settings).wait(timeout)
        printed = [stream.seek(0) or stream.read().decode() for stream in (out, err)]
    return subprocess.CompletedProcess(arguments, code, *printed)


def executable(file, *first, installed=()):
    """Make the file a command that does `python FIRST ARGUMENTS` in such a process."""
    client = [sys.executable, "-S", "-E", __file__, "client", address(), os.pathsep.join(map(str, installed)), *first]
    Path(file).write_text(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n')
    Path(file).chmod(0o755)


@cache
def python():
    """The path of an interpreter each of whose processes is such a one; it passes on no signal."""
    folder = tempfile.mkdtemp(prefix="python-")
    atexit.register(shutil.rmtree, folder)
    executable(f"{folder}/python")
    return f"{folder}/python"


def _serve(listener):
    """Fork for every request, until the process that asks is gone; the request, in the process forked for it."""
    gc.collect()
    gc.freeze()  # a collection in a forked process would write to all of the memory that it shares
    with selectors.DefaultSelector() as ready:
        ready.register(listener, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in ready.select()):
            connection, _ = listener.accept()
            _, descriptors, _, _ = socket.recv_fds(connection, 1, 4)
            if os.fork() == 0:
                listener.close()
                ready.close()
                return _forked(connection, *descriptors)
            for descriptor in (connection.detach(), *descriptors):
                os.close(descriptor)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    with contextlib.suppress(ChildProcessError):
        while os.wait():
            pass
    return None


def _forked(connection, request, *streams):
    """The request, in a further process; this one waits for it and passes on its exit code."""
    if process := os.fork():
        for descriptor in (request, *streams):
            os.close(descriptor)
        connection.send(b"%d\n" % process)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        with contextlib.suppress(BrokenPipeError):
            connection.send(b"%d\n" % code)
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    with open(request) as file:
        return json.load(file)


def _become(arguments, folder, environment, installed, path):
    """Do as the interpreter does at its start with these arguments and this environment."""
    import torch

    sys.executable = environment.pop(EXECUTABLE, sys.executable)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS") or os.cpu_count()))
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", buffering=1 if os.isatty(1) else -1, closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    named = [os.path.abspath(part) for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    how, *rest = arguments
    first = {"-m": folder, "-c": ""}.get(how, os.path.dirname(os.path.abspath(how)))
    sys.path[:] = [first, *named, *path]
    for directory in installed:
        site.addsitedir(directory)
    if how == "-m":
        sys.argv = [how, *rest[1:]]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif how == "-c":
        sys.argv = [how, *rest[1:]]
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = list(arguments)
        runpy.run_path(how, run_name="__main__")


def _end(work):
    """Exit as an interpreter that has done the work, but for taking all modules apart, which costs a second."""
    code = 0
    try:
        work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _main(role, *arguments):
    if role == "client":
        where, installed, *arguments = arguments
        code = start(*arguments, installed=installed.split(os.pathsep) if installed else (), at=where).wait()
        if code < 0:
            with contextlib.suppress(OSError):  # of SIGKILL
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        sys.exit(code)
    named = [os.path.abspath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    path = [part for part in sys.path[1:] if part not in named]  # what an interpreter adds of its own
    sys.path.pop(0)  # this folder
    for library in LIBRARIES:
        importlib.import_module(library)
    if request := _serve(socket.socket(fileno=int(arguments[0]))):
        _end(lambda: _become(*request, path))


if __name__ == "__main__":
    _main(*sys.argv[1:])
