"""Images that tests of several files read."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path):
    """Sixty noisy images of 8x8 in two classes; 48 train, so that 16 a batch make 3 steps an epoch."""
    rng = np.random.default_rng(0)
    for name, value in (("cats", 40), ("dogs", 150)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(30):
            array = rng.integers(value, value + 60, (8, 8), dtype=np.uint8)
            Image.fromarray(array).save(tmp_path / "photos" / name / f"{i:02}.png")
    return tmp_path / "photos"
