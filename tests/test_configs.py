"""Every file in zoo_configs/ loads, is complete, and takes two steps."""

from pathlib import Path

import pytest

from mixzoo.config import resolve
from mixzoo.plugins import load_zoo
from mixzoo.run import start

FILES = sorted((Path(__file__).parents[1] / "zoo_configs").glob("*.toml"))


def test_there_are_run_files():
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_run_file_of_the_zoo_is_complete_and_takes_two_steps(file, tmp_path):
    zoo = load_zoo()
    config = resolve(zoo, file, {}, {})
    stated = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert "\n".join(stated).strip() == config.to_toml().strip()
    result = start(zoo, resolve(zoo, file, {"dataset": "digits:train_images=128"}, {"steps": 2}), tmp_path / "run")
    assert result.steps == 2
    assert result.numbers["reconstruction.l1"] > 0
