"""The explorer of a run: programs that draw as the network, mixers that mix as the run's, or an atlas."""

import base64
import json
from io import BytesIO

import numpy as np
import pytest
import torch
from markupsafe import Markup
from PIL import Image
from test_explorer_network import NETWORK_JS, in_node, needs_node

import chromium
from mixzoo import ConfigError, Run
from mixzoo.data.batches import to_images
from mixzoo.runs.report import explorer as explorers
from mixzoo.runs.report import page
from mixzoo.runs.report.explorer import Explorer, explorer_of
from mixzoo.runs.run import start
from toys import toy_config, toy_zoo

MIXES = """
const network = require(process.argv[1]);
const { data, cases } = JSON.parse(require("fs").readFileSync(0));
const weights = network.unpack(data.weights), bytes = network.bytesOf(data.images.bytes);
const size = data.image.reduce((a, b) => a * b, 1);
const image = (i) => Float32Array.from(bytes.subarray(i * size, (i + 1) * size), (x) => x / 127.5 - 1);
const code = (i) => network.run(data.encoder, weights, image(i));
process.stdout.write(JSON.stringify(cases.map(({ mixer, images, point }) => {
  const mixed = network.mix(data.mixers[mixer], images.map(code), point, data.latent);
  return { code: Array.from(mixed), image: Array.from(network.run(data.decoder, weights, mixed)) };
})));
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    zoo, folder = toy_zoo(), tmp_path_factory.mktemp("explored") / "run"
    net = "amr:depth=2,scales=1,latent=3,border=0"
    start(zoo, toy_config(zoo, flags={"mixer": "dropblock:block=1", "autoencoder": net}, steps=1), folder)
    return Run(folder, zoo=zoo)


@pytest.fixture(scope="module")
def live(run):
    return explorer_of(run, images=6)


def test_a_live_explorer_has_images_of_every_class_and_all_mixers(run, live):
    assert (live.data["kind"], live.note, live.hint) == ("live", "", "")
    assert live.data["images"]["labels"] == ["top", "middle", "bottom"] * 2
    pixels = torch.frombuffer(bytearray(base64.b64decode(live.data["images"]["bytes"])), dtype=torch.uint8)
    assert torch.equal(pixels.reshape(6, 1, 8, 8), run.data.test.images[:6])
    mixers = {mixer["name"]: (mixer["formula"], mixer["ks"]) for mixer in live.data["mixers"]}
    many = [2, 3, 4, 5]
    assert mixers == {
        "dropblock (the run's)": ("pick", many),
        "channel, dirichlet, mixup, spatial": ("weigh", many),
        "slerp": ("arc", [2]),
        **dict.fromkeys(("bernoulli", "cutmix", "dropblock", "fmix", "grid"), ("pick", many)),
    }
    assert live.data["error"] <= explorers.GREY_LEVEL
    assert not set(live.json) & set("<>&")
    assert json.loads(live.json) == live.data


@needs_node
def test_the_page_mixes_as_the_run_does(run, live):
    """Every mixer of the page, with 2 to 5 images: codes and pictures at 20 points are those of Run.mix(at=...)."""
    rng, cases, expected = np.random.default_rng(0), [], []
    x = to_images(run.data.test.images[:6])
    for number, mixer in enumerate(live.data["mixers"]):
        spec = "dropblock:block=1" if number == 0 else mixer["name"].split(", ")[0]
        for i in range(20):
            k = mixer["ks"][i % len(mixer["ks"])]
            point = np.eye(k)[0] if i == 0 else rng.dirichlet(np.ones(k)).astype(np.float32).astype(float)
            images = rng.permutation(6)[:k].tolist()
            spec_of_k = spec if spec == "slerp" else f"{spec}{',' if ':' in spec else ':'}k={k}"
            mixed = run.mix(x[images], spec_of_k, at=point.tolist(), value_range=(-1, 1))
            cases.append({"mixer": number, "images": images, "point": point.tolist()})
            expected.append(mixed)
    assert len(cases) == 20 * len(live.data["mixers"])
    found = in_node({"data": live.data, "cases": cases}, MIXES)
    for case, one, want in zip(cases, found, expected, strict=True):
        code = torch.tensor(one["code"]).reshape(want.codes.shape)
        torch.testing.assert_close(
            code, want.codes, rtol=5e-3, atol=5e-3, msg=lambda text, case=case: f"{case}: {text}"
        )
        image = torch.tensor(one["image"]).reshape(want.images.shape)
        assert float((image - want.images).abs().max()) < 2 * explorers.GREY_LEVEL, case


def test_a_network_that_the_page_cannot_run_gets_an_atlas(run, live, monkeypatch):
    def gelu(self, x):
        return torch.nn.functional.gelu(self.f(x))

    monkeypatch.setattr(type(run.autoencoder), "encode", gelu)
    made = explorer_of(run, images=6)
    assert made.data["kind"] == "atlas"
    assert made.note == "These pictures were drawn beforehand, as the network computes gelu, which a page cannot."
    assert [triple["images"] for triple in made.data["triples"]] == [[0, 1, 2], [3, 4, 5]]
    assert len(made.data["points"]) == 45
    _, _, sprite = made.data["triples"][0]["sprite"].partition("data:image/webp;base64,")
    tiles = np.asarray(Image.open(BytesIO(base64.b64decode(sprite))).convert("L")).astype(float)
    mixed = run.mix(to_images(run.data.test.images[:3]), "dirichlet", at=made.data["points"][10], value_range=(-1, 1))
    tile = tiles[8:16, 8:16]  # the eleventh, of nine in a row
    assert abs(tile - (mixed.images[0, 0].clamp(-1, 1).numpy() + 1) * 127.5).mean() < 6


def test_too_many_weights_make_an_atlas_and_numbers_that_float16_changes_are_float32(run, live, monkeypatch):
    count = len(live.data["weights"]["numbers"])
    monkeypatch.setattr(explorers, "GREY_LEVEL", 1e-5)
    assert explorer_of(run, images=3).data["weights"]["dtype"] == "<f4"
    monkeypatch.setattr(explorers, "MOST_CHARACTERS", count)
    too_large = explorer_of(run, images=3)
    assert too_large.data["kind"] == "atlas"
    assert "weights, and a page carries at most" in too_large.note


def test_data_that_are_no_pictures_have_nothing_to_explore(run, monkeypatch):
    monkeypatch.setattr(type(run.data.test), "read", lambda self, index: self.images[index] / 255)
    assert explorer_of(run) == Explorer({}, "there is nothing to explore, as the run's data are no pictures")


@pytest.mark.parametrize("images", [2, 65, True])
def test_a_wrong_number_of_images_is_refused(run, images):
    with pytest.raises(ConfigError, match=r"images=.* must be a number from 3 to 64"):
        explorer_of(run, images=images)


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy(styles, scripts) }}"><link rel="icon" href="data:,">
<style>{{ styles }}</style></head><body>{% from "explorer.html.j2" import explorer %}{{ explorer("one", made, title) }}
{% for script in scripts %}<script>{{ script }}</script>{% endfor %}</body></html>"""


