"""Randomness as data: a function of (seed, purpose, step), never of what was drawn before."""

from threading import Thread

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses import FakeTensor, FakeTensorMode

from mixzoo import CodeShape
from mixzoo.core.random import (
    DrawRequest,
    _reseeded,
    batch_index,
    cached_tensor,
    draw_step,
    draw_tensors,
    order,
    partners,
    rng_for,
    seed_for,
    to_device,
)
from mixzoo.registry.zoo import load_zoo

SHAPE = CodeShape(8, (2, 4, 4))
MIX = {"mix": DrawRequest("mix", (2, 4, 4))}


def test_seeds_are_the_same_for_ever():
    assert seed_for(0, "mix", 0) == 750409540796733493
    assert seed_for(1, "order", 12) == 5628438685438016974


def test_neighbouring_seeds_purposes_and_steps_share_nothing():
    triples = [(seed, purpose, step) for seed in range(20) for purpose in ("mix", "order") for step in range(20)]
    assert len({seed_for(*triple) for triple in triples}) == len(triples)
    first = torch.stack([torch.rand(50, generator=rng_for(*triple)) for triple in triples])
    correlations = torch.corrcoef(first).fill_diagonal_(0)
    assert correlations.abs().max() < 0.8


@pytest.mark.bit_exact
@given(st.integers(1, 30), st.integers(0, 100), st.integers(1, 60), st.integers(1, 59))
def test_the_order_is_one_endless_sequence_however_it_is_cut(images, start, count, cut):
    cut = min(cut, count - 1)
    whole = order(7, images, start, count)
    if cut:
        assert torch.equal(whole, torch.cat([order(7, images, start, cut), order(7, images, start + cut, count - cut)]))
    assert len(whole) == count


@given(st.integers(1, 30), st.integers(0, 5))
def test_every_epoch_shows_every_image_once(images, epoch):
    assert order(3, images, epoch * images, images).sort().values.tolist() == list(range(images))


def test_epochs_and_seeds_are_shuffled_each_in_its_own_way():
    assert not torch.equal(order(0, 50, 0, 50), order(0, 50, 50, 50))
    assert not torch.equal(order(0, 50, 0, 50), order(1, 50, 0, 50))


def test_partners_are_permutations_each_its_own():
    rows = partners(4, 9, rng_for(0, "partners", 1))
    assert rows.shape == (3, 9)
    assert all(row.sort().values.tolist() == list(range(9)) for row in rows)
    assert not torch.equal(rows[0], rows[1])


