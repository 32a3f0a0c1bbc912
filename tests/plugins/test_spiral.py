"""Data of points: the spiral, the networks and scores of its runs, and its pictures."""

import json
from dataclasses import dataclass
from math import asinh, pi, sqrt
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from mixzoo import BuildContext, Dataset, FinishedRun, Split
from mixzoo.core.errors import ConfigError, PluginError
from mixzoo.evaluation.mixes import random_mixes
from mixzoo.evaluation.pictures import scatter, views
from mixzoo.registry.config import resolve
from mixzoo.registry.zoo import RegisteredPart, load_zoo
from mixzoo_convnets.fully_connected import MLP, MLPDiscriminator
from mixzoo_datasets.spiral import Spiral
from toys import TOY_PLUGIN, toy_zoo

ZOO = load_zoo()
SHORT = {"steps": 3, "batch_images": 16, "log_every": 3, "evaluate_every": 3, "checkpoint_every": 3}


def plane(split):
    return split.images.flatten(1)


class Identity(nn.Module):
    """Codes are the points as vectors; the decoder adds `offset`."""

    latent_shape = (2,)

    def __init__(self, offset=(0.0, 0.0)):
        super().__init__()
        self.offset = torch.tensor(offset)

    def encode(self, x):
        return x.flatten(1)

    def decode(self, h):
        return (h + self.offset)[:, :, None, None]


def pair_of_points():
    """Two points, (-1, 0) and (1, 0), as all three splits."""
    split = Split(torch.tensor([[-1.0, 0.0], [1.0, 0.0]])[:, :, None, None], torch.zeros(2, dtype=torch.int64))
    return Dataset(split, split, split, class_names=())


# --- the data


def test_every_point_lies_on_the_spiral_at_its_angle():
    data = Spiral(points=500, turns=1.5).load(0)
    assert data.image_shape == (2, 1, 1)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [400, 50, 50]
    assert (data.class_names, data.attribute_names, data.factor_names) == ((), (), ("angle",))
    for split in (data.train, data.validation, data.test):
        angle = split.factors[:, 0]
        expected = 0.9 * angle / (3 * pi) * torch.stack([angle.cos(), angle.sin()])
        torch.testing.assert_close(plane(split), expected.T)
    assert data.train.factors.max() <= 3 * pi + 1e-6


def test_the_points_are_evenly_spread_along_the_curve():
    data = Spiral(points=2000).load(0)
    everything = torch.cat([plane(s) for s in (data.train, data.validation, data.test)])
    angles = torch.cat([s.factors[:, 0] for s in (data.train, data.validation, data.test)])
    steps = everything[angles.argsort()].diff(dim=0).norm(dim=1)
    assert steps.max() / steps.min() < 1.01
    end = 4 * pi
    length = 0.9 / end * (end * sqrt(1 + end**2) + asinh(end)) / 2
    assert steps.sum() == pytest.approx(length, rel=0.002)


def test_noise_has_its_standard_deviation_and_stays_inside():
    clean, noisy = (plane(Spiral(noise=noise).load(0).train) for noise in (0.0, 0.02))
    assert (noisy - clean).std().item() == pytest.approx(0.02, rel=0.05)
    assert plane(Spiral(noise=0.5).load(0).train).abs().max() == 1


@pytest.mark.parametrize("spec", ["spiral:points=19", "spiral:turns=0", "spiral:noise=0.6"])
def test_options_out_of_range_are_refused(spec):
    with pytest.raises(ConfigError, match=r"spiral.*must be"):
        ZOO.recipe("dataset", spec)


# --- the networks


def test_a_fully_connected_network_has_as_many_numbers_as_its_widths_say():
    net = MLP(latent=3, hidden=10, layers=2).build(BuildContext((2, 1, 1), 0))
    one_way = (2 * 10 + 10) + (10 * 10 + 10) + (10 * 3 + 3)
    other_way = (3 * 10 + 10) + (10 * 10 + 10) + (10 * 2 + 2)
    assert sum(p.numel() for p in net.parameters()) == one_way + other_way
    assert net.latent_shape == (3,)
    assert net.decode(net.encode(torch.zeros(5, 2, 1, 1))).shape == (5, 2, 1, 1)


