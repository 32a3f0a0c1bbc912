"""Feeds damaged bytes to mixzoo's readers, guided by coverage: python benchmarks/fuzz.py [TARGET...] --seconds 300

Targets are those of tests/faults/fuzz_targets.py; all of them if none is named, one after another, each in a process
of its own. Needs atheris (`pip install 'mixzoo[fuzz]'`). Prints a table, and writes it to results/fuzz.md if every
target is run. An input that lets something else than an error of mixzoo's own escape, or takes longer than a second of
CPU time, is kept in --keep; put it into tests/faults/crashes/, so that it is a test from then on. Exits with 1 if there
is one.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic, perf_counter, process_time

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
RESULTS = HERE / "results" / "fuzz.md"
CRASHES = TESTS / "faults" / "crashes"
SLOW, MOST_MEMORY = 1.0, 1024  # seconds of CPU time for one input, MiB of the process
INSTRUMENTED = ["mixzoo", "mixzoo_datasets", "tomllib", "zipfile", "gzip", "pickletools", "json", "PIL", "safetensors"]
HEADER = """# Fuzzing of the readers

Printed by `python benchmarks/fuzz.py --seconds {seconds}` on {date}: {cpu}, {cores} cores,
Python {python}, {versions}.

Each target was fed mutated bytes for {seconds} s in a process of its own, guided by the coverage of its code.
*accepted*: inputs that the reader took as valid. *escapes*: kinds of anything but an error of mixzoo's own, and inputs
over {slow:g} s. *longest* is the CPU time of the slowest input. *memory* is the largest of the whole process, torch and
the run that some targets are made of included; what it was before the first input is in brackets.

| target | executions | accepted | refused | escapes | longest (ms) | memory (MiB) |
|---|---|---|---|---|---|---|"""


@dataclass
class Counts:
    """What one target has come to."""

    executions: int = 0
    accepted: int = 0
    longest: float = 0.0  # seconds of CPU time of one input
    longest_wall: float = 0.0
    before: int = 0  # MiB
    memory: int = 0
    escapes: dict[str, str] = field(default_factory=dict)  # what escaped, and where -> the input's file
    home: str = ""  # the folder of the process, which libFuzzer ends without cleaning up
    ended: str = ""  # how the process ended, if not well

    def row(self, name: str) -> str:
        bad = f"{len(self.escapes)}: {'; '.join(self.escapes)}" if self.escapes else "0"
        memory = f"{self.memory} ({self.before})"
        refused = self.executions - self.accepted
        return (
            f"| {name} | {self.executions:,} | {self.accepted:,} | {refused:,} | {bad}{self.ended} "
            f"| {1000 * self.longest:.0f} | {memory} |"
        )


def memory() -> int:
    """The most that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def fuzz(name: str, seconds: int, keep: Path, report: Path) -> None:
    """Fuzz one target in this process, and never return: libFuzzer ends it."""
    import atheris

    sys.path[:0] = [str(TESTS), str(TESTS / "faults")]
    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz_targets import TARGETS, holds, home

    target, counts, written = TARGETS[name], Counts(home=str(home())), monotonic()
    corpus = home() / "corpus"
    corpus.mkdir()
    starts = [*target.seeds(), *(file.read_bytes() for file in CRASHES.glob(f"{name}-*"))]
    for i, seed in enumerate(starts):
        (corpus / str(i)).write_bytes(seed)
        holds(target, seed)  # what is made once, such as a trained run, is made before the clock starts
    counts.before = memory()

    def keep_input(what: str, content: bytes) -> None:
        if what not in counts.escapes:
            file = keep / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
            file.write_bytes(content)
            counts.escapes[what] = str(file)

    def one(content: bytes) -> None:
        nonlocal written
        cpu, wall = process_time(), perf_counter()
        try:
            counts.accepted += holds(target, content)
        except BaseException as err:
            place = traceback.extract_tb(err.__traceback__)[-1]
            keep_input(f"{type(err).__name__} in {Path(place.filename).name}:{place.lineno}", content)
        took = process_time() - cpu
        counts.executions += 1
        counts.longest = max(counts.longest, took)
        counts.longest_wall = max(counts.longest_wall, perf_counter() - wall)
        if took > SLOW:
            keep_input(f"{took:.1f} s", content)
        if monotonic() - written > 1:
            counts.memory, written = memory(), monotonic()
            report.write_text(json.dumps(asdict(counts)))

    options = ["fuzz", f"-max_total_time={seconds}", f"-rss_limit_mb={MOST_MEMORY}", "-timeout=60", "-verbosity=0"]
    options += ["-max_len=8192", "-seed=1", f"-artifact_prefix={keep}/{name}-", str(corpus)]
    atheris.Setup(options, one)
    atheris.Fuzz()


def fuzzed(name: str, seconds: int, keep: Path) -> Counts:
    """The counts of one target, fuzzed in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, __file__, name, "--seconds", str(seconds), "--keep", str(keep)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MIXZOO_FUZZ_REPORT": str(report)}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
        counts = Counts(**json.loads(report.read_text())) if report.exists() else Counts()
    if counts.home:
        shutil.rmtree(counts.home, ignore_errors=True)
    if ended.returncode or not counts.executions:
        print(ended.stderr[-2000:], file=sys.stderr)
        counts.ended = f"; the process ended with {ended.returncode}"
    return counts


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def header(seconds: int) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("atheris", "torch", "pillow", "safetensors", "numpy"))
    return HEADER.format(
        seconds=seconds, date=f"{datetime.now(UTC):%Y-%m-%d}", cpu=cpu(), cores=os.cpu_count(),
        python=platform.python_version(), versions=versions, slow=SLOW,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fuzzing of mixzoo's readers, as a table.")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=300, help="for each target")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-inputs"), help="folder for inputs that show a bug")
    options = parser.parse_args(arguments)
    options.keep.mkdir(parents=True, exist_ok=True)
    if report := os.environ.get("MIXZOO_FUZZ_REPORT"):
        fuzz(options.targets[0], options.seconds, options.keep.absolute(), Path(report))

    sys.path[:0] = [str(TESTS), str(TESTS / "faults")]
    from fuzz_targets import TARGETS

    if unknown := sorted(set(options.targets) - TARGETS.keys()):
        parser.error(f"unknown target {unknown[0]!r} (available: {', '.join(TARGETS)})")
    lines, failed = [header(options.seconds)], False
    print(lines[0], flush=True)
    for name in options.targets or TARGETS:
        counts = fuzzed(name, options.seconds, options.keep)
        failed |= bool(counts.escapes or counts.ended or counts.memory > MOST_MEMORY)
        lines.append(counts.row(name))
        print(lines[-1], flush=True)
    if not options.targets:
        lines += ["", f"Load of the machine meanwhile: {os.getloadavg()[2]:.0f} processes for {os.cpu_count()} cores."]
        RESULTS.write_text("\n".join(lines) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
