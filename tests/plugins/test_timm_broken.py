"""With a broken or missing timm only the auto-encoder `timm` fails, with one line that says why."""

from pathlib import Path

import pytest

import warm

pytestmark = pytest.mark.faults

BREAKS = 'raise RuntimeError("operator torchvision::nms does not exist\\nand more")'
AFRESH = "import sys; [sys.modules.pop(name) for name in list(sys.modules) if name.partition('.')[0] == 'timm']"
SMALL = ["--steps", "1", "--batch-images", "4", "--objective", "ae"]


@pytest.fixture
def mixzoo_beside(tmp_path):
    """Runs a command in a new process in which timm is the given source text."""

    def run(timm, *arguments):
        (tmp_path / "timm.py").write_text(timm)
        code = f"{AFRESH}; sys.path.insert(0, {str(tmp_path)!r})\nfrom mixzoo.cli.app import main; main()"
        return warm.run("-c", code, *arguments, cwd=tmp_path)

    return run


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list", "autoencoders"], ["show", "autoencoder", "timm"], ["plugins", "--errors"]]
)
def test_what_needs_no_network_never_imports_timm(mixzoo_beside, arguments):
    done = mixzoo_beside("raise SystemExit('imported')", *arguments)
    assert (done.returncode, "imported" in done.stdout + done.stderr) == (0, False)
    assert "timm" in done.stdout or arguments[0] in ("--help", "plugins")


@pytest.mark.parametrize(
    ("timm", "cause"),
    [
        (BREAKS, "RuntimeError: operator torchvision::nms does not exist"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
    ],
)
def test_a_broken_timm_ends_a_run_that_uses_it_with_one_line_that_names_the_cause(mixzoo_beside, timm, cause):
    done = mixzoo_beside(timm, "train", "--autoencoder", "timm", *SMALL, "--out", "run")
    assert done.returncode == 9
    (line,) = [line for line in done.stderr.splitlines() if "timm" in line]
    assert f"autoencoder 'timm': timm cannot be imported ({cause})" in line
    assert "torchvision" in line
    assert "install releases that fit together, from one index; `mixzoo doctor` gives the command" in line
    assert "Traceback" not in done.stderr


def test_a_broken_timm_leaves_other_parts_alone(mixzoo_beside):
    done = mixzoo_beside(BREAKS, "train", "--autoencoder", "amr:depth=2", *SMALL, "--out", "run")
    assert done.returncode == 0
    assert "timm" not in done.stderr


def test_the_example_of_manifold_mixup_says_the_same_in_one_line(tmp_path):
    (tmp_path / "timm.py").write_text(BREAKS)
    example = Path(__file__).parents[2] / "docs/examples/manifold_mixup.py"
    runs = f"import runpy; runpy.run_path({str(example)!r}, None, '__main__')"
    code = f"{AFRESH}; sys.path.insert(0, {str(tmp_path)!r})\n{runs}"
    done = warm.run("-c", code)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "timm cannot be imported (RuntimeError: operator torchvision::nms does not exist)" in done.stderr
    assert "`mixzoo doctor` gives the command" in done.stderr


def test_checking_the_part_says_the_same(mixzoo_beside):
    done = mixzoo_beside(BREAKS, "check", "timm")
    assert done.returncode != 0
    assert (
        "timm cannot be imported (RuntimeError: operator torchvision::nms does not exist)" in done.stdout + done.stderr
    )
    assert "Traceback" not in done.stderr
