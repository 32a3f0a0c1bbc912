"""The catalogue: what `list`, `show` and `plugins` print is cached, and read again only as long as it is true."""

import json
import os
import subprocess
import sys
import time
from importlib.metadata import distributions

import pytest
from test_imports import HEAVY

from broken_plugins import GOOD, install
from mixzoo.registry.catalogue import load_catalogue
from mixzoo.registry.zoo import first_party, load_zoo

COUNTED = "import sys\nsys.loads = getattr(sys, 'loads', 0) + 1\n"  # how often the module was run


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the cache, of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mixzoo" / "plugins"


@pytest.fixture
def site(tmp_path, monkeypatch, cache):
    """A folder on the path where distributions can be installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "loads", 0, raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # compiled code would hide a change within a second
    yield folder
    forget()


def forget():
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


def read(site):
    """The catalogue of what is installed there, as a new process has it, and how many modules were run for it."""
    forget()
    sys.loads = 0
    points = [point for d in sorted(distributions(path=[str(site)]), key=lambda d: d.name) for point in d.entry_points]
    return load_catalogue(points), sys.loads


def test_a_plugin_that_is_known_is_not_loaded_and_looks_the_same(site):
    install(site, "good", COUNTED + GOOD)
    first, loads = read(site)
    assert loads == 1
    second, loads = read(site)
    assert loads == 0
    assert second == first
    assert second.find("mixer", "halves").text.options[0].default == 2


def test_the_catalogue_of_mixzoos_own_parts_is_that_of_the_zoo_from_the_cache_too(cache):
    zoo = load_zoo(first_party())
    for _ in range(2):
        catalogue = load_catalogue(first_party())
        assert catalogue.plugins == zoo.plugins
        assert [(o.kind, o.full_name, o.summary) for o in catalogue.registered] == [
            (o.kind, o.full_name, o.summary) for o in zoo.registered
        ]
    assert len(list(cache.iterdir())) == len(zoo.plugins)


CHANGES = {
    "its text": lambda site: (site / "acme_good.py").write_text(COUNTED + GOOD.replace("Half of", "A half of")),
    "its text, at the same length and time": lambda site: rewrite_unseen(site / "acme_good.py"),
    "its version": lambda site: (site / "acme_good-2.1.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-good\nVersion: 2.2\n"
    ),
}


def rewrite_unseen(file):
    state = file.stat()
    file.write_text(file.read_text().replace("Half of", "Part of"))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("what", CHANGES)
def test_a_plugin_that_has_changed_is_loaded_again(site, what):
    install(site, "good", COUNTED + GOOD)
    read(site)
    time.sleep(0.02)  # the clock of a file system ticks every few milliseconds
    CHANGES[what](site)
    catalogue, loads = read(site)
    assert loads == 1
    changed = (catalogue.registered[0].summary, catalogue.plugins[0].version)
    assert changed in [("A half of each.", "2.1"), ("Part of each.", "2.1"), ("Half of each.", "2.2")]
    assert read(site) == (catalogue, 0)


def test_any_file_of_a_plugins_package_counts_and_its_compiled_ones_do_not(site):
    install(site, "good", "")
    (site / "acme_good.py").unlink()
    package = site / "acme_good"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text(COUNTED + GOOD)
    read(site)
    assert read(site)[1] == 0
    (package / "deep" / "table.json").write_text("{}")
    assert read(site)[1] == 1
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "more.pyc").write_bytes(b"")
    assert read(site)[1] == 0
    (package / "deep" / "table.json").unlink()
    assert read(site)[1] == 1


def test_the_package_that_a_recipe_comes_from_counts_too(site):
    (site / "acme_base.py").write_text(GOOD.replace("def mixzoo_mixers", "def unused"))
    install(site, "good", f"{COUNTED}from mixzoo import hookimpl\n{HOOK}")
    assert read(site)[1] == 1
    assert read(site)[1] == 0
    (site / "acme_base.py").write_text((site / "acme_base.py").read_text().replace("Half of", "A half of"))
    catalogue, loads = read(site)
    assert (catalogue.registered[0].summary, loads) == ("A half of each.", 1)


HOOK = """
@hookimpl
def mixzoo_mixers():
    from acme_base import Halves
    return {"halves": Halves}
