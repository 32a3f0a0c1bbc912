"""What becomes of a run under torchrun if one of its processes fails: python benchmarks/rank_faults.py [--quick]

Each row starts a run on digits, does something to one process in the midst of the training, and measures the seconds
until torchrun has ended, reads the exit codes and status.json, resumes the run with as many processes, and compares its
weights, Adam's state and metrics with those of a run that nothing happened to, bit for bit. The table is written to
results/rank_faults.md. Exits with 1 if a row is not as it should be.
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep

HERE = Path(__file__).parent
CLOCK = ("elapsed_seconds", "images_per_second")
LOST_AFTER = 6  # seconds
STEPS, AT = 40, 12  # of the run; after which something happens
FLAGS = (
    "--autoencoder", "acai:depth=4", "--discriminator", "acai:depth=4", "--batch-images", "12", "--threads", "1",
    "--device", "cpu", "--steps", str(STEPS), "--log-every", "1", "--evaluate-every", "20", "--checkpoint-every", "5",
)  # fmt: skip

# In each process of the run: notes its number, and at step AT waits for what is done to it, or raises.
PLANTED = """
import os, sys, time
from pathlib import Path
from mixzoo.training.loop import Loop

folder, trouble, chosen = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
rank = os.environ["RANK"]
(folder / f"pid-{rank}").write_text(str(os.getpid()))
plain = Loop.step

def step(self, number, inputs):
    report = plain(self, number, inputs)
    if number + 1 == AT and trouble != "none":
        if rank == chosen and trouble == "exception":
            raise RuntimeError("the planted error")
        (folder / f"there-{rank}").write_text("")
        if rank == chosen:
            while not (folder / "done").exists():
                time.sleep(0.01)
    return report

