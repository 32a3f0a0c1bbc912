"""foreign_class, mix_copies and path_smoothness of mixes whose scores are known."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from mixzoo import DataError, FinishedRun, LinearMixer, NonFiniteError, eval_mode, random_mixes
from mixzoo.registry.zoo import load_zoo
from mixzoo_metrics.paths import path_lengths
from mixzoo_metrics.source_mixes import source_mixes
from toys import ToyData, ToyTagged, ToyUnlabelled

ZOO = load_zoo()
BARS = ToyData().load(0)
MIXUP = ZOO.recipe("mixer", "mixup")


class Coder(nn.Module):
    """A code and an image by functions; `f` gives the pixels and `g` takes them if they are not given."""

    latent_shape = (64,)

    def __init__(self, f=lambda x: x.flatten(1), g=lambda h: h.reshape(-1, 1, 8, 8)):
        super().__init__()
        self.encode, self.decode = f, g


def thirds(x):
    """-1, 0 or 1: which third of a bar's image is bright."""
    brightness = torch.stack([x[:, 0, 2 * i + 1 : 2 * i + 3].mean((1, 2)) for i in range(3)], 1)
    return brightness.argmax(1, keepdim=True).float() - 1


def drawn(h):
    """The bar of the class that is nearest to the code."""
    image = h.new_full((len(h), 1, 8, 8), -0.75)
    nearest = (h[:, 0].round() + 1).long()
    for i in range(3):
        image[:, :, 2 * i + 1 : 2 * i + 3] += 1.4 * (nearest == i).float()[:, None, None, None]
    return image


@dataclass(frozen=True)
class Weighs(LinearMixer):
    """The same weight of the first source in every mix."""

    weight: float
    k: int = 2

    def draw(self, shape, rng):
        weights = torch.full((shape.batch,), self.weight)
        return shape.broadcast(torch.stack([weights, 1 - weights]))


@dataclass(frozen=True)
class Copies(LinearMixer):
    """The code of one source, at random."""

    k: int = 3

    def draw(self, shape, rng):
        source = torch.randint(self.k, (shape.batch,), generator=rng)
        return shape.broadcast(one_hot(source, self.k).T.float())


def scored(spec, coder=None, mixer=MIXUP, data=BARS):
    return ZOO.recipe("metric", spec)(FinishedRun(coder or Coder(), mixer, data, seed=0, device="cpu"))


def test_halfway_between_the_first_and_the_last_class_is_the_foreign_one():
    """Of pairs 2 in 9 have these two classes. Halfway to the class between them, a mix has one of its sources'."""
    rates = scored("foreign_class:steps=60", Coder(thirds, drawn), Weighs(0.5))
    assert rates["mixes"] == pytest.approx(2 / 9, abs=0.03)
    assert rates["reconstructions"] == rates["real"] == 0


def test_a_copy_is_of_no_foreign_class():
    rates = scored("foreign_class:steps=60,mixes=500", Coder(thirds, drawn), Copies())
    assert rates["mixes"] == rates["blends"] == rates["reconstructions"] == rates["real"] == 0


def test_the_pixels_and_a_linear_decoder_have_the_same_foreign_classes():
    rates = scored("foreign_class:steps=60,mixes=500", Coder(), Weighs(0.3))
    assert rates["mixes"] == rates["blends"]


def test_a_decoder_of_one_class_is_as_foreign_as_its_class_is_rare():
    """A third of single images have the class; of pairs, 5 in 9."""
    rates = scored("foreign_class:steps=60", Coder(thirds, lambda h: drawn(0 * h)))
    assert rates["mixes"] == pytest.approx(4 / 9, abs=0.03)
    assert rates["reconstructions"] == pytest.approx(2 / 3, abs=0.01)


def test_a_foreign_attribute_is_one_that_no_source_has():
    """Bright above and bright below: the image between has neither, one of all has both."""
    data = ToyTagged().load(0)
    none = scored("foreign_class:steps=60", Coder(thirds, lambda h: drawn(0 * h)), data=data)
    assert none["mixes"] == none["reconstructions"] == 0
    upper = scored("foreign_class:steps=60", Coder(thirds, lambda h: drawn(0 * h - 1)), data=data)
    # Of pairs (2/3)² lack the upper and as many the lower attribute; the former are all read as having it.
    assert upper["mixes"] == pytest.approx(1 / 2, abs=0.03)


