"""Jobs in processes forked from one that has imported mixzoo and trained once: a tenth of a second each, not five.

    with Server(shim=shim) as server:
        ended = server.run("command", arguments=["resume", "run"], folder=folder, fault=Fault(folder, n=3, mode=FAIL))

A job is a function of the module `jobs`. With a `fault`, a call of its process fails (shim.c).
"""

import ctypes
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
COUNT, FAIL, HALF, KILL_BEFORE, KILL_AFTER = range(5)  # as in shim.c
NOTE = 1032  # bytes of its struct note


@dataclass(frozen=True)
class Fault:
    """Call number n that changes something in the directory fails with this error, or kills its process."""

    directory: str
    n: int = 0
    mode: int = COUNT
    error: int = 0


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or minus a signal; -1000 if it hung, and was killed."""

    code: int
    out: str
    err: str
    value: object = None  # what the job returned
    calls: int = 0  # that the shim has counted
    fired: bool = False
    what: str = ""  # the call that failed, such as "rename /run/status.json"
    seconds: float = 0.0


HUNG = -1000


def build_shim(folder):
    """Compile shim.c; returns the library's path, or None if there is no compiler."""
    library = Path(folder) / "shim.so"
    for compiler in (os.environ.get("CC", "cc"), "gcc"):
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "shim.c"), "-ldl"]
        try:
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return library
        except OSError:
            continue
    return None


class Server:
    """The process that forks; it ends with the block."""

    def __init__(self, shim=None):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "400"}
        if shim is not None:
            environment["LD_PRELOAD"] = str(shim)
        folders = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(folders)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "forked.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout.readline() == "ready\n", "the server did not start"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def run(self, job, *, fault=None, timeout=60.0, **arguments):
        """Do the job in a process of its own."""
        (ended,) = self.run_all([(job, arguments)], fault=fault, timeout=timeout)
        return ended

    def run_all(self, jobs, *, fault=None, timeout=60.0):
        """Do the jobs at once, each in its own process, released together."""
        fault = None if fault is None else [fault.directory, fault.n, fault.mode, fault.error]
        request = {"jobs": jobs, "fault": fault, "timeout": timeout}
        self.process.stdin.write(json.dumps(request, default=str) + "\n")
        self.process.stdin.flush()
        return [Ended(**ended) for ended in json.loads(self.process.stdout.readline())]


# --- in the server


def _serve():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import gc

    import jobs

    with tempfile.TemporaryDirectory() as folder:
        jobs.warm_up(folder)
    gc.collect()
    gc.freeze()
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(_do_all(jobs, request)) + "\n")
        answers.flush()


def _do_all(jobs, request):
    """Fork for each job, let them go together, and wait for all."""
    gate, gate_end = os.pipe()
    running = []
    for job, arguments in request["jobs"]:
        note = mmap.mmap(-1, mmap.PAGESIZE)
        files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115
        pid = os.fork()
        if pid == 0:
            os.close(gate_end)
            os.read(gate, 1)
            _child(jobs, job, arguments, request["fault"], note, files)
        running.append((pid, note, files))
    os.close(gate)
    began = time.monotonic()
    os.close(gate_end)
    return [_ended(*each, began, request["timeout"]) for each in running]


def _child(jobs, job, arguments, fault, note, files):
    """The job, with its output in files; never returns."""
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, file in zip((1, 2), files):
            os.dup2(file.fileno(), number)
        if fault is not None:
            arm(fault, note)
        code, value = getattr(jobs, job)(**arguments)
        disarm()
        files[2].write(json.dumps(value).encode())
        files[2].flush()
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def arm(fault, note):
    """Tell the shim which call is to fail."""
    where, n, mode, error = fault
    call = ctypes.CDLL(None).shim_arm
    call.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    call(where.encode(), n, mode, error, ctypes.addressof(ctypes.c_char.from_buffer(note)))


def disarm():
    """Let every call through."""
    if hasattr(ctypes.CDLL(None), "shim_arm"):
        arm(["", 0, COUNT, 0], mmap.mmap(-1, mmap.PAGESIZE))


def _ended(pid, note, files, began, timeout):
    status = None
    while status is None:
        found, waited = os.waitpid(pid, os.WNOHANG)
        if found:
            status = os.waitstatus_to_exitcode(waited)
        elif time.monotonic() - began > timeout:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            status = HUNG
        else:
            time.sleep(0.005)
    calls, fired = struct.unpack("ll", note[:16])
    what = note[16:NOTE].split(b"\0")[0].decode(errors="replace")
    out, err, value = (file.seek(0) or file.read().decode(errors="replace") for file in files)
    return {
        "code": status, "out": out, "err": err, "value": json.loads(value) if value else None,
        "calls": calls, "fired": bool(fired), "what": what, "seconds": time.monotonic() - began,
    }  # fmt: skip


if __name__ == "__main__":
    _serve()