Loop.step = step
sys.argv = ["mixzoo", *sys.argv[4:]]
from mixzoo.__main__ import main
main()
"""


@dataclass(frozen=True)
class Row:
    """What is done to which process of how many, and what status.json should say."""

    what: str  # killed, stopped, exception, SIGTERM
    rank: int | None  # None: to torchrun itself
    processes: int
    says: str  # a pattern of the reason

    @property
    def expected(self) -> tuple[str, int]:
        return ("interrupted", 75) if self.what == "SIGTERM" else ("failed", 1)


def rows(counts: tuple[int, ...]) -> list[Row]:
    """Every row for these numbers of processes."""
    found = []
    for n in counts:
        for rank in range(n):
            found += [
                Row("killed", rank, n, f"process {rank} is gone"),
                Row("stopped", rank, n, f"process {rank} has not answered for {LOST_AFTER}s"),
                Row("exception", rank, n, f"process {rank}: RuntimeError: the planted error"),
                Row("SIGTERM", rank, n, "stopped by SIGTERM after step"),
            ]
        found.append(Row("SIGTERM", None, n, "stopped by SIGTERM after step"))
    return found


@dataclass
class Outcome:
    """How a row went."""

    seconds: float
    codes: str
    status: dict[str, object]
    equal: bool
    problem: str


def torchrun(folder: Path, processes: int, trouble: str, rank: object, *arguments: str) -> "subprocess.Popen[str]":
    script = folder / "planted.py"
    script.write_text(PLANTED.replace("AT", str(AT)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [str(script), str(folder), trouble, str(rank), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def ended(process: "subprocess.Popen[str]", seconds: float = 300) -> tuple[int, str]:
    """Exit code and errors; the process and its workers are killed if it does not end."""
    try:
        _, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        _, err = process.communicate()
        return 999, err
    return process.returncode, err


def trained(folder: Path, processes: int) -> Path:
    """A run that nothing happens to."""
    folder.mkdir()
    code, err = ended(torchrun(folder, processes, "none", "-", "train", *FLAGS, "--out", "run"))
    if code:
        sys.exit(f"the run without a fault ended with {code}: {err[-2000:]}")
    return folder / "run"


def done_to(row: Row, folder: Path) -> Outcome:
    """Train, let it happen, resume."""
    folder.mkdir()
    chosen = 0 if row.rank is None else row.rank
    extra = ("--lost-after", str(LOST_AFTER))
    process = torchrun(folder, row.processes, row.what, chosen, "train", *FLAGS, "--out", "run", *extra)
    if row.what == "exception":
        began = _when(lambda: (folder / "run" / "status.json").exists() and _is_failed(folder / "run"), process)
    else:
        _when((folder / f"there-{chosen}").exists, process)
        began = monotonic()
        numbers = {
            "killed": [signal.SIGKILL],
            "stopped": [signal.SIGSTOP],
            "SIGTERM": [signal.SIGTERM],
        }[row.what]
        pid = process.pid if row.rank is None else int((folder / f"pid-{row.rank}").read_text())
        for number in numbers:
            os.kill(pid, number)
        (folder / "done").write_text("")
    code, err = ended(process)
    seconds = monotonic() - began
    codes = " ".join(re.findall(r"exitcode\s*:\s*(-?[0-9]+)", err)) or "-"
    status = json.loads((folder / "run" / "status.json").read_text())
    problem = "" if (status["state"], status["exit"]) == row.expected else "another state or exit code"
    problem = problem or ("" if re.search(row.says, str(status["reason"])) else "another reason")
    (folder / "done").write_text("")
    again, err = ended(torchrun(folder, row.processes, "none", "-", "resume", "run"))
    equal = again == 0 and content(folder / "run") == content(folder.parent / f"whole-{row.processes}" / "run")
    return Outcome(seconds, f"torchrun {code}, {codes}", status, equal, problem or ("" if equal else "not equal"))


def _is_failed(run: Path) -> bool:
    return bool(json.loads((run / "status.json").read_text())["state"] == "failed")


def _when(holds: Callable[[], bool], process: "subprocess.Popen[str]") -> float:
    """Wait until it holds, or the process has ended."""
    while not holds() and process.poll() is None:
        sleep(0.02)
    return monotonic()


def content(run: Path) -> tuple[dict[str, bytes], list[dict[str, object]]]:
    """Tensors of the newest checkpoint and lines of metrics, without what clocks say."""
    newest = max(path for path in (run / "checkpoints").iterdir() if path.name.startswith("step-"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tensors = {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}
    return tensors, [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two processes only, and no file is written")
    given = parser.parse_args()
    counts = (2,) if given.quick else (2, 3)
    names = ", ".join(f"{name} {version(name)}" for name in ("mixzoo", "torch"))
    cores = len(os.sched_getaffinity(0))
    lines = [
        "# A process of several fails",
        "",
        f"Printed by `python benchmarks/rank_faults.py`, {datetime.now(UTC):%Y-%m-%d}, {names}, Python "
        f"{platform.python_version()}, {platform.machine()}, {cores} cores, no GPU.",
        f"torchrun starts a run of {STEPS} steps on digits with `--lost-after {LOST_AFTER}` (default: 5 minutes).",
        f"In its step {AT} something happens to one process. Seconds are those until torchrun has ended; exit codes",
        "are torchrun's own and those that it reports of processes. Equal: whether the resumed run has the weights,",
        "Adam's state and metrics of a run that nothing happened to, bit for bit. The last column says what is wrong.",
        "",
        "| processes | what happens | to | seconds | exit codes | state | exit | committed | reason | equal | |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    wrong, chosen = 0, rows(counts)
    with tempfile.TemporaryDirectory() as name:
        for n in counts:
            trained(Path(name) / f"whole-{n}", n)
        for i, row in enumerate(chosen):
            found = done_to(row, Path(name) / str(i))
            wrong += bool(found.problem)
            whom = "torchrun" if row.rank is None else f"process {row.rank}"
            status = found.status
            cells = [row.processes, row.what, whom, f"{found.seconds:.1f}", found.codes, status["state"]]
            cells += [status["exit"], status["last_committed"], str(status["reason"]).replace("|", "/")]
            cells += ["yes" if found.equal else "no", found.problem]
            lines.append(f"| {' | '.join(map(str, cells))} |")
            print(lines[-1], flush=True)
    lines += ["", f"{len(chosen) - wrong} of {len(chosen)} as expected."]
    print(lines[-1])
    if not given.quick:
        (HERE / "results" / "rank_faults.md").write_text("\n".join(lines) + "\n")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
