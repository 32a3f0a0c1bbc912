"""Plugins: a broken one is left out and named, and takes nothing down with it."""

import sys
from importlib.metadata import EntryPoint, distribution, distributions

import pytest

from mixzoo.core.errors import ConfigError
from mixzoo.registry.zoo import load_zoo

GOOD = """
from dataclasses import dataclass
from mixzoo import LinearMixer, hookimpl

@dataclass(frozen=True)
class Halves(LinearMixer):
    '''Half of each.'''
    k: int = 2
    def draw(self, shape, rng):
        import torch
        return shape.broadcast(torch.full((2, shape.batch), 0.5))

@hookimpl
def mixzoo_mixers():
    return {"halves": Halves}
"""


@pytest.fixture
def zoo_of(tmp_path, monkeypatch):
    """A zoo of plugins given by their source."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def make(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}_plugin.py").write_text(source)
            installed = tmp_path / f"acme_{name}-2.1.dist-info"
            installed.mkdir()
            (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: 2.1\n")
            (installed / "entry_points.txt").write_text(f"[mixzoo]\n{name} = {name}_plugin\n")
        found = {d.name: d for d in distributions(path=[str(tmp_path)])}
        return load_zoo([point for _, d in sorted(found.items()) for point in d.entry_points])

    yield make
    for name in set(sys.modules) - before:
        if name.endswith("_plugin"):
            del sys.modules[name]


OF_1 = "an objective is one function, losses(batch); Scores has logits; Setting is BuildContext, "  # and more
BROKEN = {
    "ImportError": ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
    "SyntaxError": ("def (", "SyntaxError: invalid syntax"),
    "RecursionError": ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
    "sys.exit": ("import sys; sys.exit(7)", "SystemExit: 7"),
    "misspelt hook": (
        GOOD.replace("def mixzoo_mixers", "def mixzoo_mixer"),
        "no hook is called 'mixzoo_mixer' (hooks: mixzoo_autoencoders,",
    ),
    "the nearest hook": (GOOD.replace("def mixzoo_mixers", "def mixzoo_mixer"), "Did you mean 'mixzoo_mixers'?"),
    "a good hook and a misspelt one": (
        GOOD + "@hookimpl\ndef mixzoo_metric(): return {}",
        "no hook is called 'mixzoo_metric' (hooks: ",
    ),
    "a good part and a bad one": (
        GOOD + "@hookimpl\ndef mixzoo_metrics(): return {'fid': 3}",
        "metric 'fid' must be a dataclass of options, not 3",
    ),
    "an instance": (GOOD.replace(": Halves}", ": Halves()}"), "must be a dataclass of options, not Halves(k=2)"),
    "somebody else's name": (GOOD.replace('"halves"', '"mixzoo/halves"'), "'mixzoo/halves' cannot name a mixer"),
    "an error over several lines": ("raise ImportError('first\\nsecond')", "ImportError: first second"),
    "extra argument": (
        GOOD.replace("def mixzoo_mixers()", "def mixzoo_mixers(zoo)"),
        "hook 'mixzoo_mixers' takes no arguments, not zoo",
    ),
    "a coroutine": (
        GOOD.replace("def mixzoo_mixers", "async def mixzoo_mixers"),
        "hook 'mixzoo_mixers' must return a table: write `def`, not `async def`",
    ),
    "a generator": (
        GOOD.replace("return {", "yield {"),
        "hook 'mixzoo_mixers' must return a table: write `return`, not `yield`",
    ),
    "suited things that are no table": (
        GOOD.replace("k: int = 2", "k: int = 2; run_defaults = 3"),
        "mixer 'halves': run_defaults must be a table, not 3",
    ),
    "a name with an accent": (GOOD.replace('"halves"', '"moitiés"'), "'moitiés' cannot name a mixer: use lower-case"),
    "later API": ("MIXZOO_API = 3" + GOOD, "written for plugin API 3, this mixzoo has 2; update mixzoo"),
    "an API that is none": ("MIXZOO_API = '2'" + GOOD, "written for plugin API '2', this mixzoo has 2; update mixzoo"),
    "earlier API": ("MIXZOO_API = 1" + GOOD, f"written for plugin API 1, this mixzoo has plugin API 2: {OF_1}"),
    "a name of the earlier API": (
        "from mixzoo import Setting" + GOOD,
        f"it imports mixzoo.Setting, of plugin API 1, this mixzoo has plugin API 2: {OF_1}",
    ),
    "a member of the earlier API": (
        GOOD.replace("k: int = 2", "k: int = 2; checks_left_out = {}"),
        f"mixer 'halves' has checks_left_out, of plugin API 1, this mixzoo has plugin API 2: {OF_1}",
    ),
    "an objective of the earlier API": (
        GOOD.replace("def draw(self, shape, rng):", "def autoencoder_terms(self, r, D):").replace(
            "mixers", "objectives"
        ),
        f"objective 'halves' has autoencoder_terms, of plugin API 1, this mixzoo has plugin API 2: {OF_1}",
    ),
    "illegal name": (
        GOOD.replace('"halves"', '"Half Measures"'),
        "'Half Measures' cannot name a mixer: use lower-case",
    ),
    "name with options": (GOOD.replace('"halves"', '"halves:k=2"'), "'halves:k=2' cannot name a mixer"),
    "no dataclass": (GOOD.replace("@dataclass(frozen=True)", ""), "mixer 'halves' must be a dataclass of options"),
    "raises in its hook": (GOOD.replace("return {", "1/0; return {"), "ZeroDivisionError: division by zero"),
    "no table": (
        GOOD.replace('return {"halves": Halves}', "return 3"),
        "mixzoo_mixers must return a table, name -> recipe, not 3",
    ),
    "message that raises": (
        "class Silent(Exception):\n    def __str__(self): raise RuntimeError\nraise Silent",
        "Silent",
    ),
    "error without a message": ("from mixzoo import PluginError\nraise PluginError", "PluginError"),
    "terminal escapes": ("raise ImportError('a\\r\\x1b[2Jb')", "ImportError: a"),
    "endless message": ("raise ImportError('x' * 100_000)", "ImportError: xxx"),
    "an annotation of nothing": (GOOD.replace("k: int = 2", "k: 'NotThere' = 2"), "NameError: name 'NotThere'"),
    "an option called name": (GOOD.replace("k: int = 2", "k: int = 2; name: str = 'x'"), "'name'"),
    "an option that no spec can spell": (GOOD.replace("k: int = 2", "k: int = 2; K: int = 2"), "'K'"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_left_out_and_named_and_the_others_work(zoo_of, kind):
    source, reason = BROKEN[kind]
    zoo = zoo_of(broken=source, good=GOOD)
    broken, good = zoo.plugins
    assert (broken.distribution, broken.version) == ("acme-broken", "2.1")
    assert reason in broken.problem
    assert broken.problem.isprintable()
    assert len(broken.problem) < 1000
    assert good.problem == ""
    assert [entry.plugin for entry in zoo.registered] == [good]
    assert zoo.recipe("mixer", "halves").k == 2


def test_ctrl_c_while_a_plugin_loads_is_not_swallowed(zoo_of):
    with pytest.raises(KeyboardInterrupt):
        zoo_of(slow="raise KeyboardInterrupt")


def test_two_claimants_of_a_name_are_refused_by_it_and_reached_in_full(zoo_of):
    zoo = zoo_of(one=GOOD, two=GOOD)
    with pytest.raises(
        ConfigError, match="'halves' is offered by 2 plugins; say which: acme-one/halves, acme-two/halves"
    ):
        zoo.recipe("mixer", "halves")
    assert zoo.find("mixer", "acme-two/halves").plugin.distribution == "acme-two"
    assert zoo.recipe("mixer", "acme-one/halves:k=3").k == 3


def test_an_unknown_name_gives_the_nearest_and_names_broken_plugins(zoo_of):
    zoo = zoo_of(broken="import not_there_at_all", good=GOOD)
    with pytest.raises(
        ConfigError,
        match=r"mixer 'halfes' \(available: halves\). Did you mean 'halves'\? Left out as broken: acme-broken 2.1; see",
    ):
        zoo.recipe("mixer", "halfes")
    with pytest.raises(ConfigError, match=r"unknown objective 'amr' \(available: none\)"):
        zoo.recipe("objective", "amr")


def test_a_hook_that_offers_nothing_is_no_fault(zoo_of):
    (plugin,) = zoo_of(shy=GOOD.replace('return {"halves": Halves}', "return None")).plugins
    assert plugin.problem == ""


def test_first_party_parts_come_through_the_hooks_of_the_distribution():
    zoo = load_zoo()
    assert {p.distribution for p in zoo.plugins if p.name in ("convnets", "mixers", "objectives")} == {"mixzoo"}
    assert {p.version for p in zoo.plugins if p.distribution == "mixzoo"} == {distribution("mixzoo").version}
    assert [p for p in zoo.plugins if p.problem] == []


@pytest.mark.parametrize(
    "kind", ["autoencoder", "discriminator", "mixer", "objective", "dataset", "metric", "logger", "figure", "launcher"]
)
def test_every_first_party_part_is_documented(kind):
    entries = [entry for entry in load_zoo().of_kind(kind) if entry.plugin.distribution == "mixzoo"]
    assert entries
    for entry in entries:
        assert entry.summary.endswith("."), entry.name
        assert not entry.summary.startswith(f"{entry.recipe.__name__}("), entry.name  # dataclass's own docstring
        for option in load_zoo().options(kind, entry.name):
            assert option.help, (entry.name, option.name)


def test_canonical_specs_show_every_option():
    zoo = load_zoo()
    assert zoo.canonical("mixer", "dirichlet:k=4") == "dirichlet:alpha=1.0,k=4"
    assert zoo.canonical("objective", "amr:lam=5") == "amr:beta=0.0,dropout=0.0,gan=js,lam=5.0,r1=0.0,recon=l1"
    assert zoo.canonical("dataset", "mnist") == "mnist:download=false,root=data"
    for entry in zoo.of_kind("mixer"):
        needed = [f"{option.name}=mixup" for option in zoo.options("mixer", entry.name) if option.required]
        spec = f"{entry.name}:{','.join(needed)}" if needed else entry.name
        full = zoo.canonical("mixer", spec)
        assert zoo.recipe("mixer", full) == zoo.recipe("mixer", spec)
        assert zoo.canonical("mixer", full) == full


OTHER_MARK = GOOD.replace("@hookimpl", "from mixzoo.registry.hookspecs import hookspec\n@hookspec")


@pytest.mark.parametrize("source", ["", GOOD.replace("@hookimpl", ""), OTHER_MARK])
def test_a_module_without_a_marked_hook_is_left_out_as_offering_nothing(zoo_of, source):
    zoo = zoo_of(
        bare=source.replace(
            "import LinearMixer, hookspec", "import LinearMixer; from mixzoo.registry.hookspecs import hookspec"
        )
    )
    assert zoo.registered == []
    assert zoo.plugins[0].problem == "it registers no part: is @hookimpl missing above its hook?"


def test_a_plugin_whose_module_is_gone_is_named(zoo_of, tmp_path):
    zoo_of(good=GOOD)
    (tmp_path / "acme_good-2.1.dist-info" / "entry_points.txt").write_text("[mixzoo]\ngood = gone_plugin\n")
    (found,) = distributions(path=[str(tmp_path)])
    (plugin,) = load_zoo(list(found.entry_points)).plugins
    assert str(plugin) == "plugin 'good' of acme-good 2.1"
    assert plugin.problem == "ModuleNotFoundError: No module named 'gone_plugin'"


def test_an_entry_point_of_no_distribution_is_told_apart():
    (plugin,) = load_zoo([EntryPoint("loose", "not_there_at_all", "mixzoo")]).plugins
    assert (plugin.distribution, plugin.version) == ("unknown-distribution", "?")
    assert "No module named 'not_there_at_all'" in plugin.problem


def test_a_full_name_of_another_distribution_is_not_on_offer(zoo_of):
    zoo = zoo_of(good=GOOD)
    assert zoo.recipe("mixer", "acme-good/halves").k == 2
    with pytest.raises(ConfigError, match=r"mixer 'acme/halves' \(available: halves\)\. Did you mean 'halves'\?$"):
        zoo.recipe("mixer", "acme/halves")
    with pytest.raises(ConfigError, match=r"^unknown objective 'halves' \(available: none\)\.$"):
        zoo.find("objective", "halves")


def test_each_zoo_is_its_own():
    zoo = load_zoo()
    zoo.registered.clear()
    zoo.plugins.clear()
    assert load_zoo().recipe("mixer", "mixup").k == 2


def test_a_distribution_without_metadata_is_still_told_by_a_word(zoo_of, tmp_path):
    zoo_of(good=GOOD)
    (tmp_path / "acme_good-2.1.dist-info" / "METADATA").unlink()
    (found,) = distributions(path=[str(tmp_path)])
    (plugin,) = load_zoo(list(found.entry_points)).plugins
    assert (plugin.distribution, plugin.version) == ("unknown-distribution", "?")


def test_two_plugins_of_one_distribution_cannot_both_have_a_name(zoo_of, tmp_path):
    zoo_of(good=GOOD)
    entries = "[mixzoo]\none = good_plugin\ntwo = good_plugin\n"
    (tmp_path / "acme_good-2.1.dist-info" / "entry_points.txt").write_text(entries)
    (found,) = distributions(path=[str(tmp_path)])
    zoo = load_zoo(list(found.entry_points))
    assert zoo.recipe("mixer", "halves").k == 2
    assert [bool(plugin.problem) for plugin in zoo.plugins] == [False, True]