def test_mixes_whose_sources_have_all_classes_do_not_count():
    data = replace(BARS, test=replace(BARS.test, labels=torch.arange(48) % 2), class_names=("even", "odd"))
    data = replace(data, train=replace(BARS.train, labels=torch.arange(96) % 2))
    rates = scored("foreign_class:steps=2", data=data)
    assert all(0 <= rate <= 1 for rate in rates.values())


def test_a_linear_decoder_copies_as_often_as_a_weight_is_small():
    """α ~ U(0, 1): min(α, 1 - α) is 1/4 on average, and below 0.1 one time in five."""
    scores = scored("mix_copies:mixes=4000")
    assert scores["nearest_source"] == pytest.approx(0.25, abs=0.01)
    assert scores["copies"] == pytest.approx(0.2, abs=0.02)
    assert scores["blends"] == pytest.approx(scores["nearest_source"], abs=1e-6)
    assert scores["blend_copies"] == pytest.approx(scores["copies"], abs=1e-3)


def test_a_mix_that_is_a_source_is_a_copy():
    scores = scored("mix_copies:mixes=300", mixer=Copies())
    assert scores["nearest_source"] == pytest.approx(0, abs=1e-6)
    assert scores["copies"] == 1.0


def test_a_decoder_of_three_images_gives_copies_where_a_blend_is_none():
    scores = scored("mix_copies", Coder(thirds, lambda h: drawn(h.sign() * (h.abs() > 0.01))), Weighs(0.4))
    assert scores["copies"] == 1.0
    assert scores["blends"] == pytest.approx(0.4)
    assert scores["blend_copies"] == 0.0


def test_a_decoder_of_one_image_gives_only_copies():
    scores = scored("mix_copies:mixes=50", Coder(thirds, lambda h: drawn(0 * h)))
    assert scores == {"nearest_source": 0.0, "copies": 1.0, "blends": 0.0, "blend_copies": 1.0}


def test_another_mixer_is_scored_in_place_of_the_runs():
    other = scored("mix_copies:mixes=300,mixer=(dirichlet:k=3)")
    assert other == scored("mix_copies:mixes=300", mixer=ZOO.recipe("mixer", "dirichlet:k=3"))
    assert other != scored("mix_copies:mixes=300")


def test_paths_of_a_linear_decoder_are_straight_and_even_and_its_mixes_consistent():
    scores = scored("path_smoothness")
    assert scores == {
        "energy": pytest.approx(1, abs=1e-4),
        "length": pytest.approx(1, abs=1e-4),
        "relaxation": pytest.approx(1, abs=1e-4),
        "mix_error": pytest.approx(0, abs=1e-9),
        "code_error": pytest.approx(0, abs=1e-9),
    }


def test_a_path_that_jumps_has_the_energy_of_a_single_step():
    scores = scored("path_smoothness:steps=9", Coder(thirds, lambda h: drawn(2 * (h >= 0.26).float() - 1)))
    assert scores["energy"] == pytest.approx(8)
    assert scores["length"] == pytest.approx(1)


def test_a_path_through_other_images_is_longer():
    """From the first class to the last by way of the second: one image more, as far from both as they are apart."""
    scores = scored("path_smoothness:steps=9", Coder(thirds, drawn))
    assert 1.1 < scores["length"] < 2


def quarter(h):
    """A point of a circle, at the angle that the code is: a quarter turn is a path of 16 steps of 2 sin(π / 64)."""
    image = h.new_zeros(len(h), 1, 8, 8)
    image[:, 0, 0, 0], image[:, 0, 0, 1] = (h[:, 0] * h[:, 1].cos(), h[:, 0] * h[:, 1].sin())
    return image


