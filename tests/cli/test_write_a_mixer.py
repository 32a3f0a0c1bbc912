"""docs/write_a_mixer.md and docs/write_an_objective.md, followed to the letter in a fresh environment."""

import re
from pathlib import Path

import pytest
from pages import followed, steps_of

pytestmark = pytest.mark.scripts

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "write_a_mixer.md").read_text()


STEPS = steps_of(PAGE)
SHELL = [text for _, _, language, text in STEPS if language == "sh"]


def test_the_page_on_objectives_works_as_written(shell):
    page = (ROOT / "docs" / "write_an_objective.md").read_text()
    printed = followed(steps_of(page), shell)
    assert "Reconstruct x with Huber's loss; make decoded mixes look real." in printed
    assert 'name = "soft"' in (shell.folder / "runs" / "soft" / "run.toml").read_text()
    for path in re.findall(r"`(\w+\.py)`", page.partition("## 3")[2]):
        assert (ROOT / "plugins" / "mixzoo_objectives" / path).exists(), path


def test_every_command_and_file_of_the_page_works_in_order(shell):
    printed = followed(STEPS, shell)
    assert "Bands of the code, each from one of k sources." in printed
    assert "stripes  (mixzoo-stripes 0.1.0)  mixer stripes" in printed
    assert 'name = "stripes"' in (shell.folder / "runs" / "stripes" / "run.toml").read_text()
    assert '"mixzoo-stripes"' in (shell.folder / "runs" / "stripes" / "environment.json").read_text()
    assert list((shell.folder / "runs" / "stripes" / "pictures").glob("triangle-*.png"))
    assert list((shell.folder / "runs" / "fade" / "pictures").glob("step-*.png"))


def test_the_page_leaves_no_step_out():
    """A newcomer creates, installs, shows, checks and trains a mixer, draws its mixes, and looks for errors."""
    commands = " ".join(SHELL)
    for step in ("new-plugin", "pip install -e", "show", "pytest", "check", "train", "interpolate", "plugins --errors"):
        assert step in commands
    for path in re.findall(r"\]\((\.\./.*?)\)", PAGE):
        assert (ROOT / "docs" / path).exists(), path