"""


def test_a_broken_plugin_is_tried_again_each_time(site, cache):
    install(site, "bad", COUNTED + "import missing_until_written")
    for _ in range(2):
        catalogue, loads = read(site)
        assert loads == 1
        assert "No module named 'missing_until_written'" in catalogue.plugins[0].problem
    assert not cache.exists()
    (site / "missing_until_written.py").write_text("")
    assert "is @hookimpl missing" in read(site)[0].plugins[0].problem


def test_a_default_that_is_computed_is_not_cached(site, cache):
    source = GOOD.replace("k: int = 2", "k: int = field(default_factory=lambda: sys.loads + 1)")
    install(site, "good", COUNTED + source.replace("import dataclass", "import dataclass, field"))
    read(site)
    assert read(site)[1] == 1
    assert not cache.exists()


def test_two_plugins_of_one_distribution_that_claim_a_name_are_told_from_the_cache_too(site):
    install(site, "good", COUNTED + GOOD, entries=["first", "second"])
    first, _ = read(site)
    assert read(site)[0] == first
    assert [plugin.problem for plugin in first.plugins] == ["", "mixer 'halves' is offered by plugin 'first' already"]


def test_what_it_changed_of_the_process_is_kept(site):
    install(site, "good", COUNTED + "import os\nos.chdir('/')\n" + GOOD)
    read(site)
    catalogue, loads = read(site)
    assert (catalogue.plugins[0].changed, loads) == (("the working directory",), 0)


def damaged(text):
    """Files that a cache may hold, whatever went wrong."""
    whole = json.loads(text)
    yield b""
    yield text[: len(text) // 2].encode()
    yield b"\xff\xfe\x00"
    yield b"[" * 100_000
    for value in (None, 3, [], {}, "x"):
        yield json.dumps(value).encode()
        for key in whole.keys() - ({"parts", "changed"} if value == [] else set()):  # none is allowed
            yield json.dumps(whole | {key: value}).encode()
    part = whole["parts"][0]
    for bad in ({**part, "kind": None}, {**part, "name": 3}, {**part, "text": {**part["text"], "options": [3]}}):
        yield json.dumps(whole | {"parts": [bad]}).encode()
    yield json.dumps(whole | {"fingerprint": "0" * 64}).encode()


def test_a_damaged_cache_is_rebuilt(site, cache):
    install(site, "good", COUNTED + GOOD)
    expected, _ = read(site)
    (file,) = cache.iterdir()
    text = file.read_text()
    cases = [content for content in damaged(text) if content != text.encode()]
    assert len(cases) > 25
    for content in cases:
        file.write_bytes(content)
        assert read(site) == (expected, 1), content[:200]
        assert file.read_text() == text


def test_a_cache_that_is_no_file_is_passed_by(site, cache):
    install(site, "good", COUNTED + GOOD)
    expected, _ = read(site)
    (file,) = cache.iterdir()
    file.unlink()
    os.mkfifo(file)
    assert read(site) == (expected, 1)
    file.unlink()
    file.mkdir()
    assert read(site) == (expected, 1)
    assert [path.name for path in cache.iterdir()] == [file.name]  # nothing half-written is left


@pytest.mark.parametrize("home", ["/dev/null", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_is_no_error(site, monkeypatch, home):
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    install(site, "good", COUNTED + GOOD)
    for _ in range(2):
        catalogue, loads = read(site)
        assert (len(catalogue.registered), loads) == (1, 1)


def test_a_cache_home_that_is_not_absolute_does_not_count(site, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    install(site, "good", COUNTED + GOOD)
    read(site)
    assert not (tmp_path / "relative").exists()
    assert len(list((tmp_path / "home/.cache/mixzoo/plugins").iterdir())) == 1


LIGHT = """
from dataclasses import dataclass
from mixzoo.registry.hookspecs import hookimpl

