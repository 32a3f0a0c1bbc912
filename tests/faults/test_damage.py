"""Flipped bits and files cut short: a sample; benchmarks/storage_faults.py has 10,000 flips and every length."""

import hashlib
from collections import Counter
from pathlib import Path

import damage
import pytest
from mutants import Unhashed

pytestmark = pytest.mark.faults


def test_flipped_bits_of_every_file_of_a_run_are_found(tmp_path):
    rows = list(damage.flips(tmp_path, [], 200))
    assert [row for row in rows if row["problems"]] == []
    found = Counter(row["what"] for row in rows)
    assert found["the same"] <= 8  # white space, and the name of the file in manifest.sha256
    assert min(found[what] for what in damage.FOUND) >= 15


def test_files_that_are_cut_short_are_found(tmp_path):
    rows = list(damage.truncations(tmp_path, [], 640))
    assert len(rows) > 150
    assert [row for row in rows if row["problems"]] == []
    # A run file cut at the end of a line, before options that have their defaults, is that of the same run.
    assert {Path(row["file"]).name for row in rows if row["what"] == "the same"} <= {"run.toml"}


def test_a_planted_reader_that_compares_no_hash_is_found(tmp_path, monkeypatch):
    patient = damage.Patient(tmp_path)
    monkeypatch.setattr(hashlib, "sha256", Unhashed)
    for path in (file for file in patient.files() if file.suffix == ".safetensors"):
        content = bytearray(patient.before[path])
        content[-4] ^= 1  # of the last number
        assert patient.damaged(path, bytes(content))[0] == "missed", path
