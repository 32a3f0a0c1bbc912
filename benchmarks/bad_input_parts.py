"""Rows of bad_input.py: specs and options of parts."""

from bad_input import TINY, Row, mixzoo

ROWS = [
    Row("--mixer mixpu", lambda folder: mixzoo(folder, "train", *TINY, "--mixer", "mixpu"), 2, "Did you mean 'mixup'?"),
]
