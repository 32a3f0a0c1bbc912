"""mixzoo doctor finds what is wrong and says how to fix it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import warm
from broken_plugins import GOOD, install
from mixzoo.core.errors import DataError, PluginError, StorageError
from mixzoo.registry.zoo import first_party, load_zoo
from mixzoo.runs.doctor import PAIR, Finding, _bounds, _data_sets, _disk, _gpu, _pair, _processor, _terminal, exit_code

NO_DISK = Path("/proc/sys")  # a folder where nobody, root included, can make a file


def doctor(*arguments, folder, env=None):
    """Run the command in its own process, with `folder` first on its import path."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\nfrom mixzoo.cli.app import main; main()"
    return warm.run("-c", code, "doctor", *arguments, cwd=folder, env={**os.environ, **(env or {})})


def test_this_environment_has_no_problem_and_every_subject_is_checked(tmp_path):
    done = doctor("--json", folder=tmp_path, env={"MIXZOO_DATA": str(tmp_path)})
    rows = json.loads(done.stdout)
    assert [row for row in rows if row["state"] == "problem"] == []
    assert done.returncode == 0
    subjects = {row["subject"] for row in rows}
    assert subjects >= {"python", "mixzoo", "torch", "timm", "cpu", "gpu", "disk", "terminal", "plugins", "digits"}
    (data,) = [row["found"] for row in rows if row["subject"] == "data"]
    assert data == f"complete in {tmp_path}: none"


