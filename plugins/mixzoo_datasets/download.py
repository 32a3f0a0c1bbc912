"""Files fetched from the network, only when asked to, and kept only if they are the right ones."""

import hashlib
import http.client
import os
import urllib.request
from pathlib import Path

from mixzoo import DataError
from mixzoo_datasets.reading import is_there

TIMEOUT_SECONDS = 60


def fetch(url: str, target: Path, md5: str) -> None:
    """Fetch the file unless it is there; DataError where the network or the checksum fails, and nothing is left."""
    if is_there(target):
        return
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")  # two runs may fetch at once
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.md5(usedforsecurity=False)  # what the publishers list
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, partial.open("wb") as file:
            while block := answer.read(1 << 20):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != md5:
            raise DataError(f"{url}: MD5 {digest.hexdigest()}, expected {md5}; nothing was kept, try again later")
        os.replace(partial, target)
    except (OSError, http.client.HTTPException) as err:
        reason = getattr(err, "reason", None) or getattr(err, "strerror", None) or err
        raise DataError(f"{url}: cannot be fetched into {target.parent}: {reason}") from err
    finally:
        partial.unlink(missing_ok=True)
