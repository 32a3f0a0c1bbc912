"""Pictures show the right images in the right positions, the same ones every time."""

import pytest
import torch

from mixzoo import BuildContext, Split
from mixzoo.core.errors import StorageError
from mixzoo.evaluation.pictures import grid, mixer_sheet
from mixzoo.evaluation.pictures.conditioned import aims_at_labels, conditioned_strips, pairs_with_different_labels
from mixzoo.evaluation.pictures.grid import Row, save_png, sheet, to_pixels
from mixzoo.evaluation.pictures.interpolation import strips, triangle
from mixzoo.evaluation.pictures.mixes import fixed_examples, mix_rows, points
from mixzoo.registry.building import build_part
from mixzoo.registry.zoo import load_zoo
from toys import ToyAutoEncoder, ToyData, ToyTagged, ToyUnlabelled

ZOO = load_zoo()
DATA = ToyData().load(0)


class Identity(torch.nn.Module):
    """Codes are the images themselves, so decoded mixes can be worked out by hand."""

    latent_shape = (1, 8, 8)

    def encode(self, x):
        return x

    def decode(self, h):
        return h


def test_pixels_are_clipped_and_grey_is_equal_rgb():
    pixels = to_pixels(torch.tensor([-3.0, -1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 1, 5))
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert torch.equal(pixels[..., 0], pixels[..., 2])


def test_a_sheet_has_a_row_per_label_and_sharp_square_pixels():
    black, white = torch.full((2, 1, 8, 8), -1.0), torch.full((2, 1, 8, 8), 1.0)
    paper = sheet([Row("a", black), Row("a much longer label", white)])
    right, bottom = paper.width - 7 - 2, paper.height - 7 - 2  # inside the last image
    assert paper.getpixel((right, bottom)) == (255, 255, 255)
    assert paper.getpixel((right, bottom - 66)) == (0, 0, 0)
    colours = {colour for _, colour in paper.crop((paper.width - 140, 0, paper.width, paper.height)).getcolors()}
    assert colours == {(0, 0, 0), (255, 255, 255)}


def test_the_fixed_examples_are_the_first_of_each_class_in_turn():
    labels = torch.tensor([2, 2, 0, 1, 0, 2, 1])
    split = Split(torch.zeros(7, 1, 8, 8, dtype=torch.uint8), labels)
    assert fixed_examples(split, 5).tolist() == [2, 3, 0, 4, 6]
    assert fixed_examples(split, 99).tolist() == [2, 3, 0, 4, 6, 1, 5]


@pytest.mark.parametrize("spec", ["mixup", "dirichlet:k=4", "bernoulli:k=3", "channel:k=6"])
def test_the_rows_are_input_reconstruction_partners_and_mixes(spec):
    mixer = ZOO.recipe("mixer", spec)
    rows = {row.label: row.images for row in mix_rows(Identity(), mixer, DATA.test, "cpu")}
    assert list(rows)[:3] == ["input", "reconstruction", "partner" if mixer.k == 2 else "partner 1"]
    x = rows["input"]
    torch.testing.assert_close(rows["reconstruction"], x)
    torch.testing.assert_close(rows[list(rows)[2]], x.roll(-1, 0))
    if not spec.startswith("bernoulli"):
        torch.testing.assert_close(rows["mix, 0.75 : 0.25"], 0.75 * x + 0.25 * x.roll(-1, 0))
    again = {row.label: row.images for row in mix_rows(Identity(), mixer, DATA.test, "cpu")}
    assert all(torch.equal(rows[label], again[label]) for label in rows)


def test_the_points_shown_lie_on_the_simplex():
    for k in (2, 3, 8):
        assert all(point.sum().item() == pytest.approx(1) and len(point) == k for point in points(k))
    assert points(3)[-1].tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("spec", ["mixup", "dirichlet:k=5", "bernoulli:k=3"])
def test_a_strip_leads_from_one_image_to_the_other(spec):
    mixer = ZOO.recipe("mixer", spec)
    for row in strips(Identity(), mixer, DATA.test, pairs=3, steps=5, device="cpu"):
        assert len(row.images) == 7
        torch.testing.assert_close(row.images[1], row.images[0])
        torch.testing.assert_close(row.images[-2], row.images[-1])
        if spec != "bernoulli:k=3":
            torch.testing.assert_close(row.images[3], (row.images[0] + row.images[-1]) / 2)


def test_a_triangle_has_the_three_images_at_its_corners():
    mixer = ZOO.recipe("mixer", "dirichlet:k=3")
    side, cell = 4, 64 + 2
    paper = triangle(Identity(), mixer, DATA.test, side=side, device="cpu")
    shown = fixed_examples(DATA.test, 3)
    corners = [(6 + int(1.5 * cell), 6), (6, 6 + 3 * cell), (6 + 3 * cell, 6 + 3 * cell)]
    for number, (left, top) in zip(shown.tolist(), corners):
        stored = DATA.test.images[number, 0]
        for i, j in ((0, 0), (3, 4), (7, 7)):
            grey = paper.getpixel((left + 8 * j + 4, top + 8 * i + 4))[0]
            assert abs(grey - int(stored[i, j])) <= 1


def test_a_triangle_of_two_sources_is_refused():
    with pytest.raises(ValueError, match="a triangle needs a mixer of three sources, but this one mixes 2"):
        triangle(Identity(), ZOO.recipe("mixer", "mixup"), DATA.test, side=3, device="cpu")


def test_a_picture_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="the picture could not be written"):
        save_png(sheet([Row("a", torch.zeros(1, 1, 8, 8))]), tmp_path / "file" / "x.png")