def test_a_broken_torchvision_is_a_warning_for_timm_with_the_pair_to_reinstall(tmp_path):
    (tmp_path / "torchvision.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    install(tmp_path, "bad", "import not_there_at_all")
    done = doctor(folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (line,) = [line for line in lines if line.split()[:2] == ["warning", "torchvision"]]
    assert "RuntimeError: operator torchvision::nms does not exist; only the auto-encoder `timm` is missing" in line
    assert line.endswith(f"; {PAIR}")
    (line,) = [line for line in lines if line.split()[:2] == ["warning", "timm"]]
    assert "--force-reinstall torch torchvision" in line
    (line,) = [line for line in lines if line.split()[:2] == ["warning", "plugins"]]
    assert "plugin 'bad' of acme-bad 2.1: ModuleNotFoundError: No module named 'not_there_at_all'; pip install" in line
    assert lines[-1].endswith("a run on digits would work here")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("raise ImportError('libtorch.so\\x1b[31m: no such file')", "ImportError: libtorch.so"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "its import ended with -4"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_torch_that_cannot_be_imported_is_a_problem_however_it_fails(tmp_path, text, found):
    (tmp_path / "torch.py").write_text(text)
    done = doctor(folder=tmp_path)
    assert done.returncode == PluginError.exit_code
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.split()[:2] == ["problem", "torch"]]
    assert found in line
    assert line.isprintable()
    assert line.endswith("; pip install --force-reinstall torch")
    assert "a run on digits would not work here" in done.stdout


def test_a_torchvision_built_for_another_torch_is_a_warning(tmp_path, monkeypatch):
    def metadata(name, version, needs=""):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")

    metadata("torch", "2.13.0+cpu")
    metadata("torchvision", "0.29.1+cu130", "Requires-Dist: numpy\nRequires-Dist: torch==2.14.1\n")
    metadata("numpy", "1.26.4")
    monkeypatch.syspath_prepend(tmp_path)
    release, build = _pair({})
    assert release.found == "torchvision 0.29.1+cu130 was built for torch 2.14.1, but 2.13.0+cpu is installed"
    assert release.fix == 'pip install --upgrade torchvision "torch==2.13.0"'
    assert build.found == "torch is built for cpu, but torchvision for cu130"
    (old,) = _bounds()
    assert str(old) == 'warning  numpy        1.26.4, but mixzoo requires 2.0 or newer; pip install "numpy>=2.0"'


DRIVER = "#!/bin/sh\necho '{}'\n"


def with_driver(tmp_path, monkeypatch, says):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(DRIVER.format(says))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def test_a_gpu_that_torch_cannot_use_is_reported_with_the_reason(tmp_path, monkeypatch):
    with_driver(tmp_path, monkeypatch, "470.57, Tesla T4, 15360 MiB")
    (cpu_build,) = _gpu({"built_for": "CPU"})
    assert "driver 470.57, Tesla T4, 15360 MiB, but torch is built for the CPU; pip install" in str(cpu_build)
    says = "CUDA initialization: The NVIDIA driver on your system is too old"
    (old,) = _gpu({"built_for": "CUDA 13.0", "gpus": [], "cuda_warning": says})
    assert f"but torch, built for CUDA 13.0, cannot use it ({says}); update the driver" in str(old)
    assert [str(f) for f in _gpu({"built_for": "CUDA 13.0", "gpus": ["Tesla T4, 15 GiB"]})] == [
        "ok       gpu          cuda:0: Tesla T4, 15 GiB",
        "ok       driver       driver 470.57, Tesla T4, 15360 MiB",
    ]


def test_a_driver_tool_that_fails_counts_as_no_driver(tmp_path, monkeypatch):
    with_driver(tmp_path, monkeypatch, "x")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert [f.found for f in _gpu({"built_for": "CUDA 13.0"})] == ["none; runs use the CPU"]


def test_a_disk_that_cannot_be_written_is_a_problem(monkeypatch):
    monkeypatch.chdir(NO_DISK)
    (finding,) = _disk()
    assert (finding.state, finding.exit_code) == ("problem", StorageError.exit_code)
    assert "/proc/sys cannot be written: " in finding.found
    assert finding.fix == "use --out FOLDER"


def test_more_threads_than_cores_and_a_terminal_without_unicode_are_warnings(monkeypatch):
    finding = _processor({"threads": 10_000, "instructions": "AVX2"})
    assert finding.state == "warning"
    assert "torch uses 10000 threads; export OMP_NUM_THREADS=" in str(finding)
    with open(os.devnull, "w", encoding="cp1252") as narrow:
        monkeypatch.setattr(sys, "stdout", narrow)
        finding = _terminal()
    assert (finding.state, finding.fix) == ("warning", "export PYTHONUTF8=1")
    assert "cp1252 cannot show some characters of equations" in finding.found


def test_complete_data_sets_and_those_that_lack_a_file_are_listed(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        (raw / f"{split}-images-idx3-ubyte.gz").touch()
        (raw / f"{split}-labels-idx1-ubyte").touch()
    (tmp_path / "train_32x32.mat").touch()
    zoo = load_zoo(first_party())
    assert [str(finding) for finding in _data_sets(zoo, str(tmp_path))] == [
        f"ok       data         complete in {tmp_path}: mnist",
        f"warning  data         svhn lacks test_32x32.mat in {tmp_path}; see `mixzoo show dataset svhn`",
    ]
    (finding,) = _data_sets(zoo, str(tmp_path / "none"))
    assert (finding.state, finding.fix) == ("warning", "name the folder of data sets with MIXZOO_DATA, or unset it")


def test_the_exit_code_is_that_of_the_first_problem():
    fine = Finding("torch", "ok", "2.14.1")
    assert exit_code([fine, Finding("timm", "warning", "gone")]) == 0
    problems = [Finding("disk", "problem", "full", exit_code=8), Finding("digits", "problem", "gone", exit_code=3)]
    assert exit_code([fine, *problems]) == 8
    assert exit_code(problems[1:]) == DataError.exit_code


@pytest.mark.slow
def test_a_plugin_that_hangs_is_given_up_within_seconds(tmp_path):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(3600)\n" + GOOD)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = [sys.executable, "-m", "mixzoo", "list", "mixers", "--plugin", "slow.py"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, timeout=200, env=env)
    message = f"mixzoo: --plugin {tmp_path}/slow.py: TimeoutError: still loading after 10 s without importing"
    assert (done.returncode, done.stdout) == (PluginError.exit_code, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
