"""Shapes are checked while tests run; hypothesis draws the same examples every time in CI."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: toy sizes gain nothing from more, and cores are shared

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook(
    ["mixzoo", "mixzoo_convnets", "mixzoo_datasets", "mixzoo_metrics", "mixzoo_mixers", "mixzoo_objectives"],
    "typechecker.checked",
)

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=100)
settings.register_profile("local", deadline=None, max_examples=50)
settings.load_profile("ci" if os.environ.get("CI") else "local")
