"""The mixers outside a run: in anybody's own loop, on codes or on images."""

import re

import pytest
import torch
from torch.nn.functional import one_hot

import mixzoo
from mixzoo import ConfigError
from mixzoo.core.mixing import gather_sources
from mixzoo.core.random import DrawRequest, draw_step


def codes(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_part_of_each_kind_is_made_from_its_spec():
    mixer = mixzoo.create("mixer", "dirichlet:k=4,alpha=0.5")
    assert (mixer.k, mixer.alpha) == (4, 0.5)
    autoencoder = mixzoo.create("autoencoder", "amr", image_shape=(3, 32, 32))
    assert autoencoder.encode(torch.zeros(2, 3, 32, 32)).shape == (2, *autoencoder.latent_shape)
    assert mixzoo.create("objective", "amr:lam=5").lam == 5
    assert len(mixzoo.create("dataset", "digits").load(0).train) > 1000
    assert callable(mixzoo.create("metric", "reconstruction"))


@pytest.mark.bit_exact
def test_a_network_is_made_with_the_same_weights_for_the_same_seed_and_leaves_the_default_generator_alone():
    state = torch.get_rng_state()
    a, b, other = (mixzoo.create("autoencoder", "acai", seed=seed).f[0].weight for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_spec_that_is_not_allowed_is_named():
    with pytest.raises(ConfigError, match=re.escape("unknown mixer 'mixpu'")):
        mixzoo.create("mixer", "mixpu")
    with pytest.raises(ConfigError, match="k='1' must be an integer >= 2"):
        mixzoo.mix(codes(4, 6), "dirichlet:k=1")


@pytest.mark.parametrize("shape", [(6, 10), (5, 3, 4, 2)])
def test_a_mix_is_made_of_the_examples_and_shares_that_it_names(shape):
    h = codes(*shape)
    mixed = mixzoo.mix(h, "dirichlet:k=3", seed=7)
    assert torch.equal(mixed.sources[0], torch.arange(len(h)))
    torch.testing.assert_close(mixed.h, (mixed.share * h[mixed.sources]).sum(0))
    torch.testing.assert_close(mixed.weights.sum(0), torch.ones(len(h)))


@pytest.mark.bit_exact
def test_a_batch_is_mixed_as_a_run_with_this_seed_mixes_it_at_this_step():
    h, mixer = codes(8, 2, 4, 4), mixzoo.create("mixer", "bernoulli:k=3")
    partners, draw = draw_step(5, 17, {"mix": DrawRequest("mix", (2, 4, 4))}, mixer, batch=8).mix()
    expected = mixer(gather_sources(h, partners), draw).h
    assert torch.equal(mixzoo.mix(h, "bernoulli:k=3", seed=5, step=17).h, expected)
    assert torch.equal(mixzoo.mix(h, mixer, seed=5, step=17).h, expected)
    assert not torch.equal(mixzoo.mix(h, mixer, seed=5, step=18).h, expected)


def test_labels_are_mixed_in_the_proportions_of_the_codes():
    h, y = codes(6, 8, 2, 2), torch.arange(6) % 3
    mixed = mixzoo.mix(h, "bernoulli:k=3", seed=1)
    soft = mixed.of(one_hot(y, 3).float())
    torch.testing.assert_close(soft.sum(1), torch.ones(6))
    expected = torch.zeros(6, 3)
    for source, weight in zip(mixed.sources, mixed.weights):
        for example in range(6):
            expected[example, y[source[example]]] += weight[example]
    torch.testing.assert_close(soft, expected)
    torch.testing.assert_close(mixed.of(y.float()), (mixed.weights * y[mixed.sources]).sum(0))


def test_gradients_reach_every_source():
    h = codes(4, 6).requires_grad_()
    mixed = mixzoo.mix(h, "dirichlet:k=3")
    mixed.h.sum().backward()
    torch.testing.assert_close(h.grad.sum(), torch.tensor(24.0))  # the shares of all sources, once per feature
    assert (h.grad != 0).all()


def test_images_are_maps_too():
    x = codes(4, 3, 8, 6)
    mixed = mixzoo.mix(x, "mixup")
    alpha = mixed.weights[0][:, None, None, None]
    torch.testing.assert_close(mixed.h, alpha * x + (1 - alpha) * x[mixed.sources[1]])


def test_integer_labels_are_mixed_as_numbers():
    h, y = codes(6, 8, 2, 2), torch.arange(6) % 3
    mixed = mixzoo.mix(h, "dirichlet:k=3", seed=1)
    torch.testing.assert_close(mixed.of(one_hot(y, 3)), mixed.of(one_hot(y, 3).float()))


@pytest.mark.parametrize(
    ("h", "line"),
    [
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), "h is torch.uint8 of shape (4, 3, 8, 8); codes and images are"),
        (torch.zeros(4), "h is torch.float32 of shape (4,); codes and images are batches of floating-point numbers"),
    ],
)
def test_what_is_no_batch_of_codes_is_refused(h, line):
    with pytest.raises(ConfigError, match=re.escape(line)):
        mixzoo.mix(h, "mixup")


