"""mixzoo figure: which runs and images are drawn, what is said of those that are not, and what the files hold."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from test_docs import blocks

import mixzoo as api
from mixzoo import ConfigError, DataError, Drawing, PluginError
from mixzoo.registry.zoo import RegisteredPart
from mixzoo.runs.chosen_images import images_from
from mixzoo.runs.drawing import draw
from mixzoo.runs.drawing import labels as labels_of
from mixzoo.runs.listing import find_runs
from mixzoo.runs.run import start
from mixzoo_figures.consistency import _name
from toys import TOY_PLUGIN, toy_config, toy_zoo

DOCS = Path(__file__).parents[2] / "docs"
ZOO = toy_zoo()
PARTS = {
    "k2": {"mixer": "mixup"},
    "k3": {"mixer": "dirichlet:k=3"},
    "beta": {"mixer": "mixup", "objective": "amr:beta=5"},
    "labels": {"dataset": "toy_tagged", "mixer": "label", "objective": "amr_supervised"},
    "vectors": {"autoencoder": "mlp:latent=4,hidden=8"},
    "points": {"dataset": "spiral:points=60", "autoencoder": "mlp:latent=2,hidden=8", "discriminator": "mlp:hidden=8"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    for name, flags in PARTS.items():
        config = toy_config(ZOO, flags=flags, steps=2, evaluate_every=2, checkpoint_every=2, batch_images=4)
        start(ZOO, config, folder / name)
    return folder


@pytest.fixture
def figure(home):
    def made(kind, *runs, images=None, zoo=ZOO, **more):
        return draw(zoo, kind, find_runs([home / run for run in runs]), images, device="cpu", **more)

    return made


KINDS = {
    "strips": ("k2", "k3"), "bernoulli": ("k2", "k3"), "bernoulli:by=position": ("k2",), "mixers": ("k3",),
    "triangle": ("k3",), "triangle:mixer=(dirichlet:k=3)": ("k2", "k3"), "regions": ("k2",),
    "regions:mixer=cutmix": ("k2",),
    "consistency": ("k2", "beta"), "spiral:mixes=20": ("points",), "codes:images=40": ("k2", "k3"),
    "codes:images=40,method=tsne": ("vectors",), "morph:images=3,steps=2": ("k2", "k3"),
}  # fmt: skip


@pytest.mark.parametrize("spec", KINDS)
def test_every_kind_is_drawn_and_is_the_same_again(figure, tmp_path, spec):
    once, again = figure(spec, *KINDS[spec]), figure(spec, *KINDS[spec])
    file = once.save(tmp_path / f"once{once.endings[0]}")
    assert file.read_bytes() == again.save(tmp_path / f"again{once.endings[0]}").read_bytes()
    with Image.open(file) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 1
    assert isinstance(once, Drawing)
    assert once._repr_png_().startswith(b"\x89PNG")


def test_a_strip_has_the_pixels_and_a_row_for_each_run_between_the_images_named(figure, home):
    both = figure("strips:steps=3", "k2", "k3", images=[0, 1, 2])
    cell, heading = 66, 20
    assert both.picture.height == 12 + 2 * (heading + 3 * cell)  # 0 to 1, then 1 to 2: pixels and two runs each
    assert figure("strips:steps=3,pairs=1", "k2", "k3").picture.height == 12 + heading + 3 * cell
    assert figure("strips:steps=3,pixels=false", "k2", images=[0, 1], scale=2).picture.height == 12 + heading + 18
    stored = toy_config(ZOO).parts["dataset"].load(0).test.images[5, 0].numpy()
    first = figure("strips:steps=3", "k2", images=[5, 1], scale=1).picture
    left = 12 + int(ImageFont.load_default(13).getlength("mixup"))
    shown = np.asarray(first.convert("L"))[6 + heading : 14 + heading, left : left + 8]
    assert (shown == stored).all()


def test_images_may_be_an_array_of_numbers_or_a_batch_of_pictures(figure):
    named = figure("strips", "k2", images=[5, 1]).picture
    for numbers in (np.array([5, 1]), torch.tensor([5, 1]), (np.int64(5), 1)):
        assert figure("strips", "k2", images=numbers).picture.tobytes() == named.tobytes()
    batch = np.zeros((3, 8, 8, 1), np.uint8)
    assert figure("strips:steps=2", "k2", images=batch).picture.height == 12 + 2 * (20 + 2 * 66)


def test_rows_of_a_figure_over_beta_say_what_else_sets_the_runs_apart():
    assert _name(50.0, "beta 50, seed 1", several=True) == "beta = 50, seed 1"
    assert _name(0.0, "cutmix:k=3", several=True) == "beta = 0, cutmix:k=3"
    assert _name(0.5, "a run", several=False) == "beta = 0.5"


def test_another_seed_shows_other_images(figure):
    first, again, other = (figure("strips:pairs=1", "k2", seed=seed).picture.tobytes() for seed in (0, 0, 1))
    assert first == again != other


def test_labels_are_marked_under_the_images_of_a_mixer_that_aims_at_them(figure):
    colours = {rgb for _, rgb in figure("strips:pairs=1", "labels").picture.getcolors(1 << 20)}
    assert {(0, 158, 115), (213, 94, 0)} <= colours
    with pytest.raises(ConfigError, match=r"labels: its mixer mixes by labels, which pictures of your own lack"):
        figure("strips", "labels", images=[np.zeros((8, 8), np.uint8)] * 2)
    assert figure("strips:mixer=mixup", "labels", images=[np.zeros((8, 8), np.uint8)] * 2).notes == ()


def test_a_label_says_in_words_what_sets_a_run_apart(home):
    assert labels_of(find_runs([home / "k2", home / "k3"])) == ["mixup", "dirichlet:k=3"]
    assert labels_of(find_runs([home / "beta", home / "k2"])) == ["beta 5", "beta 0"]
    assert labels_of(find_runs([home / "k3"])) == ["dirichlet:k=3"]


def test_runs_that_do_not_fit_are_left_out_with_a_note(figure, home):
    notes = figure("triangle", "k3", "k2", "points").notes
    assert len(notes) == 2
    assert notes[0].startswith(
        f"left out: {home / 'k2'}: its mixer takes 2 sources, and a triangle has three; name one"
    )
    assert re.search(r"points: its data are not those of .*; draw runs on the same data in one figure", notes[1])


REFUSED = {
    "triangle": ("k2", "its mixer takes 2 sources, and a triangle has three"),
    "regions": ("vectors", r"its codes are vectors \(4,\), which have no regions"),
    "regions:mixer=mixup": ("k2", "mixer 'mixup' does not choose by position; try cutmix, fmix or grid"),
    "bernoulli:by=position": ("vectors", r"its codes are vectors \(4,\), which have no positions; leave by=feature"),
    "strips:mixer=cutmix": ("vectors", r"mixer 'cutmix' mixes positions of a map, and its codes are vectors \(4,\)"),
    "strips:mixer=network": ("k2", "mixer 'network' is a learned one, and the run trained only its own"),
    "strips": ("points", "its data are points, not images; `mixzoo figure spiral` draws them"),
    "spiral": ("k2", r"its data are images \(1, 8, 8\), not points; `mixzoo figure strips` draws them"),
    "codes:attribute=hat": ("labels", r"attribute='hat' is none of its data's \(upper, lower\)"),
    "strips:steps=1": ("k2", "steps=1 must be|steps='1' must be an integer >= 2"),
    "codes:method=umap": ("k2", "needs the package umap-learn: pip install umap-learn"),
    "strips:pairs=20": ("points", "its data are points"),
    "bernoulli:pairs=20": ("beta", ""),
    "stripes": ("k2", "unknown figure 'stripes' .*Did you mean 'strips'"),
}


@pytest.mark.parametrize("spec", [spec for spec, (_, message) in REFUSED.items() if message])
def test_what_cannot_be_drawn_is_one_line(figure, spec, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    run, message = REFUSED[spec]
    with pytest.raises(ConfigError, match=message) as raised:
        figure(spec, run)
    assert "\n" not in str(raised.value)


def test_images_and_numbers_that_are_not_allowed_are_one_line(figure, home):
    for images, message in (
        ([48], r"--images 48: test images are numbered 0 to 47"),
        ([1], "one image; a path goes from one to the next"),
        ([], "0 images; give 1 to 100"),
        (["x"], "x: No such file"),
        ([1, "x"], "images= has numbers of test images and pictures; give either"),
        ([True], "True is not an image"),
        (np.array([0.5, 1]), "0.5 is not an image"),
    ):
        with pytest.raises((ConfigError, DataError), match=message):
            figure("strips", "k2", images=images)
    with pytest.raises(ConfigError, match="2 images; a triangle is between three"):
        figure("triangle", "k3", images=[1, 2])
    with pytest.raises(ConfigError, match="2 images; the path goes through three"):
        figure("mixers", "k3", images=[1, 2])
    with pytest.raises(ConfigError, match="scale=0 must be an integer from 1 to 64"):
        figure("strips", "k2", scale=0)
    with pytest.raises(ConfigError, match="seed=-1 must be an integer >= 0"):
        figure("strips", "k2", seed=-1)
    with pytest.raises(ConfigError, match=r"the figure would have \d+ pixels, at most 50000000; give a"):
        figure("strips:steps=100", "k2", scale=64)
    with pytest.raises(ConfigError, match="there are no runs to draw"):
        draw(ZOO, "strips", [])
    with pytest.raises(ConfigError, match=r"25 runs; a figure has 24 at most\. Choose some with --where"):
        draw(ZOO, "strips", find_runs([home / "k2"]) * 25)


def test_a_run_without_a_checkpoint_is_left_out_or_the_error(figure, home, tmp_path):
    (tmp_path / "run.toml").write_text((home / "k2" / "run.toml").read_text())
    with pytest.raises(api.CheckpointError, match="no checkpoint yet"):
        figure("strips", tmp_path)
    assert "no checkpoint yet" in figure("strips", "k2", tmp_path).notes[0]


def test_the_value_of_images_is_numbers_or_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.jpg", "c,d.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    assert images_from("3, 17,42") == [3, 17, 42]
    assert images_from("b.png,a.jpg") == [Path("b.png"), Path("a.jpg")]
    assert images_from("c,d.png") == [Path("c,d.png")]
    assert images_from(".") == [Path("a.jpg"), Path("b.png"), Path("c,d.png")]
    with pytest.raises(
        ConfigError, match=r"--images 3,x\.png: 'x\.png' is neither the number of a test image nor a file"
    ):
        images_from("3,x.png")
    with pytest.raises(DataError, match="--images empty: the folder has no pictures"):
        images_from("empty")


def test_the_ending_chooses_the_format_and_a_wrong_one_is_refused(figure, tmp_path):
    still, moving = figure("strips:pairs=1", "k2"), figure("morph:images=2,steps=2", "k2")
    begins = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".webp": b"RIFF"}
    for ending, magic in begins.items():
        assert still.save(tmp_path / f"a{ending}").read_bytes().startswith(magic)
        assert figure("codes:images=20", "k2").save(tmp_path / f"b{ending}").read_bytes().startswith(magic)
    for ending in (".gif", ".webp"):
        with Image.open(moving.save(tmp_path / f"c{ending}")) as picture:
            assert (picture.n_frames, picture.info["loop"]) == (4, 0)
    with pytest.raises(ConfigError, match=r"x\.gif: this figure does not move; end the name in \.pdf, \.png"):
        still.save(tmp_path / "x.gif")
    with pytest.raises(ConfigError, match=r"x\.png: this figure moves; end the name in \.gif, \.webp"):
        moving.save(tmp_path / "x.png")


def test_a_picture_in_an_svg_is_the_same_pixel_for_pixel(figure, tmp_path):
    from base64 import b64decode
    from io import BytesIO

    made = figure("strips:pairs=1", "k2")
    text = made.save(tmp_path / "a.svg").read_text()
    (inside,) = re.findall(r"data:image/png;base64,([^\"]+)", text)
    with Image.open(BytesIO(b64decode(inside))) as picture:
        found = np.asarray(picture.convert("RGB"))
    assert np.array_equal(found, np.asarray(made.picture)) or np.array_equal(found[::-1], np.asarray(made.picture))


def test_the_command_draws_names_and_never_overwrites_by_itself(mixzoo, home, monkeypatch, tmp_path):
    (tmp_path / "runs").symlink_to(home)
    Image.new("L", (30, 20), 200).save(tmp_path / "my.png")
    code, out, err = mixzoo("figure", "strips", "runs/k2", "runs/k3", "--images", "3,17")
    assert (code, out, err) == (0, "strips.png\n", "")
    assert mixzoo("figure", "strips", "runs/k2", "runs/k3", "--images", "my.png,my.png")[1] == "strips-2.png\n"
    code, out, err = mixzoo("figure", "triangle", "runs", "--where", "dataset=toy_data", "--out", "t.webp")
    assert (code, out) == (0, "t.webp\n")
    assert err.count("mixzoo: left out: ") == 3
    assert "runs/k2: its mixer takes 2 sources" in err
    for arguments, message in (
        (["strips", "runs/k2", "--out", "a.jpg"], "a.jpg: end the name of a figure in .gif, .pdf, .png, .svg, .webp"),
        (["strips", "runs/k2", "--out", "a.gif"], "a.gif: this figure does not move"),
        (["strips", "runs/k2", "--scale", "x"], "--scale: scale='x' must be an integer >= 1"),
        (["strips", "nothing"], "nothing: no such folder"),
        (["strips", "runs/k2", "--where", "mixer=slerp"], "none of the 1 runs has mixer=slerp"),
    ):
        code, out, err = mixzoo("figure", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err
    assert not (tmp_path / "a.gif").exists()


def test_every_figure_of_the_paper_is_the_command_of_the_page(mixzoo, home, tmp_path):
    (tmp_path / "runs").symlink_to(home)
    page = (DOCS / "figures.md").read_text()
    (block,) = [block for block in blocks(page, "sh") if "figure13" in block]
    like = {"label": "labels", "spiral": "points", "mixup3": "k3", "acai": "beta", "beta50": "beta"}
    for line in block.strip().splitlines():
        arguments = shlex.split(line, comments=True)[1:]
        for i, part in enumerate(arguments):
            if part.startswith("runs/"):
                arguments[i] = f"runs/{like.get(re.split('[_/]', part)[-1], 'k2')}"
        code, _, err = mixzoo(*arguments)
        assert code == 0, err
        assert (tmp_path / arguments[-1]).read_bytes()
        assert "left out" not in err


def test_the_pictures_of_the_page_are_there_and_small():
    paths = re.findall(r"!\[.*?\]\((.*?)\)", (DOCS / "figures.md").read_text())
    sizes = [(DOCS / path).stat().st_size for path in paths]
    assert len(sizes) >= 9
    assert max(sizes) < 150_000
    assert sum(sizes) < 1_000_000


def test_the_figure_of_the_page_is_ten_lines_and_draws(mixzoo, home, tmp_path):
    (code,) = (block for block in blocks((DOCS / "write_a_figure.md").read_text(), "python") if "Errors" in block)
    (body,) = re.findall(r"    def __call__.*?(?=\n\n\n@)", code, re.DOTALL)
    assert len(body.splitlines()) <= 10
    (tmp_path / "errors.py").write_text(code)
    assert mixzoo("figure", "errors", home / "k2", "--plugin", "errors.py", "--out", "e.png") == (0, "e.png\n", "")
    code, out, _ = mixzoo("check", "errors", "--plugin", "errors.py", "--effort", "low")
    assert code == 0, out


def test_from_python_it_is_the_same_figure(figure, home, monkeypatch):
    monkeypatch.setattr("mixzoo.runs.api.load_zoo", toy_zoo)
    run = find_runs([home / "k2"])[0]
    made = api.figure("strips:pairs=1", home / "k2", [run], where="mixer=mixup", device="cpu")
    assert made.picture.size[1] > figure("strips:pairs=1", "k2").picture.size[1]


def test_a_figure_that_breaks_its_contract_is_named(figure):
    class Silent:
        def __call__(self, runs, request):
            return None

    class Failing:
        def __call__(self, runs, request):
            raise KeyError("x")

    from dataclasses import dataclass

    zoo = toy_zoo()
    for cls, name in ((Silent, "silent"), (Failing, "failing")):
        zoo.registered.append(RegisteredPart("figure", name, TOY_PLUGIN, dataclass(frozen=True)(cls)))
    with pytest.raises(
        PluginError, match=r"figure 'silent' \(.*\): it returned None; expected __call__\(runs, request\)"
    ):
        figure("silent", "k2", zoo=zoo)
    with pytest.raises(PluginError, match=r"figure 'failing' \(.*\): __call__ raised KeyError"):
        figure("failing", "k2", zoo=zoo)


def test_the_masks_of_a_path_take_more_and_more_from_the_second_image():
    from mixzoo_figures.bernoulli import masks

    for by, shape in (("feature", (8, 1, 1)), ("position", (1, 4, 4))):
        taken = masks((8, 4, 4), by, 5, 0, 0)
        assert taken.shape == (5, *shape)
        counts = taken.flatten(1).sum(1).tolist()
        assert (counts[0], counts[-1]) == (0, taken[0].numel())
        assert (taken[1:] | ~taken[:-1]).all()  # what has changed stays changed
        assert not torch.equal(taken, masks((8, 4, 4), by, 5, 0, 1))
