"""What tests/warm.py starts is an interpreter as any other, for what tests ask of one."""

import os
import signal
import subprocess
import sys

import pytest

import warm

TELLS = "import json, os, sys; print(json.dumps([sys.argv, os.getcwd(), os.environ.get('WORD'), sys.stdin.read()]))"


@pytest.mark.parametrize("how", ["-c", "-m", "script"])
def test_arguments_folder_environment_and_output_are_those_of_an_interpreter(tmp_path, how):
    (tmp_path / "tells.py").write_text(TELLS)
    arguments = {"-c": ["-c", TELLS], "-m": ["-m", "tells"], "script": ["tells.py"]}[how]
    env = {**os.environ, "WORD": "given"}
    real = subprocess.run(
        [sys.executable, *arguments, "a", "b"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    done = warm.run(*arguments, "a", "b", cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr) == (real.returncode, real.stderr) == (0, "")
    assert done.stdout.replace(str(tmp_path / "tells.py"), "tells.py") == real.stdout.replace(
        str(tmp_path / "tells.py"), "tells.py"
    )


@pytest.mark.parametrize(
    ("code", "ends", "says"),
    [
        ("import sys; sys.exit(7)", 7, ""),
        ("raise SystemExit('a word')", 1, "a word\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("import atexit, sys; atexit.register(print, 'at the end', file=sys.stderr)", 0, "at the end\n"),
    ],
)
def test_its_end_is_that_of_an_interpreter(code, ends, says):
    done = warm.run("-c", code)
    assert (done.returncode, done.stderr.endswith(says)) == (ends, True)


def test_processes_start_without_each_others_modules_and_are_stopped_when_their_time_is_up():
    warm.run("-c", "import mixzoo.core.mixing")
    done = warm.run(
        "-c", "import sys; print('torch' in sys.modules, any(name.startswith('mixzoo') for name in sys.modules))"
    )
    assert done.stdout == "True False\n"
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run("-c", "import time; time.sleep(100)", timeout=0.1)


def test_a_command_passes_on_arguments_streams_and_the_exit_code(tmp_path):
    warm.executable(tmp_path / "python")
    run = [tmp_path / "python", "-c", "import sys; print(input(), sys.argv[1]); sys.exit(3)", "two words"]
    done = subprocess.run(run, input="asked", capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "asked two words\n", "")