def test_drawing_leaves_a_network_in_the_mode_it_was_in():
    net = ZOO.recipe("autoencoder", "amr:scales=2").build(BuildContext((1, 8, 8), 3))
    net.train()
    mix_rows(net, ZOO.recipe("mixer", "mixup"), DATA.test, "cpu")
    assert net.training


def test_every_mixer_walks_the_same_path_between_the_same_three_images():
    mixers = {spec: ZOO.recipe("mixer", spec) for spec in ("mixup", "dirichlet:k=3", "channel:k=5", "bernoulli:k=3")}
    found = {row.label: row.images for row in mixer_sheet.rows(Identity(), mixers, DATA.test, steps=5, device="cpu")}
    blended = found.pop("pixels, mixup")
    assert len(blended) == 10  # two legs of five with one corner in common, and the middle
    torch.testing.assert_close(blended[2], (blended[0] + blended[4]) / 2)
    torch.testing.assert_close(blended[-1], (blended[0] + blended[4] + blended[8]) / 3)
    assert list(found) == list(mixers)
    for name, images in found.items():
        assert len(images) == (9 if name == "mixup" else 10)
        torch.testing.assert_close(images[[0, 4, 8]], blended[[0, 4, 8]])
    for name in ("mixup", "dirichlet:k=3", "channel:k=5"):
        torch.testing.assert_close(found[name], blended[: len(found[name])])


def test_a_leg_has_two_ends():
    with pytest.raises(ValueError, match="a leg of 1 mixes has no two ends; steps must be at least 2"):
        mixer_sheet.rows(Identity(), {}, DATA.test, steps=1, device="cpu")


# --- strips of conditioned mixes


@pytest.mark.parametrize(("data", "mixer", "aims"), [(ToyTagged(), "label", True), (ToyTagged(), "mixup", False)])
def test_a_mixer_that_aims_at_labels_is_recognised(data, mixer, aims):
    loaded = data.load(0)
    built_mixer = build_part(load_zoo().recipe("mixer", mixer), "mixer", mixer, loaded.build_context((2, 4, 4)), 0)
    assert aims_at_labels(built_mixer, loaded, (2, 4, 4), "cpu") == aims
    assert not aims_at_labels(built_mixer, ToyUnlabelled().load(0), (2, 4, 4), "cpu")


def test_conditioned_strips_mark_the_target_label_under_each_column():
    data = ToyTagged().load(0)
    mixer = build_part(load_zoo().recipe("mixer", "label"), "mixer", "label", data.build_context((2, 4, 4)), 0)
    pairs = pairs_with_different_labels(data.test, 2, 3)
    assert len(pairs) == 3
    y = data.test.labels
    assert all((y[a] != y[b]).sum() == 2 for a, b in pairs if y[a].any() and y[b].any())
    drawn = conditioned_strips(ToyAutoEncoder(1, 0.0), mixer, data, pairs=pairs, steps=5, device="cpu")
    marks = [grid.ON, grid.OFF]
    colours = {f"#{r:02x}{g:02x}{b:02x}": n for n, (r, g, b) in drawn.getcolors(1 << 20)}
    assert all(mark in colours for mark in marks)
    # ends: x1 has y1's marks and x2 has y2's; in the first row the marks of the first column are its labels
    left = next(x for x in range(drawn.width) if drawn.getpixel((x, 6)) != (255, 255, 255))
    for column, image in ((0, pairs[0][0]), (6, pairs[0][1])):
        for a in range(2):
            r, g, b = drawn.getpixel((left + column * (64 + 2) + 3, 6 + 64 + 1 + a * grid.TICK + 3))
            assert f"#{r:02x}{g:02x}{b:02x}" == marks[0 if y[image, a] else 1]


def test_examples_with_equal_labels_are_not_paired():
    same = Split(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4, 2, dtype=torch.int64))
    assert pairs_with_different_labels(same, 2, 2) == []
