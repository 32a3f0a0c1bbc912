"""Lines, and the scores of interpolations between them (Berthelot et al. 2019, section 4.1)."""

from math import pi, sqrt

import pytest
import torch
from torch import nn

from mixzoo import DataError, Dataset, FinishedRun, Split
from mixzoo.data.batches import to_images
from mixzoo.registry.zoo import load_zoo
from mixzoo_datasets.lines import Lines, draw
from mixzoo_metrics.lines import LineInterpolation, nearest_of, smoothness
from toys import ToyUnlabelled

ZOO = load_zoo()
DATA = Lines(images=720).load(0)


class Angles(nn.Module):
    """The code is the angle of the nearest line; it is decoded to the line at `bend` of that angle."""

    latent_shape = (1,)

    def __init__(self, bend=lambda angle: angle):
        super().__init__()
        self.bend = bend
        self.angles = torch.arange(720, dtype=torch.float64) * (2 * pi / 720)
        self.lines = to_images(draw(self.angles))

    def encode(self, x):
        return self.angles[nearest_of(x, self.lines)[1]].float()[:, None]

    def decode(self, h):
        return to_images(draw(self.bend(h[:, 0].double())))


class Pixels(nn.Module):
    """The code is the image itself, so an interpolation is a blend."""

    latent_shape = (1, 32, 32)

    def encode(self, x):
        return x

    def decode(self, h):
        return h


def scores(net, data=DATA, **options):
    return LineInterpolation(**options)(FinishedRun(net, ZOO.recipe("mixer", "mixup"), data, seed=0, device="cpu"))


def test_lines_are_drawn_at_their_angle():
    right, down = draw(torch.tensor([0.0, pi / 2], dtype=torch.float64))[:, 0]
    assert (right[15:17, 17:] == 255).all()
    assert right[15:17, 15].tolist() == [0, 0]  # it starts at the centre, between the pixels 15 and 16
    assert right.count_nonzero() == 2 * 16
    assert torch.equal(down, right.T)
    diagonal = draw(torch.tensor([pi / 4], dtype=torch.float64))[0, 0]
    assert (diagonal.int() - diagonal.T.int()).abs().max() <= 1  # a pixel half covered may round either way
    assert diagonal.diagonal()[17:27].tolist() == [255] * 10
    assert diagonal[:15].count_nonzero() == 0


@pytest.mark.parametrize(("length", "width"), [(16.0, 2.0), (15.0, 2.0), (10.0, 3.0)])
def test_a_line_covers_its_area_at_every_angle(length, width):
    """Its width is that of the rows or columns it crosses, so at a right angle to it a diagonal line is narrower."""
    angles = torch.linspace(0, 2 * pi, 50, dtype=torch.float64)
    covered = draw(angles, length, width).double().sum((1, 2, 3)) / 255
    expected = length * width * torch.maximum(angles.cos().abs(), angles.sin().abs())
    assert covered.tolist() == pytest.approx(expected.tolist(), rel=0.05)


def test_a_line_is_as_wide_as_the_authors_draw_it():
    """Their code brightens two pixels of each row or column: sums of images, from upright to diagonal."""
    angles = torch.tensor([0, pi / 12, pi / 6, pi / 4], dtype=torch.float64)
    steep = draw(pi / 2 + angles, length=15.0).double().sum((1, 2, 3)) / 255
    assert steep.tolist() == pytest.approx([30.00, 28.98, 25.98, 21.21], abs=0.1)
    rows = draw(angles[3:], length=15.0)[0, 0, 18:24].double().sum(1) / 255
    assert rows.tolist() == pytest.approx([2.0] * 6, abs=0.01)


def test_every_angle_is_there_once_and_is_that_of_its_image():
    splits = (DATA.train, DATA.validation, DATA.test)
    assert [len(s) for s in splits] == [576, 72, 72]
    assert DATA.factor_names == ("angle",)
    angles = torch.cat([s.factors[:, 0] for s in splits])
    torch.testing.assert_close(angles.sort().values, torch.arange(720) * (2 * pi / 720))
    again = draw(DATA.test.factors[:, 0].double())
    assert (again.int() - DATA.test.images.int()).abs().max() <= 1  # the factor is only a float32


def test_a_perfect_interpolation_scores_0():
    found = scores(Angles(), pairs=50)
    assert found["mean_distance"] == pytest.approx(0, abs=2e-3)
    assert found["smoothness"] == pytest.approx(0, abs=0.05)


def test_a_blend_jumps_from_one_line_to_the_other():
    """Of 1,024 pixels two lines have 32 each and none in common: ⟨x₁, x₂⟩ = 1024 - 2 · 64 = 896."""
    two = Split(draw(torch.tensor([0.0, pi])), torch.zeros(2, dtype=torch.int64), torch.tensor([[0.0], [2.0]]))
    found = scores(Pixels(), Dataset(two, two, two, (), factor_names=("angle",)), pairs=4000, steps=5)
    assert found["smoothness"] == pytest.approx(1 - 1 / 4)  # one step goes all the way
    middle, quarter = 1 - sqrt(960) / 32, 1 - 992 / (32 * sqrt(976))  # distances at t = 1/2 and at 1/4 and 3/4
    assert found["mean_distance"] == pytest.approx(
        (middle + 2 * quarter) / 5 / 2, rel=0.05
    )  # half the pairs are one line


def test_the_distance_is_of_cosines():
    """Of two unit vectors at a right angle the middle is 45 degrees from both."""
    a, b = torch.eye(2)[:, :, None, None]
    similarity, nearest = nearest_of(torch.stack([a, (a + b) / 2, 3 * b]), torch.stack([a, b]))
    assert similarity.tolist() == pytest.approx([1, 0.5**0.5, 1])
    assert [nearest[0], nearest[2]] == [0, 1]


def test_smoothness_is_the_excess_of_the_longest_step():
    even = torch.linspace(0, 1.5, 4)
    late = torch.tensor([0.0, 0.0, 0.0, 1.5])
    uneven = torch.tensor([0.0, 0.3, 1.2, 1.5])
    over_zero = (torch.linspace(-0.2, 0.4, 4)) % (2 * pi)
    back = torch.tensor([1.0, 0.5, 0.3, 0.0])
    still = torch.tensor([0.7, 0.9, 0.7, 0.7])
    scores, leads = smoothness(torch.stack([even, late, uneven, over_zero, back, still]).double())
    assert scores[:5].tolist() == pytest.approx([0, 2 / 3, 0.6 - 1 / 3, 0, 0.5 - 1 / 3], abs=1e-6)
    assert leads.tolist() == [True] * 5 + [False]


def test_a_decoder_of_one_line_has_a_distance_and_no_smoothness():
    assert scores(Angles(lambda angle: 0 * angle), pairs=20) == {"mean_distance": pytest.approx(0, abs=1e-6)}


def test_data_without_angles_are_refused():
    with pytest.raises(
        DataError, match=r"toy bars: no factor 'angle' gives the angle of an image \(its factors: none\)"
    ):
        scores(Pixels(), ToyUnlabelled().load(0))
    with pytest.raises(DataError, match=r"no factor 'radius' .*its factors: angle\)"):
        scores(Pixels(), factor="radius")


def test_defaults_of_a_run_on_lines():
    from mixzoo.registry.config import resolve

    config = resolve(ZOO, None, {"dataset": "lines"}, {})
    assert [spec.partition(":")[0] for spec, _ in config.metrics] == ["line_interpolation", "reconstruction"]
    assert config.names["autoencoder"] == "amr"