@dataclass(frozen=True)
class Count:
    "Counts."
    of: int = 3

@hookimpl
def mixzoo_metrics():
    return {"count": Count}
"""


def test_processes_that_write_at_once_leave_one_whole_file(site, cache):
    install(site, "light", LIGHT)
    code = (
        "from importlib.metadata import distributions; from mixzoo.registry.catalogue import load_catalogue\n"
        f"points = [point for found in distributions(path=[{str(site)!r}]) for point in found.entry_points]\n"
        "import sys; sys.path.append(sys.argv[1])\n"
        "print(load_catalogue(points))"
    )
    several = [
        subprocess.Popen([sys.executable, "-c", code, site], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    printed = {process.communicate()[0] for process in several}
    assert [process.returncode for process in several] == [0] * 4
    (text,) = printed
    assert "Counts." in text
    (file,) = cache.iterdir()
    assert file.suffix == ".json"
    json.loads(file.read_text())


def mixzoo(*arguments, flags=()):
    return subprocess.run([sys.executable, *flags, "-m", "mixzoo", *arguments], capture_output=True, text=True)


def test_list_show_and_plugins_load_no_torch_once_they_are_known(cache):
    commands = [["list", "mixers"], ["show", "mixer", "mixup"], ["show", "autoencoder", "timm", "--json"], ["plugins"]]
    cold = mixzoo(*commands[0])
    assert cold.returncode == 0
    for command in commands:
        warm = mixzoo(*command, flags=["-X", "importtime"])
        assert warm.returncode == 0
        loaded = {line.rpartition("|")[2].strip() for line in warm.stderr.splitlines()}
        assert "mixzoo.registry.catalogue" in loaded
        assert not loaded & HEAVY
        assert not [name for name in loaded if name.startswith("mixzoo_")]
    assert mixzoo(*commands[0]).stdout == cold.stdout


def test_nothing_of_the_cache_is_imported(site, cache):
    """A file that names modules and files of its own choice is compared, not obeyed."""
    install(site, "good", COUNTED + GOOD)
    expected, _ = read(site)
    (site / "acme_trap.py").write_text("raise SystemExit('imported')")
    (file,) = cache.iterdir()
    whole = json.loads(file.read_text())
    whole["dependencies"] = {"packages": ["acme_trap", "../trap", ""], "files": [str(site / "acme_trap.py")]}
    file.write_text(json.dumps(whole))
    assert read(site) == (expected, 1)
    assert "acme_trap" not in sys.modules


def test_what_is_printed_of_a_part_holds_no_commands_to_a_terminal(site):
    escape = "\\x1b[31m"
    source = GOOD.replace("'''Half of each.'''", f"'''Half{escape} of each.\n\n    And{escape} more.'''")
    source = source.replace(
        "k: int = 2", f"k: Annotated[str, 'help{escape}'] = 'x{escape}'; run_defaults = {{'a': 'b{escape}'}}"
    )
    install(site, "good", source.replace("import dataclass", "import dataclass\nfrom typing import Annotated"))
    for _ in range(2):
        (part,) = read(site)[0].registered
        text = part.text
        assert "Half" in part.summary
        shown = [part.summary, *text.about.split("\n"), text.options[0].help, text.options[0].default_text]
        assert all(line.isprintable() for line in [*shown, text.options[0].default, *text.run_defaults.values()])


def test_a_default_that_cannot_be_printed_makes_the_plugin_a_broken_one(site):
    odd = "class Odd:\n    def __str__(self): raise RuntimeError('no text')\n    __hash__ = object.__hash__\n"
    install(site, "good", odd + GOOD.replace("k: int = 2", "k: Odd = Odd()"))
    catalogue, _ = read(site)
    assert [plugin.problem for plugin in catalogue.plugins] == ["RuntimeError: no text"]
    assert catalogue.registered == []