def test_without_hidden_layers_it_is_linear():
    net = MLP(layers=0).build(BuildContext((1, 4, 4), 0))
    a, b = torch.randn(2, 3, 1, 4, 4)
    torch.testing.assert_close(net.encode(a) + net.encode(b), net.encode(a + b) + net.encode(torch.zeros_like(a)))


@pytest.mark.parametrize(("iterations", "bounded"), [(20, True), (0, False)])
def test_spectral_norm_bounds_every_layer_of_the_discriminator(iterations, bounded):
    judge = MLPDiscriminator(hidden=16, power_iterations=iterations).build(BuildContext((2, 1, 1), 0, (2,)))
    judge(torch.randn(4, 2, 1, 1))
    norms = [torch.linalg.matrix_norm(layer.weight, 2).item() for layer in judge.layers if isinstance(layer, nn.Linear)]
    assert len(norms) == 4
    assert (norms == pytest.approx([1] * 4, abs=0.05)) == bounded


# --- what a run takes where nothing else is said


def test_a_run_on_points_takes_the_networks_and_scores_that_fit_them():
    config = resolve(ZOO, None, {"dataset": "spiral"}, {})
    assert (config.names["autoencoder"], config.names["discriminator"], config.names["mixer"]) == (
        "mlp",
        "mlp",
        "mixup",
    )
    assert [spec.partition(":")[0] for spec, _ in config.metrics] == ["mix_distance", "reconstruction"]
    assert config.train.steps == Spiral.run_defaults["train"]["steps"]
    assert resolve(ZOO, None, {}, {}).names["autoencoder"] == "amr"


def test_show_says_what_a_run_on_these_data_takes(mixzoo):
    code, out, _ = mixzoo("show", "dataset", "spiral")
    assert code == 0
    assert "\n  autoencoder: mlp\n" in out
    assert "\n  metrics: mix_distance, reconstruction\n" in out
    assert "\n  train: steps=4000, " in out
    assert json.loads(mixzoo("show", "dataset", "spiral", "--json")[1])["run_defaults"]["discriminator"] == "mlp"
    assert "A run on these data" not in mixzoo("show", "dataset", "digits")[1]


def test_flags_and_files_go_before_what_a_data_set_says(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('metrics = ["reconstruction"]\n[autoencoder]\nname = "mlp"\nhidden = 7\n[train]\nsteps = 9\n')
    config = resolve(ZOO, file, {"dataset": "spiral", "discriminator": "mlp:hidden=5"}, {"lr": 0.5})
    assert (config.parts["autoencoder"].hidden, config.parts["discriminator"].hidden) == (7, 5)
    assert [spec for spec, _ in config.metrics] == ["reconstruction"]
    assert (config.train.steps, config.train.lr) == (9, 0.5)
    assert config.train.evaluate_every == Spiral.run_defaults["train"]["evaluate_every"]


def test_the_written_file_says_all_of_it(tmp_path):
    config = resolve(ZOO, None, {"dataset": "spiral"}, {})
    (tmp_path / "run.toml").write_text(config.to_toml())
    assert resolve(ZOO, tmp_path / "run.toml", {}, {}) == config
    assert 'name = "mlp"' in config.to_toml()


@dataclass(frozen=True)
class Odd(Spiral):
    """A spiral with misspelt defaults."""

    run_defaults: ClassVar[dict[str, Any]] = {"encoder": "mlp"}


def test_defaults_that_are_no_part_of_a_run_are_the_plugins_fault():
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("dataset", "odd", TOY_PLUGIN, Odd))
    with pytest.raises(PluginError, match="dataset 'odd': run_defaults has 'encoder', expected some of autoencoder"):
        resolve(zoo, None, {"dataset": "odd"}, {})


# --- scores


def run_of(net, data, mixer="mixup"):
    return FinishedRun(net, ZOO.recipe("mixer", mixer), data, seed=0, device="cpu")


def test_the_distance_of_mixes_is_that_of_the_nearest_point():
    """Half the pairs are of one point; in the others, 2 apart, the nearer is 2 min(α, 1-α) away, 1/2 on average."""
    numbers = ZOO.recipe("metric", "mix_distance:mixes=20000")(run_of(Identity(), pair_of_points()))
    assert numbers["reconstructions"] == 0
    assert numbers["mean"] == pytest.approx(0.25, abs=0.01)
    assert numbers["blends"] == pytest.approx(0.25, abs=0.01)