@pytest.mark.parametrize("shape", [(4, 10), (4, 7, 10)])
@pytest.mark.parametrize("built", [False, True])
def test_a_mixer_of_positions_refuses_codes_that_are_no_maps_and_names_those_that_fit(shape, built):
    mixer = mixzoo.create("mixer", "spatial") if built else "spatial"
    line = r"mixer '\w+' mixes positions of a map .* codes here are .* \(bernoulli, channel, dirichlet, .*slerp"
    with pytest.raises(ConfigError, match=f"(?i){line}") as refused:
        mixzoo.mix(codes(*shape), mixer)
    assert "one_of" not in str(refused.value)


def test_the_part_inside_that_needs_a_map_is_named():
    from mixzoo.registry.zoo import load_zoo
    from mixzoo.training.build import check_takes_codes

    spec = "one_of:a=(dirichlet:k=3),b=(chain:a=mixup,b=cutmix)"
    mixer = mixzoo.create("mixer", spec, latent_shape=(10,))
    zoo = load_zoo()
    with pytest.raises(ConfigError, match="mixer 'one_of' holds 'cutmix', which mixes positions"):
        check_takes_codes(zoo, "one_of", mixer, (10,), zoo.recipe("mixer", spec))


def test_a_kind_that_there_is_not_names_the_nearest():
    with pytest.raises(ConfigError, match=r"'mixr' is not a kind of part \(.*mixer.*\)\. Did you mean 'mixer'\?"):
        mixzoo.create("mixr", "mixup")


@pytest.mark.parametrize("spec", ["label", "network"])
def test_a_learned_mixer_is_made_once_and_passed(spec):
    with pytest.raises(ConfigError, match=r"make it once with mixzoo.create\('mixer'"):
        mixzoo.mix(codes(4, 6), spec)
    mixer = mixzoo.create("mixer", spec, latent_shape=(6,), classes=3)
    mixed = mixzoo.mix(codes(4, 6), mixer, labels=torch.arange(4) % 3)
    assert mixed.h.requires_grad


def test_python_gets_the_same_errors_as_the_command_line():
    h = codes(4, 2, 3, 3)
    for act, message in (
        (lambda: mixzoo.mix(h, "Dirichlet:K=3", seed=0, step=0), "names are lower case. Did you mean 'dirichlet:k=3'?"),
        (lambda: mixzoo.mix(h, "mixup:k=3", seed=0, step=0), "Did you mean 'dirichlet:k=3'"),
        (lambda: mixzoo.create("dataset", "a.npz"), "a path is its option. Did you mean 'sprites:path=a.npz'?"),
        (lambda: mixzoo.create("dataset", "./faces"), "Did you mean 'folder:path=./faces'"),
        (lambda: mixzoo.create("objective", "amr:lam=1e400"), "It is not a finite number."),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            act()
