"""Checks whether this machine and its Python environment have what a run needs, and says how to fix what is wrong.

    for finding in examine(): print(finding)

A problem is what would make a run on `digits` with mixzoo's own parts fail; anything else that is wrong is a warning.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mixzoo.core.errors import DataError, MixzooError, PluginError, StorageError, printable

if TYPE_CHECKING:
    from mixzoo.registry.zoo import Zoo

State = Literal["ok", "warning", "problem"]
SECONDS = 300  # for all imports; torch takes minutes from a slow network disk
IMPORTED = ("torch", "numpy", "sklearn", "scipy", "PIL", "safetensors", "torchvision", "timm")
OPTIONAL = {"torchvision", "timm"}  # only the auto-encoder `timm` needs them
DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow"}
LITTLE_DISK, NO_DISK = 2**30, 50 * 2**20  # free bytes below which there is a warning, or a problem
NARROW = 80  # columns that tables and progress need
PAIR = "pip install --force-reinstall torch torchvision, both from one index, as PyTorch's install page says"


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    subject: str
    state: State
    found: str
    fix: str = ""  # a command, or what to do
    exit_code: int = 0  # of a problem: the exit code with which a run would fail

    def __str__(self) -> str:
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.state:<8} {self.subject:<12} {self.found}{fix}"


def examine(data_root: str | None = None) -> list[Finding]:
    """Check everything that a run needs. Takes some seconds, because torch is imported twice.

    `data_root` is the folder of data sets; if None, it is MIXZOO_DATA or `data`.
    """
    imports, ended = _imports()
    torch = imports.get("torch", {})
    findings = [_python(), *_libraries(imports, ended), *_bounds(), *_pair(imports)]
    findings += [_processor(torch), *_gpu(torch), *_disk(), _terminal()]
    if torch.get("error", "not imported"):
        return [*findings, Finding("plugins", "warning", "not checked, because torch cannot be imported")]
    root = os.environ.get("MIXZOO_DATA", "data") if data_root is None else data_root
    return [*findings, *_plugins_and_data(root)]


def exit_code(findings: Sequence[Finding]) -> int:
    """0 if a run on `digits` would work, else the exit code of the first problem."""
    return next((finding.exit_code for finding in findings if finding.state == "problem"), 0)


def _imports() -> tuple[dict[str, dict[str, Any]], str]:
    """The result of importing each library, and how the process that imported them ended if it failed, else ''."""
    command = [sys.executable, "-m", "mixzoo.runs.import_probe", *IMPORTED]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        process = subprocess.run(command, capture_output=True, env=env, timeout=SECONDS, check=False)
        printed, ended = process.stdout, f"ended with {process.returncode}" if process.returncode else ""
    except subprocess.TimeoutExpired as err:
        printed, ended = err.stdout or b"", f"did not end within {SECONDS} s"
    except OSError as err:
        printed, ended = b"", f"could not be started: {err.strerror}"
    rows = [json.loads(line) for line in printed.decode("ascii", "replace").splitlines() if line.startswith("{")]
    return {row["name"]: row for row in rows}, ended


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} in {printable(sys.prefix)}, {platform.platform()}")


def _libraries(imports: dict[str, dict[str, Any]], ended: str) -> Iterator[Finding]:
    yield Finding("mixzoo", "ok", _version("mixzoo"))
    for name in IMPORTED:
        distribution = DISTRIBUTIONS.get(name, name)
        row, installed = imports.get(name), _version(distribution)

        # The first library without a result is the one whose import ended the process.
        error = printable(row["error"]) if row else f"not tried, because the process that imports libraries {ended}"
        if row is None and name == next(n for n in IMPORTED if n not in imports):
            error = f"its import {ended}"
        if not error:
            built = f", built for {row['built_for']}" if row and "built_for" in row else ""
            yield Finding(name, "ok", f"{installed}{built}")
        elif name in OPTIONAL:
            without = "only the auto-encoder `timm` is missing"
            yield Finding(name, "warning", f"{installed}: {error}; {without}", _fix(name, imports))
        else:
            yield Finding(name, "problem", f"{installed}: {error}", _fix(name, imports), PluginError.exit_code)


def _fix(name: str, imports: dict[str, dict[str, Any]]) -> str:
    """The command that installs the library, in a version that fits."""
    distribution = DISTRIBUTIONS.get(name, name)
    if _version(distribution) == MISSING:
        keep_torch = f' "torch=={_release(_version("torch"))}"' if name in OPTIONAL else ""
        return f"pip install {distribution}{keep_torch}"
    torchvision = imports.get("torchvision", {}).get("error")
    if name == "torchvision" or (name == "timm" and torchvision):
        return PAIR
    return f"pip install --force-reinstall {distribution}"


def _bounds() -> Iterator[Finding]:
    """A warning for each library that is older than mixzoo requires."""
    try:
        requirements = requires("mixzoo") or []
    except PackageNotFoundError:  # mixzoo runs from a folder and is not installed
        return
    for text in requirements:
        match = re.match(r"([A-Za-z0-9._-]+)>=([0-9.]+)$", text)  # a requirement with a marker is an extra
        if match and (installed := _version(match[1])) != MISSING and _numbers(installed) < _numbers(match[2]):
            found = f"{installed}, but mixzoo requires {match[2]} or newer"
            yield Finding(match[1], "warning", found, f'pip install "{text}"')


def _pair(imports: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    """Warnings if torchvision was built for another torch: the two may import and fail later."""
    try:
        needs = [re.match(r"torch *\(?==([0-9.]+)", text) for text in requires("torchvision") or []]
    except PackageNotFoundError:
        return
    torch = _version("torch")
    for need in filter(None, needs):
        if torch != MISSING and _release(torch) != need[1]:
            found = f"torchvision {_version('torchvision')} was built for torch {need[1]}, but {torch} is installed"
            yield Finding("pair", "warning", found, f'pip install --upgrade torchvision "torch=={_release(torch)}"')
    builds = [text.partition("+")[2] for text in (torch, _version("torchvision"))]
    if all(builds) and builds[0] != builds[1]:
        yield Finding("pair", "warning", f"torch is built for {builds[0]}, but torchvision for {builds[1]}", PAIR)


def _processor(torch: dict[str, Any]) -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{cores} cores for this process, {torch.get('instructions', 'unknown')} instructions"
    threads = torch.get("threads", 0)
    if threads > cores:
        return Finding("cpu", "warning", f"{found}; torch uses {threads} threads", f"export OMP_NUM_THREADS={cores}")
    return Finding("cpu", "ok", f"{found}, {threads} torch threads" if threads else found)


def _gpu(torch: dict[str, Any]) -> Iterator[Finding]:
    driver = _driver()
    built, gpus = torch.get("built_for", ""), torch.get("gpus", [])
    if gpus:
        yield from (Finding("gpu", "ok", f"cuda:{i}: {printable(gpu)}") for i, gpu in enumerate(gpus))
    elif torch.get("mps"):
        yield Finding("gpu", "ok", "mps")
    elif driver and built == "CPU":
        yield Finding("gpu", "warning", f"{driver}, but torch is built for the CPU", PAIR)
    elif driver:
        warning = f" ({printable(torch['cuda_warning'])})" if torch.get("cuda_warning") else ""
        fix = "update the driver, or install a torch built for an older CUDA, with its torchvision"
        yield Finding("gpu", "warning", f"{driver}, but torch, built for {built}, cannot use it{warning}", fix)
    else:
        yield Finding("gpu", "ok", "none; runs use the CPU")
    if driver and gpus:
        yield Finding("driver", "ok", driver)


def _driver() -> str:
    """The NVIDIA driver and its GPUs, or '' if there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    query = [tool, "--query-gpu=driver_version,name,memory.total", "--format=csv,noheader"]
    try:
        process = subprocess.run(query, capture_output=True, timeout=30, check=True, text=True, errors="replace")
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = process.stdout.strip().splitlines()
    return f"driver {printable(lines[0])}" + (f" and {len(lines) - 1} more" if lines[1:] else "") if lines else ""