def test_partner_permutations_are_uniform():
    """Chi-square over the 24 permutations of four; 23 degrees of freedom, 1e-9 at 92."""
    drawn = torch.cat([partners(101, 4, rng_for(0, "partners", step)) for step in range(120)])
    codes = (drawn * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = codes.unique(return_counts=True)[1].double()
    assert len(counts) == 24
    assert ((counts - 500) ** 2 / 500).sum() < 92


@pytest.mark.bit_exact
def test_a_step_draws_the_same_whatever_was_drawn_before():
    mixer = load_zoo().recipe("mixer", "bernoulli:k=3")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    alone = draw_step(5, 17, MIX, mixer, batch=8)
    for step in range(17):
        draw_step(5, step, MIX, mixer, batch=8)
    after_others = draw_step(5, 17, MIX, mixer, batch=8)
    assert torch.equal(alone.mix()[0], after_others.mix()[0])
    assert torch.equal(alone.mix()[1], after_others.mix()[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_or_step_draws_something_else():
    mixer = load_zoo().recipe("mixer", "mixup")
    draws = [draw_step(seed, step, MIX, mixer, batch=8) for seed, step in ((0, 0), (0, 1), (1, 0))]
    index = [batch_index(seed, 100, 8, step) for seed, step in ((0, 0), (0, 1), (1, 0))]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(index[a], index[b])
        assert not torch.equal(draws[a].mix()[1], draws[b].mix()[1])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 20))
def test_batches_straddle_epochs_and_are_all_of_one_size(images, batch, steps):
    sequence = torch.cat([batch_index(1, images, batch, step) for step in range(steps)])
    assert len(sequence) == steps * batch
    counts = sequence.bincount(minlength=images)
    assert counts.max() - counts.min() <= 1  # an image is seen again only when all have been seen


def test_a_caller_that_writes_into_the_order_changes_nobody_elses():
    first = order(11, 10, 0, 10)
    kept = first.clone()
    first.fill_(0)
    assert torch.equal(order(11, 10, 0, 10), kept)


def test_each_purpose_has_numbers_of_its_own():
    mix, pair = (torch.rand(20_000, generator=rng_for(0, purpose)) for purpose in ("mix", "partners"))
    assert abs(torch.corrcoef(torch.stack([mix, pair]))[0, 1]) < 6 / 20_000**0.5


def test_one_step_and_the_next_are_uncorrelated():
    first, second = (torch.rand(20_000, generator=rng_for(0, "mix", step)) for step in (0, 1))
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 6 / 20_000**0.5


@pytest.mark.bit_exact
def test_another_mixer_meets_the_same_partners():
    zoo = load_zoo()
    a, b, more = (
        draw_step(0, 3, MIX, zoo.recipe("mixer", spec), batch=8) for spec in ("mixup", "bernoulli", "dirichlet:k=5")
    )
    assert torch.equal(a.mix()[0], b.mix()[0])
    assert torch.equal(a.mix()[0][0], more.mix()[0][0])
    assert more.mix()[0].shape == (4, SHAPE.batch)


def test_draws_do_not_hear_the_default_generator():
    mixer = load_zoo().recipe("mixer", "channel:k=3")
    with torch.random.fork_rng():
        draws = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            draws.append(draw_step(5, 17, MIX, mixer, batch=8))
    assert torch.equal(draws[0].mix()[1], draws[1].mix()[1])
    assert torch.equal(draws[0].mix()[0], draws[1].mix()[0])


def test_a_draw_comes_whole_to_its_device():
    draw = {"mask": torch.ones(2, 3, dtype=torch.bool), "share": torch.rand(2, 3)}
    moved = to_device(draw, torch.device("cpu"))
    assert moved.keys() == draw.keys()
    assert all(torch.equal(moved[name], draw[name]) for name in draw)
    assert {tensor.device.type for tensor in to_device(draw, torch.device("meta")).values()} == {"meta"}
    assert to_device(draw["share"], torch.device("meta")).device.type == "meta"


def test_nothing_is_drawn_for_a_mix_that_there_is_none_of():
    class Untouched:
        k = 2

        def draw(self, shape, rng):
            raise AssertionError("drawn for nothing")

        at = __call__ = draw

    requests = {"noise/code": DrawRequest("normal", (2, 4, 4))}
    draws = draw_step(0, 0, requests, Untouched(), batch=8)
    assert [tensor.shape for tensor in draw_tensors(draws)] == [(SHAPE.batch, *SHAPE.latent)]


def test_a_tensor_made_for_a_simulated_device_is_not_kept():
    @cached_tensor(maxsize=2)
    def numbers(count):
        return torch.arange(count)

    with FakeTensorMode():
        assert isinstance(numbers(3), FakeTensor)
    assert numbers(3).tolist() == [0, 1, 2]
    assert numbers(3) is numbers(3)


@pytest.mark.bit_exact
def test_a_generator_that_is_used_again_is_as_a_new_one():
    """Also after an odd number of normal numbers, of which a generator keeps the second of a pair."""
    for step in range(3):
        again, new = _reseeded(3, "noise/a", step), rng_for(3, "noise/a", step)
        assert torch.equal(again.get_state(), new.get_state())
        for kind in (torch.randn, torch.rand):
            one, two = (kind(3, generator=rng, dtype=torch.float64) for rng in (again, new))
            assert torch.equal(one, two)
    assert _reseeded(3, "noise/a", 0) is again
    assert _reseeded(3, "noise/b", 0) is not again


def test_each_thread_has_its_own_generators():
    other = []
    thread = Thread(target=lambda: other.append(_reseeded(3, "noise/a", 0)))
    thread.start()
    thread.join()
    assert other[0] is not _reseeded(3, "noise/a", 0)
