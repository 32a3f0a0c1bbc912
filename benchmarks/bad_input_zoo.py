"""Rows of bad_input.py: plugins that are broken, hang or register nothing, the catalogue cache, and doctor."""

import os
from pathlib import Path

from bad_input import Finished, Row, mixzoo

GOOD = """
from dataclasses import dataclass
from mixzoo import LinearMixer, hookimpl

@dataclass(frozen=True)
class Thirds(LinearMixer):
    '''A third and two.'''
    part: float = 1 / 3
    def draw(self, shape, rng):
        import torch
        return shape.broadcast(torch.tensor([[self.part], [1 - self.part]]).expand(2, shape.batch))

@hookimpl
def mixzoo_mixers():
    return {"thirds": Thirds}
"""
LISTED = ("list", "mixers", "--plugin", "mine.py")
NOTHING = "mine.py: it registers no part: is @hookimpl missing above its hook?"


def of_plugin(situation: str, source: str, exit_code: int, says: str, command: tuple[str, ...] = LISTED) -> Row:
    """A row of a single-file plugin with this source."""

    def run(folder: Path) -> Finished:
        (folder / "mine.py").write_text(source)
        return mixzoo(folder, *command)

    return Row(situation, run, exit_code, says)


def cache_of(content: bytes) -> Row:
    """A row of a cache in which every file has this content."""

    def run(folder: Path) -> Finished:
        env = {"XDG_CACHE_HOME": str(folder / "cache")}
        mixzoo(folder, "list", "mixers", env=env)
        for file in (folder / "cache" / "mixzoo" / "plugins").iterdir():
            file.write_bytes(content)
        return mixzoo(folder, "show", "mixer", "mixup", env=env)

    return Row(f"show mixer mixup, cache files hold {content[:12]!r}", run, 0, "law=uniform")


def doctor_with_module(situation: str, module: str, source: str, exit_code: int, says: str) -> Row:
    """A row of `mixzoo doctor` with a module that shadows the installed one."""

    def run(folder: Path) -> Finished:
        (folder / "first").mkdir()
        (folder / "first" / f"{module}.py").write_text(source)
        paths = [str(folder / "first"), os.environ.get("PYTHONPATH", "")]
        return mixzoo(folder, "doctor", env={"PYTHONPATH": os.pathsep.join(filter(None, paths))})

    return Row(situation, run, exit_code, says)


ROWS = [
    of_plugin("--plugin of an empty file", "", 2, NOTHING),
    of_plugin("--plugin without @hookimpl", GOOD.replace("@hookimpl", ""), 2, NOTHING),
    of_plugin(
        "--plugin whose hook returns an empty table",
        GOOD.replace('{"thirds": Thirds}', "{}"),
        2,
        "it registers no part: its hooks return empty tables",
    ),
    of_plugin(
        "plugins --errors --plugin of an empty file",
        "",
        0,
        "mine (mine.py e3b0c44298fc) BROKEN, left out: it registers no part",
        ("plugins", "--errors", "--plugin", "mine.py"),
    ),
    of_plugin("--plugin that sleeps without end", "import time\ntime.sleep(1e6)\n", 9, "still loading after 10 s"),
    of_plugin(
        "--plugin that loops and catches every Exception",
        "while True:\n    try:\n        pass\n    except Exception:\n        pass\n",
        9,
        "still loading after 10 s without importing anything",
    ),
    of_plugin(
        "--plugin whose hook takes an argument",
        GOOD.replace("def mixzoo_mixers()", "def mixzoo_mixers(zoo)"),
        9,
        "mine.py: hook 'mixzoo_mixers' takes no arguments, not zoo",
    ),
    of_plugin(
        "--plugin with a misspelt hook",
        GOOD.replace("mixzoo_mixers", "mixzoo_mixer"),
        9,
        "Did you mean 'mixzoo_mixers'?",
    ),
    of_plugin(
        "--plugin whose hook returns a list",
        GOOD.replace('{"thirds": Thirds}', "[Thirds]"),
        9,
        "mixzoo_mixers must return a table, name -> recipe, not [<class",
    ),
    of_plugin(
        "--plugin whose hook is a coroutine",
        GOOD.replace("def mixzoo_mixers", "async def mixzoo_mixers"),
        9,
        "must return a table: write `def`, not `async def`",
    ),
    of_plugin(
        "--plugin whose hook yields",
        GOOD.replace("return {", "yield {"),
        9,
        "must return a table: write `return`, not `yield`",
    ),
    of_plugin(
        "--plugin that names a part with an accent",
        GOOD.replace('"thirds"', '"très"'),
        9,
        "'très' cannot name a mixer: use lower-case letters a to z",
    ),
    of_plugin(
        "--plugin whose recipe is no dataclass",
        GOOD.replace("@dataclass(frozen=True)", ""),
        9,
        "mixer 'thirds' must be a dataclass of options, not <class",
    ),
    of_plugin(
        "--plugin whose summary holds terminal commands",
        GOOD.replace("A third", "A \\x1b[31mthird"),
        0,
        "A \N{REPLACEMENT CHARACTER}[31mthird and two.",
    ),
    *(cache_of(content) for content in (b"", b"{}", b"[" * 100_000, b'{"parts": 3}', b"\xff\xfe")),
    Row(
        "list mixers, cache home is no folder",
        lambda folder: mixzoo(folder, "list", "mixers", env={"XDG_CACHE_HOME": "/dev/null"}),
        0,
        "mixup",
    ),
    Row("doctor", lambda folder: mixzoo(folder, "doctor"), 0, "a run on digits would work here"),
    Row(
        "doctor on cp1252",
        lambda folder: mixzoo(folder, "doctor", env={"PYTHONIOENCODING": "cp1252"}),
        0,
        "export PYTHONUTF8=1",
    ),
    doctor_with_module(
        "doctor, torchvision does not load",
        "torchvision",
        "raise RuntimeError('no such operator')",
        0,
        "no such operator; only the auto-encoder `timm` is missing; pip install --force-reinstall torch",
    ),
    doctor_with_module(
        "doctor, torch does not load",
        "torch",
        "raise ImportError('libcudart.so.13: no such file')",
        9,
        "a run on digits would not work here",
    ),
]