def _disk() -> Iterator[Finding]:
    """Whether a run can be written to ./runs, and the free space there."""
    folder = Path("runs").absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    name, code = printable(str(folder)), StorageError.exit_code
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
        free = shutil.disk_usage(folder).free
    except OSError as err:
        yield Finding("disk", "problem", f"{name} cannot be written: {err.strerror}", "use --out FOLDER", code)
        return
    found = f"{free / 2**30:.1f} GiB free at {name}"
    if free < NO_DISK:
        yield Finding("disk", "problem", found, "free some space, or use --out FOLDER on another disk", code)
    elif free < LITTLE_DISK:
        yield Finding("disk", "warning", found, "a long run with many checkpoints may not fit")
    else:
        yield Finding("disk", "ok", found)


def _terminal() -> Finding:
    encoding = (sys.stdout.encoding or "unknown").lower() if sys.stdout else "none"
    tty = bool(sys.stdout and sys.stdout.isatty())
    width = shutil.get_terminal_size().columns
    colour = tty and "NO_COLOR" not in os.environ and os.environ.get("TERM") not in (None, "", "dumb")
    found = f"{'a terminal' if tty else 'no terminal (a pipe or a file)'}, {encoding}, {width} columns, "
    found += "colours" if colour else "no colours"
    if encoding.replace("-", "") not in ("utf8", "utf8sig"):
        fix = "export PYTHONUTF8=1"
        return Finding("terminal", "warning", f"{found}; {encoding} cannot show some characters of equations", fix)
    if tty and width < NARROW:
        return Finding("terminal", "warning", f"{found}; tables need {NARROW}", "widen the window")
    return Finding("terminal", "ok", found)