def test_a_decoder_that_is_off_is_off_by_as_much():
    numbers = ZOO.recipe("metric", "mix_distance")(run_of(Identity((0.0, 0.5)), pair_of_points()))
    assert numbers["reconstructions"] == 0.5
    assert numbers["mean"] > 0.5
    assert numbers["blends"] < 0.3


@pytest.mark.bit_exact
@pytest.mark.parametrize("spec", ["mixup", "dirichlet:k=4", "bernoulli:k=3", "slerp"])
def test_random_mixes_repeat_and_are_of_the_mixers_sources(spec):
    data = Spiral(points=100).load(0)
    mixer = ZOO.recipe("mixer", spec)
    once, again = (random_mixes(Identity(), mixer, data.test, count=7, seed=1, device="cpu") for _ in range(2))
    assert once.shape == (7, 2, 1, 1)
    assert torch.equal(once, again)
    assert not torch.equal(once, random_mixes(Identity(), mixer, data.test, count=7, seed=2, device="cpu"))
    if spec.startswith("bernoulli"):  # each number comes from one source
        assert torch.isin(once[:, 0], data.test.images[:, 0]).all()


# --- pictures


def test_points_are_those_of_the_plane_and_those_outside_lie_on_the_border():
    where = scatter.positions(torch.tensor([[0.0, 0.5], [1.0, -1.0], [-3.0, 9.0]])[:, :, None, None])
    torch.testing.assert_close(where, torch.tensor([[0.0, 0.5], [1.0, -1.0], [-1.2, 1.2]]))
    assert scatter.positions(torch.tensor([[0.5]])[:, :, None, None]).tolist() == [[0.5, 0.0]]


def test_a_panel_draws_its_layers_in_their_colours_and_joins_a_path():
    ends = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])[:, :, None, None]
    layers = [scatter.real(Spiral(points=100).load(0).test), scatter.ScatterLayer(ends, "#0000ff", True)]
    figure = scatter.scatter_plot([scatter.ScatterPanel("a", layers)])
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "a"
    assert [list(map(round, 255 * dots.get_facecolor()[0][:3])) for dots in axes.collections] == [
        [0, 114, 178], [0, 0, 255]
    ]  # fmt: skip
    (line,) = axes.lines
    assert list(line.get_xdata()) == [-1, 1]
    assert scatter.picture_of(figure).tobytes() == scatter.picture_of(figure).tobytes()


def test_a_run_on_points_draws_scatter_plots_and_paths_between_points(mixzoo):
    numbers = [arg for key, value in SHORT.items() for arg in (f"--{key.replace('_', '-')}", value)]
    code, out, _ = mixzoo("train", "--data", "spiral:points=200", "--mixer", "dirichlet:k=3", *numbers, "--out", "run")
    assert code == 0
    assert "mix distance: mean" in out
    assert "probe" not in out
    code, out, err = mixzoo("interpolate", "run", "--every-mixer", "--json")
    assert code == 0, err
    assert sorted(json.loads(out)) == ["mixers", "strips", "triangle"]


def test_the_path_between_points_goes_from_one_to_the_other():
    data = Spiral(points=100).load(0)
    panel = scatter.path_panel(Identity(), ZOO.recipe("mixer", "mixup"), data.test, pairs=2, steps=5, device="cpu")
    ways = [layer.points for layer in panel.layers[1:]]
    assert [len(way) for way in ways] == [5, 5]
    for way in ways:
        torch.testing.assert_close(way[2], (way[0] + way[4]) / 2)
    torch.testing.assert_close(ways[0][0], data.test.images[0])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_points_of_any_number_of_numbers_are_drawn(channels):
    split = Split(torch.rand(20, channels, 1, 1), torch.zeros(20, dtype=torch.int64))
    net = MLP(latent=2).build(BuildContext((channels, 1, 1), 0))
    paper = views.mixes(net, ZOO.recipe("mixer", "mixup"), split, "cpu")
    assert paper.width == 640
