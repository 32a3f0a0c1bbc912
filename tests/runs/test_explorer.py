"""The explorer of a run: programs that draw as the network, mixers that mix as the run's, or an atlas."""

import base64
import json
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from test_explorer_network import NETWORK_JS, in_node, needs_node

from mixzoo import ConfigError, Run
from mixzoo.data.batches import to_images
from mixzoo.runs.report import explorer as explorers
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
        "dropblock, as in the run": ("pick", many),
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
    assert made.note == "These pictures were drawn beforehand: a function in it computes gelu."
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


def test_network_js_needs_nothing_that_a_strict_policy_refuses():
    text = NETWORK_JS.read_text()
    assert not any(word in text for word in ("eval(", "new Function", "fetch(", "Worker(", "import("))
