"""Downloads, made only on request and kept only if their checksum is right."""

import hashlib
import http.client
import os
import urllib.request
from pathlib import Path

from mixzoo import DataError
from mixzoo_datasets.reading import exists

TIMEOUT_SECONDS = 60


def fetch(url: str, target: Path, md5: str) -> None:
    """Download the file unless it exists. Raises DataError, and keeps nothing, if that or the checksum fails."""
    if exists(target):
        return
    partial = target.with_name(
        f".partial-{os.getpid()}-{target.name}"
    )  # of this process, since two runs may download at once
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.md5(usedforsecurity=False)  # the checksum that the publishers list
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, partial.open("wb") as file:
            while block := answer.read(1 << 20):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != md5:
            raise DataError(f"{url}: MD5 {digest.hexdigest()}, expected {md5}; the file was discarded, try again later")
        os.replace(partial, target)
    except (OSError, http.client.HTTPException) as err:
        reason = getattr(err, "reason", None) or getattr(err, "strerror", None) or err
        raise DataError(f"{url}: cannot be fetched into {target.parent}: {reason}") from err
    finally:
        partial.unlink(missing_ok=True)