def test_the_chord_of_an_arc_is_the_relaxed_path():
    """The code is (radius 1, angle 0 or π/2): a straight path in codes is an arc, and the best one is its chord."""

    def polar(x):
        return torch.cat([torch.ones(len(x), 1), (thirds(x) == 0).float() * torch.pi / 2], 1)

    scores = scored("path_smoothness:steps=17,relax_steps=60", Coder(polar, quarter))
    arc = 16 * 16 * (2 * math.sin(math.pi / 64)) ** 2  # the energy of the arc, and 2 that of its chord
    assert scores["energy"] == pytest.approx(arc / 2, rel=1e-5)
    assert scores["relaxation"] == pytest.approx(arc / 2, rel=1e-3)


def test_a_path_that_no_code_improves_is_relaxed_already():
    scores = scored("path_smoothness:steps=9,relaxed=4", Coder(thirds, drawn))  # rounds codes: without a gradient
    assert scores["relaxation"] == 1.0
    assert "relaxation" not in scored("path_smoothness:relaxed=0,mixes=20,pairs=4")
    assert "relaxation" not in scored("path_smoothness:steps=2,mixes=20,pairs=4")


def test_lengths_are_those_worked_out_by_hand():
    images = torch.tensor([[0.0, 3.0, 3.0, 7.0], [1.0, 0.0, 1.0, 0.0]])[:, :, None, None, None]
    steps, straight = path_lengths(images)
    assert steps.tolist() == [[3, 0, 4], [1, 1, 1]]
    assert straight.tolist() == [7, 1]


def test_a_decoder_of_one_image_has_the_error_of_the_mean_code_and_paths_that_do_not_move():
    mean = (BARS.test.images.double().mean(0, keepdim=True) / 127.5 - 1).float()
    scores = scored("path_smoothness", Coder(g=lambda h: mean.expand(len(h), 1, 8, 8)))
    assert (scores["energy"], scores["length"]) == (1.0, 1.0)
    assert scores["code_error"] == pytest.approx(1, abs=0.02)
    assert scores["mix_error"] == pytest.approx(2 / 3, abs=0.05)  # E[α² + (1 - α)²] = 2/3 of the spread of two codes


def test_a_constant_code_is_consistent():
    scores = scored("path_smoothness", Coder(lambda x: torch.ones(len(x), 2), lambda h: drawn(0 * h)))
    assert scores["mix_error"] == scores["code_error"] == 0


def test_the_mixes_are_those_of_random_mixes():
    coder = Coder()
    run = FinishedRun(coder, ZOO.recipe("mixer", "dirichlet:k=3"), BARS, seed=4, device="cpu")
    expected = random_mixes(coder, run.mixer, BARS.test, count=700, seed=4, device="cpu")
    with eval_mode(coder):
        found = list(source_mixes(run, run.mixer, 700))
    assert torch.equal(torch.cat([batch.x_mix for batch in found]), expected)
    torch.testing.assert_close(torch.cat([batch.blend(batch.x) for batch in found]), expected)


QUICK = ("foreign_class:steps=2,mixes=20", "mix_copies:mixes=20", "path_smoothness:mixes=20,pairs=4,relaxed=2")


@pytest.mark.parametrize("spec", QUICK)
def test_codes_and_images_that_are_not_finite_are_refused_as_such(spec):
    with pytest.raises(NonFiniteError, match="the code of an image is not finite: training has diverged"):
        scored(spec, Coder(lambda x: torch.full((len(x), 2), torch.nan)))
    with pytest.raises(NonFiniteError, match="a decoded image is not finite: training has diverged"):
        scored(spec, Coder(g=lambda h: torch.full((len(h), 1, 8, 8), torch.inf)))


@pytest.mark.parametrize("spec", QUICK)
def test_scores_of_a_run_repeat(spec):
    assert scored(spec) == scored(spec)


def test_data_without_labels_or_with_one_image_are_refused():
    with pytest.raises(DataError, match="toy bars: no labels to tell apart"):
        ZOO.recipe("metric", "foreign_class").check_data(ToyUnlabelled().load(0))
    one = replace(BARS, test=replace(BARS.test, images=BARS.test.images[:1], labels=BARS.test.labels[:1]))
    for name in ("mix_copies", "path_smoothness"):
        with pytest.raises(DataError, match="toy bars: 1 test image, and a mix needs two"):
            ZOO.recipe("metric", name).check_data(one)
