"""The README's first command in full; it takes two minutes, so it is marked slow."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.scripts

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.slow
def test_the_first_command_reaches_85_percent_and_draws_a_picture(tmp_path):
    block = re.search(r"<!-- start -->\n```sh\n(.*?)```", README, flags=re.DOTALL).group(1)
    command = shlex.split(block.split("&&")[-1])
    assert command[0] == "mixzoo"
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # as a user has it
    subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, check=True, env=env)
    (home,) = (tmp_path / "runs").iterdir()
    numbers = json.loads((home / "results.json").read_text())["numbers"]
    assert numbers["probe.test_accuracy_at_best_validation"] >= 0.85
    assert numbers["logistic_regression.test_accuracy"] >= 0.85
    assert (home / "pictures" / "step-00000400.png").read_bytes().startswith(b"\x89PNG")