def page_of(made, title="a run"):
    styles, *scripts = (Markup(page._asset(name)) for name in ("explorer.css", "network.js", "explorer.js"))
    template = page._environment().from_string(PAGE)
    return template.render(made=made, title=title, styles=styles, scripts=scripts, policy=page.policy)


def test_hostile_names_are_escaped():
    evil = "</script><script>alert(1)</script>\"'<img src=x>"
    data = {"kind": "atlas", "points": [], "images": {"labels": [evil]}}
    html = page_of(Explorer(data, evil, evil), evil)
    assert html.count("<script>") == 2  # network.js and explorer.js
    assert "<img" not in html
    text = html.partition('id="one-data">')[2].partition("</script>")[0]
    assert json.loads(text) == data


def eventually(shown, expression):
    """Whether the expression is true when two more frames are drawn."""
    shown.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return shown.value(expression)


PICTURE = "document.querySelector('.explore-mixed').toDataURL()"
WEIGHTS = "document.querySelector('.explore-weights').textContent"
needs_chromium = pytest.mark.skipif(chromium.found() is None, reason="there is no Chromium here")


def box(shown, selector):
    """Left, top, width and height of an element in the window."""
    found = f"document.querySelector({selector!r})"
    shown.value(f"{found}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    return shown.value(f"(r => [r.x, r.y, r.width, r.height])({found}.getBoundingClientRect())")


def drag(shown, selector, *points):
    """Drag over points in parts of the element's width and height."""
    x, y, width, height = box(shown, selector)
    shown.drag(*((x + across * width, y + down * height) for across, down in points))


def choose(shown, selector, value):
    found = f"document.querySelector({selector!r})"
    shown.value(f"{found}.value = {value!r}; {found}.dispatchEvent(new Event('change'))")


@needs_chromium
def test_the_point_is_dragged_and_the_picture_follows(live, tmp_path):
    """By mouse and by keys, with every mixer, two to five images and a drawing: nothing is logged or asked for."""
    file = tmp_path / "page.html"
    file.write_text(page_of(live))
    with chromium.Chromium() as browser:
        shown = browser.open(file)
        choose(shown, ".explore-mixer", "1")  # weighs
        before = eventually(shown, PICTURE)
        drag(shown, ".explore-simplex", (0.5, 0.6), (0.5, 0.5), (0.48, 0.4))
        assert eventually(shown, PICTURE) != before
        first, *others = [int(line.split(": ")[1].split()[0]) for line in shown.value(WEIGHTS).split("\n")]
        assert first > 50 > max(others)
        before = shown.value(PICTURE)
        for key in ("ArrowDown", "ArrowLeft"):
            shown.call("Input.dispatchKeyEvent", type="keyDown", key=key, modifiers=8)
        assert eventually(shown, PICTURE) != before
        shown.call("Input.dispatchKeyEvent", type="keyDown", key="2")
        assert eventually(shown, WEIGHTS).split("\n") == ["A (top): 0 %", "B (middle): 100 %", "C (bottom): 0 %"]

        for k in (2, 3, 4, 5):
            choose(shown, ".explore-count", str(k))
            assert eventually(shown, WEIGHTS).count("%") >= k
            for value in shown.value("[...document.querySelector('.explore-mixer').options].map(o => o.value)"):
                choose(shown, ".explore-mixer", value)
                assert eventually(shown, "document.querySelector('.explore-speed').textContent").endswith(" ms")

        shown.value("document.querySelector('details').open = true")
        before = eventually(shown, PICTURE)
        drag(shown, ".explore-pad", (0.3, 0.3), (0.7, 0.3), (0.7, 0.7))
        assert "(drawing)" in eventually(shown, WEIGHTS)
        assert shown.value(PICTURE) != before
        for button in (
            ".explore-copy",
            ".explore-clear",
            ".explore-palette button",
            ".explore-slots button:last-child",
        ):
            eventually(shown, f"document.querySelector({button!r}).click()")
        assert "(drawing)" not in eventually(shown, WEIGHTS)
        assert (shown.messages, shown.requests) == ([], [])


@needs_chromium
def test_an_atlas_shows_the_nearest_of_its_pictures(run, monkeypatch, tmp_path):
    monkeypatch.setattr(explorers, "MOST_CHARACTERS", 8)
    file = tmp_path / "page.html"
    file.write_text(page_of(explorer_of(run, images=6)))
    with chromium.Chromium() as browser:
        shown = browser.open(file)
        before = eventually(shown, PICTURE)
        drag(shown, ".explore-simplex", (0.5, 0.6), (0.5, 0.2))
        assert eventually(shown, PICTURE) != before
        choose(shown, ".explore-triple", "1")
        shown.value("new Promise(done => setTimeout(done, 100))")
        assert shown.value("document.querySelector('.explore-speed').textContent") == "drawn beforehand"
        assert (shown.messages, shown.requests) == ([], [])


@needs_node
def test_weights_are_where_the_point_is():
    """They are at least 0, sum to 1, and are those whose mean of the corners is the point; outside, of the edge."""
    script = """
    const { cornersOf, place } = require(process.argv[1].replace("network.js", "explorer.js"));
    const cases = JSON.parse(require("fs").readFileSync(0));
    console.log(JSON.stringify(cases.map(([k, x, y]) => ({ corners: cornersOf(k), ...place(cornersOf(k), [x, y]) }))));
    """
    rng = np.random.default_rng(0)
    cases = [[k, *rng.uniform(0, 320, 2)] for k in (2, 3, 4, 5) for _ in range(50)] + [[3, 160, 64], [5, 160, 160]]
    for (k, *wanted), found in zip(cases, in_node(cases, script), strict=True):
        weights = np.array(found["weights"])
        assert len(weights) == k
        assert weights.min() >= 0
        assert abs(weights.sum() - 1) < 1e-9
        np.testing.assert_allclose(weights @ np.array(found["corners"]), found["at"], atol=1e-6)
        nearest = np.hypot(*(np.array(found["at"]) - wanted))
        assert nearest < 1e-6 or (weights < 1e-9).sum() >= k - 2


def test_the_scripts_need_nothing_that_a_strict_policy_refuses():
    text = NETWORK_JS.read_text() + NETWORK_JS.with_name("explorer.js").read_text()
    assert not any(
        word in text for word in ("eval(", "new Function", "fetch(", "Worker(", "import(", ".innerHTML", ".style")
    )