def _plugins_and_data(root: str) -> Iterator[Finding]:
    """Whether all plugins load, which data sets are complete in the folder, and whether `digits` can be read."""
    from mixzoo.registry.zoo import OWN, load_zoo

    zoo = load_zoo()
    loaded = [plugin for plugin in zoo.plugins if not plugin.problem]
    if not any(plugin.distribution == OWN for plugin in zoo.plugins):
        fix = "pip install --force-reinstall mixzoo, or pip install . in its clone"
        yield Finding("plugins", "problem", "mixzoo's own parts are not installed", fix, PluginError.exit_code)
        return
    yield Finding("plugins", "ok", f"{len(loaded)} loaded: {', '.join(plugin.name for plugin in loaded) or 'none'}")
    for plugin in zoo.broken:
        own = plugin.distribution == OWN
        fix = f"pip install --upgrade {plugin.distribution}, or pip uninstall it"
        code = PluginError.exit_code if own else 0
        yield Finding("plugins", "problem" if own else "warning", f"{plugin}: {plugin.problem}", fix, code)
    yield from _data_sets(zoo, root)
    try:
        zoo.recipe("dataset", f"{zoo.qualified_default('dataset', 'digits')}").load(seed=0)
    except Exception as err:  # whatever a damaged scikit-learn raises
        code = err.exit_code if isinstance(err, MixzooError) else DataError.exit_code
        fix = "pip install --force-reinstall scikit-learn"
        yield Finding("digits", "problem", printable(f"{type(err).__name__}: {err}"), fix, code)
    else:
        yield Finding("digits", "ok", "the images in scikit-learn can be read")


def _data_sets(zoo: "Zoo", root: str) -> Iterator[Finding]:
    """Which of the data sets that are files are complete in the folder, and which lack a file."""
    from mixzoo.core.data import HasDataFiles

    folder = printable(root)
    if not Path(root).expanduser().is_dir():
        fix = "" if root == "data" else "name the folder of data sets with MIXZOO_DATA, or unset it"
        state: State = "ok" if root == "data" else "warning"
        yield Finding("data", state, f"no folder {folder}; data sets in files need root= or --data-root", fix)
        return
    complete, incomplete = list[str](), list[tuple[str, list[str]]]()
    for entry in zoo.of_kind("dataset"):
        if "root" not in entry.option_names or not isinstance(entry.recipe, HasDataFiles):
            continue
        try:
            files = zoo.recipe_from("dataset", entry.full_name, {"root": root}).data_files()
            missing = [file for file, exists in files.items() if not exists]
        except Exception as err:  # whatever a plugin's own code raises
            yield Finding("data", "warning", printable(f"{entry.full_name}: {type(err).__name__}: {err}"))
            continue
        if not missing:
            complete.append(entry.name)
        elif len(missing) < len(files):
            incomplete.append((entry.name, missing))
    yield Finding("data", "ok", f"complete in {folder}: {', '.join(complete) or 'none'}")
    for name, missing in incomplete:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        found = f"{name} lacks {printable(missing[0])}{more} in {folder}"
        yield Finding("data", "warning", found, f"see `mixzoo show dataset {name}`")


MISSING = "not installed"


def _version(distribution: str) -> str:
    try:
        return printable(version(distribution))
    except PackageNotFoundError:
        return MISSING


def _release(text: str) -> str:
    """The version without its build: 2.11.0 for 2.11.0+cpu."""
    return text.partition("+")[0]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", _release(text))[:3]]
