"""Imports libraries one after another and prints a line of JSON for each.

    python -m mixzoo.runs.import_probe torch timm

It is a process of its own, so that a library that ends or hangs the process takes no command of mixzoo down.
"""

import json
import os
import sys
import warnings
from importlib import import_module
from typing import Any

MOST = 300  # characters of an error


def main(names: list[str]) -> None:
    printed = os.dup(1)  # what libraries print goes to standard error
    os.dup2(2, 1)
    with os.fdopen(printed, "w", encoding="ascii") as out:
        for name in names:
            print(json.dumps({"name": name, "error": "", **_imported(name)}), file=out, flush=True)


def _imported(name: str) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = import_module(name)
        return _torch(module) if name == "torch" else {}
    except BaseException as err:  # a library may raise anything, SystemExit too
        lines = str(err).strip().splitlines() or [""]
        return {"error": f"{type(err).__name__}: {lines[0]}"[:MOST]}


def _torch(torch: Any) -> dict[str, Any]:
    """What torch was built for, and what it finds here."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())] if usable else []
    return {
        "built_for": f"CUDA {torch.version.cuda}" if torch.version.cuda else "ROCm" if torch.version.hip else "CPU",
        "cards": [f"{card.name}, {card.total_memory / 2**30:.0f} GiB" for card in cards],
        "cuda_says": str(caught[0].message).split("\n")[0][:MOST] if caught else "",
        "mps": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
