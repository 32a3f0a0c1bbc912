"""Imports libraries one by one and prints a line of JSON for each.

    python -m mixzoo.runs.import_probe torch timm

Runs in its own process, so that a library that crashes or hangs does not take `mixzoo doctor` down with it.
"""

import json
import os
import sys
import warnings
from importlib import import_module
from typing import Any

LONGEST_ERROR = 300  # characters


def main(names: list[str]) -> None:
    stdout = os.dup(1)  # what libraries print goes to standard error
    os.dup2(2, 1)
    with os.fdopen(stdout, "w", encoding="ascii") as out:
        for name in names:
            print(json.dumps({"name": name, "error": "", **_import(name)}), file=out, flush=True)


def _import(name: str) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = import_module(name)
        return _torch_details(module) if name == "torch" else {}
    except BaseException as err:  # a library may raise anything, even SystemExit
        lines = str(err).strip().splitlines() or [""]
        return {"error": f"{type(err).__name__}: {lines[0]}"[:LONGEST_ERROR]}


def _torch_details(torch: Any) -> dict[str, Any]:
    """What torch was built for, and the hardware that it can use here."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())] if usable else []
    return {
        "built_for": f"CUDA {torch.version.cuda}" if torch.version.cuda else "ROCm" if torch.version.hip else "CPU",
        "gpus": [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus],
        "cuda_warning": str(caught[0].message).split("\n")[0][:LONGEST_ERROR] if caught else "",
        "mps": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
