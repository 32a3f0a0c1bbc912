"""Does work of kill_*.py in a process of its own, which may fork: a process of pytest has threads."""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import warm


def job(function: str, folder: Path, *arguments: Any, seconds: float = 600, **named: Any) -> Any:
    """What module.function(folder, *arguments, **named) returns, as JSON; the arguments go there as JSON, too."""
    given = json.dumps([str(folder), arguments, named])
    code = f"import kill_jobs; kill_jobs.work({function!r}, {given!r})"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = warm.run("-c", code, env=environment, timeout=seconds)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def work(function: str, given: str) -> None:
    """Call the function in this process, and print what it returns."""
    module, _, name = function.partition(".")
    folder, arguments, named = json.loads(given)
    found = getattr(importlib.import_module(module), name)(Path(folder), *arguments, **named)
    print(json.dumps(found, default=vars))
