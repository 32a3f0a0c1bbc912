"""README.md, followed from top to bottom: every file is written and every command runs, on a small scale.

It takes minutes, so it is marked slow. What is made smaller: two steps of narrow networks, fewer seeds, cheap checks,
and digits in place of a download.
"""

import re
from pathlib import Path

import pytest
from pages import followed, steps_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
NARROW = "--autoencoder amr:depth=2 --discriminator amr:depth=2"
SMALL = "--steps 2 --log-every 1 --evaluate-every 2 --checkpoint-every 2 --batch-images 8 --threads 1"
INSTALLS = ("python3 -m venv", "pip install")  # .ci/run and the tests of the pages on parts install


SMALLER = {
    "mnist:root=data,download=true": "digits",
    "runs/RUN": '"$(ls -td runs/2* | head -1)"',  # the newest run
    "--seeds 1..3": "--seeds 1,2",
    "--steps 1000": "--steps 4",
}


def small(command):
    """The command without its comment, made small."""
    command = command.partition("  #")[0]
    for text, smaller in SMALLER.items():
        command = command.replace(text, smaller)
    if "mixzoo train" in command:
        return f"{command} {SMALL} {'' if '--autoencoder' in command else NARROW}"
    return f"{command} --effort low" if command.startswith("mixzoo check") else command


def commands():
    """The steps of the page that are files and commands of a shell, each command on a line of its own."""
    for kind, path, language, text in steps_of(README):
        if language == "sh":
            parts = [part.strip() for line in text.splitlines() for part in line.split("&&")]
            lines = [small(part) for part in parts if not part.startswith((*INSTALLS, ". ", "pytest", "torchrun"))]
            yield kind, path, language, "\n".join(lines)
        elif kind:
            yield kind, path, language, text


@pytest.mark.slow
def test_every_command_of_the_readme_runs(shell):
    printed = followed(commands(), shell)
    assert "probe: test accuracy" in printed
    assert re.search(r"mixer=dirichlet:k=3 *│ *2 │", printed)
    assert re.search(r"(\d+) checks ran, \1 passed", printed)
    drawn = re.findall(r"--out (\S+\.(?:png|html))", README)
    assert drawn
    for name in drawn:
        assert (shell.folder / name).stat().st_size > 5000


@pytest.mark.slow
def test_the_readme_trains_on_two_processes(shell):
    (command,) = re.findall(r"(?m)^torchrun (.*)$", README)
    done = shell(f"python -m torch.distributed.run {small(command)}")
    assert done.returncode == 0, done.stderr
