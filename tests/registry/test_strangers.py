"""Strangers' plugins through the command line: broken, of one name, a file, gone before a resume; hostile run files."""

import hashlib
import json
import sys

import pytest

from broken_plugins import GOOD, TWELVE, install, install_twelve, run_beside
from mixzoo.core.json_file import read_object
from toys import SMALL, TOYS, edited

pytestmark = pytest.mark.faults

NOISY = "print('hello from a plugin')\nimport os\nos.chdir('/')\n" + GOOD.replace("halves", "noisy_halves")
MIXUP = GOOD.replace('"halves"', '"mixup"')  # claims the name of a part of mixzoo's own
AMR = GOOD.replace('"halves"', '"amr"').replace("mixzoo_mixers", "mixzoo_objectives")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path where distributions can be installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith(("acme_", "mixzoo_file_", "canary")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def beside_twelve(tmp_path_factory):
    """A folder with the twelve, and one that works, prints and changes folder."""
    folder = tmp_path_factory.mktemp("broken")
    install_twelve(folder)
    install(folder, "noisy", NOISY)
    return folder


def trained(mixzoo, *arguments, home="run"):
    return ok(mixzoo, "train", *TOYS, *SMALL, "--out", home, *arguments)


def ok(mixzoo, *arguments):
    code, out, err = mixzoo(*arguments)
    assert code == 0, err
    return out, err


def stopped(home):
    """The finished run as if it had been stopped after its last checkpoint, so that resume does something."""
    edited(home / "status.json", state="interrupted")
    return home


def environment(home):
    return read_object(home / "environment.json").values


def test_each_of_twelve_broken_plugins_has_its_line(beside_twelve):
    done = run_beside(beside_twelve, "plugins", "--errors")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(TWELVE) == 12
    for name, (_, reason) in TWELVE.items():
        assert f"\n{name}  (acme-{name} 2.1)  BROKEN, left out: {reason}" in f"\n{done.stdout}"


def test_other_commands_work_beside_twelve_broken_plugins_and_their_data_stay_clean(beside_twelve):
    (beside_twelve / "acme_noisy.py").touch()  # so that it is loaded, and not known from the test before
    done = run_beside(beside_twelve, "list", "mixers", "--json")
    assert done.returncode == 0, done.stderr
    names = [row["name"] for row in json.loads(done.stdout)]
    assert {"noisy_halves", "mixup", "dirichlet"} <= set(names)
    assert names.count("halves") == 1  # of acme-taken, whose first plugin is sound
    assert "hello from a plugin" in done.stderr


def test_errors_lists_only_broken_plugins_and_says_when_there_are_none(mixzoo, site):
    assert ok(mixzoo, "plugins", "--errors")[0] == ""
    assert "plugins is broken" in ok(mixzoo, "plugins", "--errors")[1]
    install(site, "bad", "import not_there_at_all")
    install(site, "good", GOOD)
    assert [row["name"] for row in json.loads(ok(mixzoo, "plugins", "--errors", "--json")[0])] == ["bad"]


def test_what_a_plugin_changed_while_it_loaded_is_said(mixzoo, site):
    install(site, "noisy", NOISY)
    out, err = ok(mixzoo, "plugins")
    assert "mixer noisy_halves  (changed the working directory while it loaded; restored)" in out
    assert "hello" not in out
    assert "hello from a plugin" in err
    assert out.count("while it loaded") == 1


def test_an_unknown_part_names_the_broken_plugins_that_may_have_it(mixzoo, site):
    for name in ("one", "two", "three", "four"):
        install(site, name, "import not_there_at_all")
    code, _, err = mixzoo("show", "mixer", "halves")
    assert code == 2
    assert err.count("\n") == 1
    assert "unknown mixer 'halves'" in err
    assert "Left out as broken: acme-four 2.1, acme-one 2.1, acme-three 2.1 and 1 more; see `mixzoo plugins" in err


def test_a_part_of_a_broken_distribution_ends_with_9_and_the_reason(mixzoo, site):
    install(site, "bad", "import not_there_at_all")
    code, _, err = mixzoo("train", "--mixer", "acme-bad/halves")
    assert code == 9
    assert "'acme-bad/halves' cannot be used, plugin 'bad' of acme-bad 2.1 is broken: ModuleNotFoundError" in err


def test_two_claimants_are_marked_refused_by_bare_name_and_reached_in_full(mixzoo, site, tmp_path):
    install(site, "one", GOOD)
    install(site, "two", GOOD)
    out, _ = ok(mixzoo, "list", "mixers")
    assert "acme-one/halves  Half of each.  [acme-one/one]  (write the full name: acme-two has 'halves' too)" in out
    assert "acme-two/halves  Half of each.  [acme-two/two]  (write the full name: acme-one has 'halves' too)" in out
    assert "mixer halves (write acme-one/halves: acme-two has it too)" in ok(mixzoo, "plugins")[0]
    rows = json.loads(ok(mixzoo, "list", "mixers", "--json")[0])
    assert [row["write"] for row in rows if row["name"] == "halves"] == ["acme-one/halves", "acme-two/halves"]

    code, _, err = mixzoo("train", *TOYS, *SMALL, "--mixer", "halves")
    assert code == 2
    assert "'halves' is offered by 2 plugins; say which: acme-one/halves, acme-two/halves" in err

    trained(mixzoo, "--mixer", "acme-two/halves:k=3")
    assert 'name = "acme-two/halves"' in (tmp_path / "run" / "run.toml").read_text()
    ok(mixzoo, "resume", stopped(tmp_path / "run"))
    ok(mixzoo, "train", "--config", "run/run.toml", "--out", "again")
    ok(mixzoo, "interpolate", "run")
    assert "acme-one/halves" in ok(mixzoo, "interpolate", "run", "--mixer", "acme-one/halves")[1]


def test_a_claim_of_mixzoos_own_names_leaves_defaults_and_older_runs_alone(mixzoo, site, tmp_path):
    trained(mixzoo, "--mixer", "mixup", home="before")
    install(site, "bold", MIXUP)
    install(site, "bolder", AMR)
    code, _, err = mixzoo("train", *TOYS, *SMALL, "--mixer", "mixup")
    assert code == 2
    assert "'mixup' is offered by 2 plugins; say which: acme-bold/mixup, mixzoo/mixup" in err
    assert "mixer mixup (write mixzoo/mixup: acme-bold has it too)" in ok(mixzoo, "plugins")[0]
    trained(mixzoo, home="after")
    assert 'name = "mixzoo/mixup"' in (tmp_path / "after" / "run.toml").read_text()
    assert 'name = "mixzoo/amr"' in (tmp_path / "after" / "run.toml").read_text()
    for home in ("before", "after"):
        ok(mixzoo, "resume", stopped(tmp_path / home))
        ok(mixzoo, "interpolate", home)


def test_a_plugin_in_one_file_serves_every_command(mixzoo, site, tmp_path):
    file = tmp_path / "poles.py"
    file.write_text(GOOD)
    assert "[poles.py/poles]" in ok(mixzoo, "list", "mixers", "--plugin", file)[0]
    assert "mixer halves  [poles.py/poles]" in ok(mixzoo, "show", "mixer", "poles.py/halves", "--plugin", "poles.py")[0]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"poles  (poles.py {digest[:12]})  mixer halves" in ok(mixzoo, "plugins", "--plugin", file)[0]
    trained(mixzoo, "--plugin", file, "--mixer", "halves")
    (row,) = [row for row in environment(tmp_path / "run")["parts"] if row["name"] == "halves"]
    assert (row["file"], row["sha256"]) == (str(file), digest)
    assert "poles.py" not in (tmp_path / "run" / "run.toml").read_text()
    assert not (tmp_path / "__pycache__").exists()
    ok(mixzoo, "resume", stopped(tmp_path / "run"), "--plugin", file)
    ok(mixzoo, "interpolate", "run", "--plugin", file)


@pytest.mark.parametrize("command", ["resume", "interpolate"])
def test_a_run_of_a_plugin_in_a_file_says_what_is_missing_without_it(mixzoo, site, tmp_path, command):
    file = tmp_path / "poles.py"
    file.write_text(GOOD)
    trained(mixzoo, "--plugin", file, "--mixer", "halves")
    code, _, err = mixzoo(command, "run")
    assert code == 4
    expected = f"run: mixer 'halves' came from the file {file}, which is not loaded; add --plugin {file}"
    assert err == f"mixzoo: {expected}\n"


def test_a_file_that_has_changed_is_a_warning(mixzoo, site, tmp_path):
    file = tmp_path / "poles.py"
    file.write_text(GOOD)
    trained(mixzoo, "--plugin", file, "--mixer", "halves")
    file.write_text(GOOD + "# changed\n")
    for command in ("resume", "interpolate"):
        _, err = ok(mixzoo, command, stopped(tmp_path / "run"), "--plugin", file)
        assert "warning: mixer 'halves' came from poles.py SHA-256 " in err


GONE = {
    "uninstalled": (lambda site: None, [], "which is not installed; pip install acme-gone==2.1"),
    "left out by a flag": (
        lambda site: install(site, "gone", GOOD),
        ["--no-plugins"],
        "which is installed but not loaded; leave --no-plugins out",
    ),
    "broken": (
        lambda site: install(site, "gone", "import not_there_at_all", version="2.2"),
        [],
        "but the installed version 2.2 is broken: ModuleNotFoundError: No module named 'not_there_at_all'; pip install",
    ),
    "renamed": (
        lambda site: install(site, "gone", GOOD.replace('"halves"', '"thirds"'), version="2.2"),
        [],
        "but the installed version 2.2 has no such mixer; pip install acme-gone==2.1",
    ),
    "somebody else's": (
        lambda site: install(site, "other", GOOD),
        [],
        "which is not installed; pip install acme-gone==2.1",
    ),
}


def uninstall(site):
    sys.modules.pop("acme_gone", None)
    for path in site.iterdir():
        if path.is_dir():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        else:
            path.unlink()


@pytest.fixture
def run_of_gone(mixzoo, site, tmp_path):
    """A run whose mixer came from acme-gone 2.1, which is installed no longer."""
    install(site, "gone", GOOD)
    trained(mixzoo, "--mixer", "halves")
    uninstall(site)
    return stopped(tmp_path / "run")


@pytest.mark.parametrize("how", GONE)
def test_a_part_that_is_there_no_longer_ends_with_4_and_what_to_do(mixzoo, site, run_of_gone, how):
    then, flags, expected = GONE[how]
    then(site)
    for command in ("resume", "interpolate"):
        code, _, err = mixzoo(command, run_of_gone, *flags)
        assert code == 4
        assert f"{run_of_gone}: mixer 'halves' came from acme-gone 2.1, {expected}" in err
        assert err.count("\n") == 1


def test_another_version_of_a_plugin_is_a_warning(mixzoo, site, run_of_gone):
    install(site, "gone", GOOD, version="2.2")
    line = "warning: mixer 'halves' came from acme-gone 2.1, which is now 2.2; results may differ"
    assert line in ok(mixzoo, "resume", run_of_gone)[1]
    assert line in ok(mixzoo, "interpolate", run_of_gone)[1]


@pytest.mark.parametrize("parts", [3, [3], [{"kind": "mixer"}], [{"kind": 1}], [{"import": "canary"}], {"mixer": "x"}])
def test_a_damaged_table_of_parts_is_named(mixzoo, tmp_path, parts):
    trained(mixzoo)
    edited(tmp_path / "run" / "environment.json", parts=parts)
    code, _, err = mixzoo("resume", "run")
    assert code == 0
    assert "warning: run/environment.json: its table of parts is damaged; what the newest checkpoint has" in err


NO_PLUGIN = {
    "missing": ("nothing.py", "--plugin nothing.py: no such file"),
    "folder": ("folder.py", "--plugin folder.py: it is a folder; give one .py file, or install a package with"),
    "other text": ("poles.txt", "--plugin poles.txt: name the file with letters, digits, "),
    "spaces": ("my poles.py", "--plugin my poles.py: name the file with letters, digits, "),
}


@pytest.mark.parametrize("kind", NO_PLUGIN)
@pytest.mark.parametrize("command", [["train"], ["list", "mixers"], ["plugins"], ["resume", "run"]], ids=" ".join)
def test_what_is_no_plugins_file_is_refused(mixzoo, tmp_path, kind, command):
    name, expected = NO_PLUGIN[kind]
    (tmp_path / "folder.py").mkdir()
    for file in ("poles.txt", "my poles.py"):
        (tmp_path / file).write_text(GOOD)
    code, out, err = mixzoo(*command, "--plugin", name)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1


def test_two_files_of_one_name_are_refused(mixzoo, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "poles.py").write_text(GOOD)
    code, _, err = mixzoo("list", "mixers", "--plugin", "a/poles.py", "--plugin", "b/poles.py")
    assert code == 2
    assert "--plugin a/poles.py: two files are called poles.py; rename one" in err


def test_a_broken_file_that_was_asked_for_ends_with_9_and_is_listed(mixzoo, tmp_path):
    file = tmp_path / "poles.py"
    file.write_text("import not_there_at_all")
    code, _, err = mixzoo("list", "mixers", "--plugin", file)
    assert code == 9
    assert err == f"mixzoo: --plugin {file}: ModuleNotFoundError: No module named 'not_there_at_all'\n"
    assert "BROKEN, left out: ModuleNotFoundError" in ok(mixzoo, "plugins", "--errors", "--plugin", file)[0]
    assert not [name for name in sys.modules if name.startswith("mixzoo_file_poles")]


def test_a_file_that_offers_nothing_ends_with_2_and_is_listed(mixzoo, tmp_path):
    reasons = {
        "": "it registers no part: is @hookimpl missing above its hook?",
        GOOD.replace("@hookimpl", ""): "it registers no part: is @hookimpl missing above its hook?",
        GOOD.replace('{"halves": Halves}', "{}"): "it registers no part: its hooks return empty tables",
    }
    file = tmp_path / "poles.py"
    for source, reason in reasons.items():
        file.write_text(source)
        for command in (["list", "mixers"], ["train"]):
            assert mixzoo(*command, "--plugin", file) == (2, "", f"mixzoo: --plugin {file}: {reason}\n")
        listed = ok(mixzoo, "plugins", "--plugin", file)[0].splitlines()[-1]
        assert listed.endswith("no parts" if "return" in reason else f"BROKEN, left out: {reason}")
    file.write_text("")
    out, err = ok(mixzoo, "plugins", "--errors", "--plugin", file)
    assert out.startswith("poles  (poles.py e3b0c44298fc)  BROKEN, left out: it registers no part")
    assert err == ""


def test_no_plugins_leaves_installed_ones_out_unloaded_and_keeps_files(mixzoo, site, tmp_path):
    install(site, "good", GOOD)
    (tmp_path / "poles.py").write_text(GOOD.replace('"halves"', '"poles"'))
    out, _ = ok(mixzoo, "list", "mixers", "--no-plugins", "--plugin", "poles.py")
    names = [line.split()[0] for line in out.splitlines()]
    assert {"mixup", "poles"} <= set(names)
    assert "halves" not in names
    assert "acme_good" not in sys.modules
    assert "acme" not in ok(mixzoo, "plugins", "--no-plugins")[0]


HOSTILE = [
    "canary",
    "canary/attack",
    "canary.attack",
    "canary:attack",
    "canary.py/attack",
    "os/system",
    "os.system",
    "../canary",
    "../canary/attack",
    "./canary.py",
    "__import__('canary')",
    "mixzoo_mixers.masks/Bernoulli",
]


@pytest.fixture
def canary(site):
    """A module that must never be imported, and the names of all that were while the test watches."""
    (site / "canary.py").write_text("raise SystemExit('imported')")
    (site / "canary_control.py").write_text("")
    watched = []
    on = [True]
    sys.addaudithook(lambda event, args: watched.append(args[0]) if on and event == "import" else None)
    import canary_control  # noqa: F401

    assert "canary_control" in watched  # the hook hears of imports
    yield watched
    on.clear()  # a hook cannot be taken away
    assert not [name for name in watched if name.partition(".")[0] == "canary"]
    assert "canary" not in sys.modules


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_file_names_registered_parts_and_causes_no_import(mixzoo, canary, tmp_path, name):
    for kind, noun in (("mixer", "mixer"), ("objective", "objective"), ("dataset", "data set")):
        (tmp_path / "run.toml").write_text(f"[{kind}]\nname = {json.dumps(name)}\n")
        code, _, err = mixzoo("train", "--config", "run.toml")
        assert code == 2
        assert f"unknown {noun}" in err
    (tmp_path / "run.toml").write_text(f"metrics = [{json.dumps(name)}]\n")
    assert mixzoo("train", "--config", "run.toml")[0] == 2
    assert not [module for module in canary if module == name]


def test_a_run_directory_causes_no_import(mixzoo, canary, site, tmp_path):
    """Every file that a resume reads names the canary; what names no registered part is refused or not looked at."""
    trained(mixzoo)
    home = stopped(tmp_path / "run")
    described = environment(home)
    hostile = {"kind": "mixer", "name": "canary", "distribution": "canary", "version": "1"}
    file = {**hostile, "file": str(site / "canary.py"), "sha256": "0"}
    for extra in (hostile, file):
        rows = [*described["parts"], extra]
        edited(home / "environment.json", parts=rows, plugins={"canary/c": "1"})
        assert mixzoo("resume", home)[0] == 4
    edited(home / "environment.json", parts=described["parts"], plugins={"canary/canary": "1"})
    for checkpoint in (home / "checkpoints").iterdir():
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        text = (site / "canary.py").read_bytes()
        (checkpoint / "canary.py").write_bytes(text)
        manifest["files"]["../canary.py"] = hashlib.sha256(text).hexdigest()
        (checkpoint / "manifest.json").write_text(json.dumps(manifest | {"mixer": "canary", "import": "canary"}))
    assert mixzoo("resume", home)[0] == 4
    assert mixzoo("interpolate", home)[0] == 4


ALIAS = """
from mixzoo import hookimpl


@hookimpl
def mixzoo_mixers():
    from mixzoo_mixers.weights import Mixup

    return {"another_name": Mixup}
"""


def test_a_run_is_bound_to_the_parts_that_it_names_and_to_no_other_offer_of_the_same_class(mixzoo, tmp_path):
    (tmp_path / "alias.py").write_text(ALIAS)
    trained(mixzoo, "--mixer", "one_of:a=mixup,b=slerp", "--plugin", "alias.py")
    assert {row["name"] for row in environment(tmp_path / "run")["parts"]} >= {"one_of", "mixup", "slerp"}
    assert "another_name" not in {row["name"] for row in environment(tmp_path / "run")["parts"]}
    stopped(tmp_path / "run")
    ok(mixzoo, "resume", "run")


def test_a_plugins_file_is_known_by_the_name_it_was_given(mixzoo, tmp_path):
    (tmp_path / "my real file.py").write_text(GOOD)
    (tmp_path / "linked.py").symlink_to(tmp_path / "my real file.py")
    out, _ = ok(mixzoo, "list", "mixers", "--plugin", "linked.py")
    assert "[linked.py/linked]" in out
