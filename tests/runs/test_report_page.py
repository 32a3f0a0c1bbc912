"""The page about runs: what is on it, that nothing hostile gets into it as markup, and that it asks for nothing."""

import base64
import hashlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from test_listing import made
from test_plot import evaluate, log, train

import chromium
import mixzoo as library
from mixzoo.core.errors import ConfigError
from mixzoo.registry.catalogue import Catalogue
from mixzoo.registry.config import resolve
from mixzoo.registry.descriptions import Description, PartText
from mixzoo.registry.registered import Plugin
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.listing import find_runs
from mixzoo.runs.report.explored import to_explore
from mixzoo.runs.report.explorer import Explorer
from mixzoo.runs.stored_scores import Score, write_score

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`{{7*7}}<!-- \u202etxt\x1b[31m"
FOUND = {"probe__test_accuracy_at_best_validation": 0.9, "reconstruction__l1": 0.1}
BETTER = {"probe.test_accuracy_at_best_validation": "more", "reconstruction.l1": "less"}


def report(*runs, **more):
    """The page without networks, unless `more` says otherwise."""
    return library.report(*runs, **{"explore": False, **more})


class Parsed(HTMLParser):
    """The tags, identifiers, texts, scripts and styles of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.text, self.inside, self.attributes = [], [], [], [], []
        self.blocks = {"script": [], "style": []}
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        self.inside.append(tag)
        if tag in self.blocks:
            self.blocks[tag].append((dict(attrs), ""))

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self.inside and self.inside[-1] in self.blocks:
            attributes, text = self.blocks[self.inside[-1]].pop()
            self.blocks[self.inside[-1]].append((attributes, text + data))
        else:
            self.text.append(data)

    def policy(self):
        (text,) = [value for tag, name, value in self.attributes if tag == "meta" and "default-src" in (value or "")]
        return text

    def data(self, name):
        (text,) = [text for attributes, text in self.blocks["script"] if attributes.get("id") == name]
        return json.loads(text)


def picture(run, step=400, size=(60, 40)):
    (run / "pictures").mkdir(exist_ok=True)
    Image.new("RGB", size, "teal").save(run / "pictures" / f"step-{step:08d}.png")


def environment(run, **more):
    record = {
        "python": "3.11.7", "platform": "Linux-6.1-secretkernel", "packages": {"mixzoo": "0.1.0", "torch": "2.14"},
        "parts": [], "device": "cpu", "device_name": "", "processes": 1, "places": ["alices-laptop cpu"], "threads": 2,
        "data": "MNIST under /home/alice/my data/raw, 28x28", "data_fingerprint": "abc", "seconds": 285.2,
        "command": ["train", "--data-root", "/home/alice/my data"], **more,
    }  # fmt: skip
    (run / "environment.json").write_text(json.dumps(record))


@pytest.fixture
def folder(tmp_path):
    for mixer, k in (("mixup", 2), ("dirichlet", 3)):
        for seed in (0, 1):
            scores = {name: value + seed / 100 + k / 10 for name, value in FOUND.items()}
            run = made(tmp_path / "sweep" / f"{mixer}-{seed}", mixer=mixer, k=k, seed=seed, better=BETTER, **scores)
            log(run, *(train(100 * i, i + seed) for i in (1, 2, 3)), evaluate(300, 0.5))
            environment(run)
            picture(run)
    return tmp_path / "sweep"


def test_the_page_has_the_runs_the_scores_the_curves_the_pictures_and_the_metrics(folder):
    page = Parsed(report(folder).html)
    text = " ".join(" ".join(page.text).split())
    assert {"runs", "scores", "curves", "pictures", "metrics", "details"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "mixer=dirichlet:k=3" in text
    assert "120.50 ± 0.71" in text  # per cent of 1.2 and 1.21
    assert "4 min 45 s" in text
    assert "Mean absolute (l1) and mean squared (l2) error" in text  # from the plugin: results.json has no definition
    curves = page.data("curves-data")
    assert curves["panels"][0]["title"] == "autoencoder: fool_mix"
    (real,) = [panel for panel in curves["panels"] if panel["title"] == "discriminator: real"]
    assert real["curves"][0]["mean"] == [1.5, 2.5, 3.5]
    images = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert len(images) == 4
    assert all(image.startswith("data:image/webp;base64,") for image in images)
    assert all(value for tag, name, value in page.attributes if (tag, name) == ("img", "alt"))


@pytest.mark.parametrize(
    ("ahead", "sentence"),
    [
        ({0: 0.91}, "With a single run of a configuration the difference may be chance; train several seeds."),
        ({0: 0.91, 1: 0.99, 2: 0.9}, "No other is lower with p < 0.05, so the difference may be chance."),
        ({0: 0.95, 1: 0.96, 2: 0.97}, "With p < 0.05, the other is lower."),
    ],
)
def test_the_page_says_whether_the_best_is_better_than_chance(tmp_path, ahead, sentence):
    for seed, accuracy in ahead.items():
        for mixer, value in (("mixup", 0.9 + seed / 1000), ("bernoulli", accuracy)):
            scores = {"probe__test_accuracy_at_best_validation": value}
            made(tmp_path / f"{mixer}-{seed}", mixer=mixer, seed=seed, better=BETTER, **scores)
    text = " ".join(" ".join(Parsed(report(tmp_path).html).text).split())
    assert "mixer=bernoulli has the highest test accuracy of the probe" in text
    assert sentence in text


def test_headings_are_in_order_and_tables_have_heads(folder):
    page = Parsed(report(folder).html)
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert ("html", "lang", "en") in page.attributes
    assert page.tags.count("table") == page.tags.count("thead")


def test_the_policy_allows_what_the_page_has_and_nothing_else(folder):
    page = Parsed(report(folder).html)
    code = [text for attributes, text in page.blocks["script"] if "type" not in attributes]
    own = {text: f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in code}
    (style,) = (text for _, text in page.blocks["style"])
    styled = f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"
    assert page.policy() == (
        f"default-src 'none'; script-src {' '.join(own.values())}; style-src {styled}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert not [v for _, name, v in page.attributes if name in ("src", "href") and not v.startswith(("#", "data:"))]
    assert "Leon Sorokin" in code[0]  # the licence of uPlot goes with it


def test_folders_machines_and_kernels_stay_out_of_the_page(folder):
    made_page = report(folder)
    for private in ("alice", "secretkernel", str(folder.parent)):
        assert private not in made_page.html
    assert "MNIST under FOLDER, 28x28" in made_page.html


def test_a_sweep_has_the_command_that_started_it_unless_it_was_python(folder):
    for words, shown in ((["train", "--seeds", "0,1"], True), ([], False)):
        sweep = {"format": 1, "version": "0", "command": words, "parallel": "", "members": []}
        (folder / "sweep.json").write_text(json.dumps(sweep))
        text = " ".join(" ".join(Parsed(report(folder).html).text).split())
        assert ("was started with:" in text) is shown


def test_the_command_trains_the_same_run_again(mixzoo, monkeypatch):
    flags = {"dataset": "digits", "mixer": "chain:a=(dirichlet:k=3),b=mixup", "autoencoder": "amr:depth=2"}
    numbers = {"steps": 7, "lr": 1e-4, "recompute": True, "deterministic": False}
    config = resolve(load_zoo(), None, flags, numbers, ["knn:images=50", "reconstruction"])
    made(Path("a b")).joinpath("run.toml").write_text(config.to_toml())
    command = re.search("mixzoo train .*?(?=Copy)", "".join(Parsed(report("a b").html).text))[0]
    again = []
    monkeypatch.setattr("mixzoo.runs.run.start", lambda zoo, config, *_: again.append(config) or sys.exit(0))
    mixzoo(*shlex.split(command)[1:])
    assert again[0].to_toml() == config.to_toml()


def test_parts_are_described_also_before_anything_is_cached(folder, monkeypatch):
    """As after an install, if a report is the first command."""
    monkeypatch.setattr("mixzoo.registry.catalogue.cached_catalogue", Catalogue)
    text = " ".join(Parsed(report(folder).html).text)
    assert "A convex combination of two codes" in text
    assert "mixup No description" not in " ".join(text.split())


def test_hostile_names_are_text(tmp_path, monkeypatch):
    plugin = Plugin("evil", distribution=EVIL, version=EVIL)
    described = Description("metric", "evil", plugin, PartText(EVIL, f"{EVIL}\n\n{EVIL}", (), {}))
    for read in ("cached_catalogue", "load_catalogue"):
        monkeypatch.setattr(f"mixzoo.registry.catalogue.{read}", lambda: Catalogue([plugin], [described]))
    run = made(tmp_path / EVIL.replace("/", "_"), better={}, evil__number=1.0)
    table = (
        run / "run.toml"
    ).read_text() + f'\n[dataset]\nname = {json.dumps(EVIL)}\n[autoencoder]\nname = "{"א" * 3}"\n'
    (run / "run.toml").write_text(table)
    write_score(run, Score("knn", 400, {EVIL: 0.5}, definition=EVIL, settings=EVIL, samples={EVIL: 3}, plugin=EVIL))
    environment(run, data=EVIL, packages={"torch": EVIL})
    log(run, {"kind": "train", "step": 1, f"autoencoder/{EVIL}": 1.0, "D(x)": float("nan")})
    html = report(run).html
    page = Parsed(html)
    template = (Path(library.__file__).parent / "runs/report/page.html.j2").read_text()
    assert set(page.tags) <= set(re.findall("<([a-z0-9]+)", template))
    assert "{{7*7}}" in " ".join(page.text)
    assert not [value for _, name, value in page.attributes if name == "src" and not value.startswith("data:")]
    assert len(page.blocks["script"]) == 3  # the data of the curves, uPlot, and the page's own
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "</script" not in json.dumps(page.data("curves-data")).replace(EVIL[:9], "")
    assert page.data("curves-data")["panels"][1]["curves"][0]["mean"] == [None]


def test_damaged_and_unfinished_runs_are_on_the_page_with_a_note(folder):
    (folder / "mixup-0" / "status.json").write_text("{")
    (folder / "mixup-1" / "status.json").write_text(
        json.dumps({"state": "interrupted", "exit": 75, "last_committed": 100, "reason": ""})
    )
    (folder / "dirichlet-0" / "pictures" / "step-00000400.png").write_bytes(b"no picture")
    (folder / "dirichlet-1" / "environment.json").write_text("[]")
    made_page = report(folder)
    text = " ".join(" ".join(Parsed(made_page.html).text).split())
    assert "mixup-0 : The status of this run cannot be read: mixup-0/status.json: cannot be read" in text
    assert "mixup-1 : This run is interrupted: it has taken 100 of 400 steps." in text
    assert "dirichlet-0 : its picture of step 400 cannot be read" in text
    assert "Its record of versions and machine cannot be read" in text
    assert len(made_page.notes) >= 3


def test_a_run_without_anything_yet_has_a_page(tmp_path):
    text = " ".join(Parsed(report(made(tmp_path / "new", state="running", step=0)).html).text)
    assert "no run has scores" in text
    assert "its metrics.jsonl has no line yet" in text
    assert "it has drawn no picture yet" in text
    with pytest.raises(ConfigError, match="there are no runs to report on"):
        report([])


def test_long_curves_are_thinned_and_large_pictures_shrunk(tmp_path):
    run = made(tmp_path / "run", probe__l1=1.0)
    log(run, *(train(i, float(i)) for i in range(1, 1202)))
    picture(run, size=(3000, 30))
    page = Parsed(report(run).html)
    steps = page.data("curves-data")["panels"][0]["curves"][0]["steps"]
    assert (len(steps), steps[0], steps[-1]) == (500, 1, 1201)
    assert ("img", "width", "1200") in page.attributes


def test_the_command_writes_a_file_and_loads_no_torch(folder, tmp_path):
    code = (
        "import sys; sys.argv[1:] = ['report', 'sweep', '-o', 'a.html', '--no-explorer']\n"
        "from mixzoo.cli.app import main\ntry: main()\nexcept SystemExit: print(*sys.modules)"
    )
    for _ in range(2):  # the first may have to describe the plugins
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.startswith("a.html\n")
    assert not {"torch", "matplotlib", "timm"} & set(done.stdout.split())
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")


def test_the_command_refuses_other_endings_and_finds_a_free_name(folder, mixzoo):
    code, _, err = mixzoo("report", folder, "-o", "a.pdf")
    assert (code, err) == (2, "mixzoo: a.pdf: a report is an HTML file; end the name in .html\n")
    assert mixzoo("report", folder, "--no-explorer")[1] == "report.html\n"
    assert mixzoo("report", folder, "--no-explorer", "--where", "mixer=mixup")[1] == "report-2.html\n"
    code, _, err = mixzoo("report", folder / "mixup-0", "--explore", folder / "mixup-1")
    assert (code, err) == (
        2, f"mixzoo: {folder / 'mixup-1'}: the page is not about this run; give it as one of its RUN..., too\n"
    )  # fmt: skip
    code, _, err = mixzoo("report", folder, "--explore", folder / "mixup-0", "--no-explorer")
    assert (code, err) == (2, "mixzoo: --no-explorer with --explore: give one of them\n")
    with pytest.raises(ConfigError, match=r"a report is an HTML file"):
        report(folder, out="x.txt")


def test_of_a_few_runs_all_are_explored_and_of_a_sweep_the_best_of_each_configuration(folder):
    records = find_runs([folder])
    assert [record.path.name for record in to_explore(records, True)] == ["dirichlet-1", "mixup-1"]
    assert to_explore(records[:3], True) == records[:3]
    assert to_explore(records, False) == []
    assert to_explore(records, [records[2].path]) == [records[2]]


def test_a_run_that_cannot_be_opened_is_not_explored_and_the_page_says_why(folder):
    html = report(folder / "mixup-0", explore=True).html
    assert "mixup-0 It cannot be tried here: " in " ".join(" ".join(Parsed(html).text).split())
    assert str(folder.parent) not in html


def test_an_explorer_has_its_place_its_scripts_and_its_data(folder, monkeypatch):
    data = {"kind": "atlas", "points": [], "images": {"labels": [EVIL]}}
    monkeypatch.setattr("mixzoo.runs.trained_run.load", lambda record, device: record)
    monkeypatch.setattr("mixzoo.runs.report.explorer.explorer_of", lambda run: Explorer(data, "drawn beforehand"))
    page = Parsed(report(folder, explore=folder / "mixup-1").html)
    assert page.data("explorer-1-data") == data
    assert ("section", "data-explorer", "explorer-1") in page.attributes
    assert page.policy().count("sha256") == 5  # uPlot, page.js, network.js, explorer.js, and the styles
    assert "mixup-1" in " ".join(page.text).partition("Mix images yourself")[2]
    monkeypatch.setattr("mixzoo.runs.report.explored.BUDGET", 100)
    text = " ".join(Parsed(report(folder, explore=folder).html).text)
    assert text.count("Left out, so that the page stays small") == 4


@pytest.mark.skipif(chromium.found() is None, reason="there is no Chromium here")
def test_a_browser_draws_the_page_and_asks_for_nothing(folder, tmp_path):
    run = folder / "mixup-0"
    (run / "run.toml").write_text((run / "run.toml").read_text().replace('"mixup"', json.dumps(EVIL)))
    write_score(run, Score("knn", 400, {"a": 0.5}, definition=EVIL, settings=EVIL))
    log(run, {"kind": "train", "step": 1, f"autoencoder/{EVIL}": 1.0, "D(x)": float("nan")}, train(2, 1.0))
    file = report(folder).save(tmp_path / "a.html")
    with chromium.Chromium() as browser:
        page = browser.open(file)
        page.look(width=390, dark=True)
        assert page.value("document.querySelectorAll('.u-wrap').length") >= 8
        assert page.value("document.documentElement.scrollWidth") == 390
        page.value("document.querySelector('.plot').focus()")
        page.value(
            "document.querySelector('.plot').dispatchEvent(new KeyboardEvent('keydown', {key: 'End', bubbles: true}))"
        )
        assert page.value("document.querySelectorAll('img[src=x]').length") == 0
        assert "step" in page.value("document.querySelector('.reading').textContent")
        page.value("document.getElementById('log-scale').click()")
        page.value("document.getElementById('theme').click()")
        assert page.value("document.documentElement.dataset.theme") == "light"
        assert (page.messages, page.requests) == ([], [])


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_and_lines_stand_out_in_light_and_dark():
    style = (Path(library.__file__).parent / "runs/report/page.css").read_text()
    for at in (1, 2):
        colours = {found[0]: found[at] for found in re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", style)}
        assert len(colours) == 15
        for text, ground in (
            ("ink", "paper"),
            ("soft", "paper"),
            ("soft", "panel"),
            ("link", "paper"),
            ("ink", "note"),
        ):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for line in "0123456":
            assert contrast(colours[line], colours["paper"]) >= 3, line


def test_every_file_of_the_page_is_package_data():
    root = Path(library.__file__).parent
    declared = tomllib.loads((root.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "mixzoo"
    ]
    packed = {path for pattern in declared for path in root.glob(pattern)}
    others = {p for p in (root / "runs/report").rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert len(others) >= 6
    assert others <= packed
