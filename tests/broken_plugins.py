"""Plugins as strangers write them, installed as folders on the path: a good one, and twelve that are broken.

`python tests/broken_plugins.py` prints the line that a user sees of each broken one.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOOD = """
from dataclasses import dataclass
from mixzoo import LinearMixer, hookimpl

@dataclass(frozen=True)
class Halves(LinearMixer):
    '''Half of each.'''
    k: int = 2
    def draw(self, shape, rng):
        import torch
        return shape.broadcast(torch.full((self.k, shape.batch), 1 / self.k))

@hookimpl
def mixzoo_mixers():
    return {"halves": Halves}
"""

# What is wrong -> the plugin's source, and the reason in the line that the user sees.
TWELVE = {
    "import": ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
    "syntax": ("def (", "SyntaxError: invalid syntax (acme_syntax.py, line 1)"),
    "recursion": ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
    "exit": ("import sys; sys.exit(7)", "SystemExit: 7"),
    "api": ("MIXZOO_API = 3\n" + GOOD, "written for plugin API 3, this mixzoo has 2; update mixzoo"),
    "hook": (
        GOOD.replace("def mixzoo_mixers", "def mixzoo_mixer"),
        "no hook is called 'mixzoo_mixer' (hooks: mixzoo_autoencoders, mixzoo_datasets, mixzoo_discriminators, "
        "mixzoo_figures, mixzoo_launchers, mixzoo_loggers, mixzoo_metrics, mixzoo_mixers, mixzoo_objectives). Did you "
        "mean 'mixzoo_mixers'?",
    ),
    "name": (
        GOOD.replace('"halves"', '"my/halves"'),
        "'my/halves' cannot name a mixer: use lower-case letters a to z, digits",
    ),
    "raises": (GOOD.replace("return {", "1/0; return {"), "ZeroDivisionError: division by zero"),
    "table": (GOOD.replace('{"halves": Halves}', "[Halves]"), "mixzoo_mixers must return a table, name -> recipe, not"),
    "dataclass": (GOOD.replace("@dataclass(frozen=True)", ""), "mixer 'halves' must be a dataclass of options, not"),
    "option": (GOOD.replace("k: int = 2", "name: str = 'x'"), "mixer 'halves': an option cannot be called 'name'"),
    "taken": (GOOD, "mixer 'halves' is offered by plugin 'first' already"),
}


def install(folder, name, source, *, version="2.1", entries=None):
    """Put the distribution acme-<name>, a module with this source, into a folder of the path."""
    module = f"acme_{name}"
    (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{module}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: {version}\n")
    lines = [f"{entry} = {module}" for entry in entries or [name]]
    (metadata / "entry_points.txt").write_text("\n".join(["[mixzoo]", *lines, ""]))
    return metadata


def install_twelve(folder):
    for name, (source, _) in TWELVE.items():
        install(folder, name, source, entries=["first", "taken"] if name == "taken" else None)


def run_beside(folder, *arguments):
    """`python -m mixzoo` with these distributions on its path."""
    path = os.pathsep.join([str(folder), str(ROOT), str(ROOT / "plugins")])
    run = [sys.executable, "-m", "mixzoo", *arguments]
    return subprocess.run(run, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, cwd=folder)


def main():
    with tempfile.TemporaryDirectory() as folder:
        install_twelve(Path(folder))
        found = run_beside(folder, "plugins", "--errors").stdout.splitlines()
    print("| what is wrong | the line |\n|---|---|")
    for name in TWELVE:
        (line,) = [line for line in found if line.startswith(f"{name}  (")]
        print(f"| {name} | `{line}` |")


if __name__ == "__main__":
    main()
