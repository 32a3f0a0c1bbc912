"""The laws of mixers that pick or weigh positions of a map. Fixed seeds, limits of six standard deviations."""

from itertools import pairwise

import pytest
import torch

from mixzoo import CodeShape, dirichlet
from mixzoo.core.mixing import needs_map
from mixzoo.core.random import rng_for
from mixzoo.registry.zoo import load_zoo
from mixzoo_mixers.regions import boxes

ZOO = load_zoo()
N = 100_000
REGIONS = ["cutmix", "cutmix:border=wrap", "dropblock", "dropblock:mask_per=channel", "fmix", "grid"]
NAMES = ["cutmix", "dropblock", "fmix", "grid", "spatial"]


def mask_of(spec, shape, seed=0):
    """[k batch height width] of the first feature map, as numbers."""
    return ZOO.recipe("mixer", spec).draw(shape, rng_for(seed, "mix"))[:, :, 0].double()


def off(values, mean):
    """How many standard deviations the mean of `values` over the last axis is away from `mean`, at most."""
    spread = values.std(-1).clamp(min=1e-9) / values.shape[-1] ** 0.5
    return ((values.mean(-1) - mean).abs() / spread).max()


def correlation(a, b):
    return torch.corrcoef(torch.stack([a, b]))[0, 1].item()


# --- all of them


@pytest.mark.parametrize("name", NAMES)
def test_vector_codes_are_refused_by_name(name):
    mixer, vectors = ZOO.recipe("mixer", name), CodeShape(2, (10,))
    line = rf"^{name} mixes positions of a map \[channels, height, width\]; codes of shape \(10,\) have none; use "
    with pytest.raises(ValueError, match=line):
        mixer.draw(vectors, rng_for(0, "mix"))
    if name != "spatial":
        with pytest.raises(ValueError, match=line):
            mixer.at(torch.tensor([0.5, 0.5]), vectors)


def test_just_the_mixers_of_positions_say_that_they_need_a_map():
    assert sorted(entry.name for entry in ZOO.of_kind("mixer") if needs_map(entry.recipe)) == sorted(NAMES)


@pytest.mark.parametrize("spec", [*REGIONS, "spatial", "grid:cells=64", "dropblock:block=32", "fmix:decay=100"])
@pytest.mark.parametrize("k", [2, 64])
def test_one_position_one_example_and_64_sources_are_mixed_too(spec, k):
    mixer = ZOO.recipe("mixer", spec + (":" if ":" not in spec else ",") + f"k={k}")
    shapes = [CodeShape(1, latent) for latent in ((3, 1, 1), (2, 1, 5), (1, 7, 1), (2, 3, 4))]
    draws = [(shape, mixer.draw(shape, rng_for(0, "mix"))) for shape in shapes]
    draws += [(shape, mixer.at(torch.full((k,), 1 / k), shape)) for shape in shapes]
    for shape, draw in draws:
        h = torch.randn(k, 1, *shape.latent, generator=rng_for(0, "codes"))
        mixed = mixer(h, draw)
        torch.testing.assert_close(mixed.h, (mixed.share * h).sum(0))
        torch.testing.assert_close(mixed.share.sum(0), torch.ones_like(mixed.share[0]))


@pytest.mark.parametrize("spec", [*REGIONS, "spatial", "grid:cells=3", "dropblock:block=3"])
@pytest.mark.parametrize("k", [2, 3])
def test_each_source_has_its_part_of_every_position_on_average(spec, k):
    """Corners too: exactly 1/k at each, but for cutmix inside the map, where k = 2 has it by symmetry as well."""
    mixer = ZOO.recipe("mixer", spec + (":" if ":" not in spec else ",") + f"k={k}")
    mask = mixer.draw(CodeShape(N, (1, 5, 3)), rng_for(0, "mix"))[:, :, 0].double()
    assert off(mask.permute(0, 2, 3, 1), 1 / k) < 6
    assert off(mask.mean((2, 3)), 1 / k) < 6


@pytest.mark.parametrize(
    "spec", ["cutmix", "cutmix:border=wrap", "cutmix:k=3,border=wrap", "dropblock:k=3,block=3", "dropblock", "fmix:k=3"]
)
@pytest.mark.parametrize("latent", [(1, 5, 3), (1, 1, 1), (1, 2, 7)])
def test_the_expected_share_of_each_source_is_its_part_of_the_drawn_point(spec, latent):
    """E[share_i | a] = a_i: neither share - a nor its product with a is anything but zero on average."""
    mixer = ZOO.recipe("mixer", spec)
    share = mixer.draw(CodeShape(N, latent), rng_for(0, "mix")).double().mean((2, 3, 4))
    a = dirichlet((mixer.k, N), 1.0, rng_for(0, "mix")).double()  # what these mixers draw first
    assert off(share - a, 0) < 6
    assert off((share - a) * a, 0) < 6
    assert off((share - a) * a**2, 0) < 6


@pytest.mark.parametrize("spec", ["cutmix:k=3", "fmix:k=3", "grid:k=3", "dropblock:k=3", "cutmix:k=3,border=wrap"])
def test_examples_are_drawn_each_for_itself(spec):
    share = mask_of(spec, CodeShape(N, (1, 3, 4))).mean((2, 3))
    for source in share:
        assert abs(correlation(source[1:], source[:-1])) < 6 / N**0.5


@pytest.mark.parametrize("spec", REGIONS)
def test_a_mask_is_one_for_all_feature_maps_unless_it_says_one_each(spec):
    draw = ZOO.recipe("mixer", spec).draw(CodeShape(4, (6, 3, 2)), rng_for(0, "mix"))
    assert draw.shape == (2, 4, 6 if "channel" in spec else 1, 3, 2)


@pytest.mark.parametrize("spec", [*REGIONS, "fmix:k=5", "grid:k=5,cells=3", "dropblock:k=3,block=3", "cutmix:k=4"])
@pytest.mark.parametrize("latent", [(2, 5, 3), (2, 4, 4), (1, 1, 9)])
def test_a_point_of_the_simplex_gives_each_source_its_number_of_positions(spec, latent):
    mixer, shape = ZOO.recipe("mixer", spec), CodeShape(2, latent)
    positions = latent[1] * latent[2]
    for seed in range(20):
        point = dirichlet((mixer.k,), 1.0, rng_for(seed, "point"))
        count = mixer.at(point, shape).double().sum((2, 3, 4))[:, 0]
        assert (count - point * positions).abs().max() <= 1 + 1e-5
    for parts in range(positions + 1):
        count = mixer.at(torch.tensor([parts / positions, 1 - parts / positions] + [0.0] * (mixer.k - 2)), shape)
        assert count[0, 0].sum().item() == pytest.approx(parts)


@pytest.mark.parametrize("spec", REGIONS)
def test_the_path_from_one_source_to_another_only_ever_gives_up_positions(spec):
    mixer, shape = ZOO.recipe("mixer", spec), CodeShape(1, (1, 5, 4))
    masks = [mixer.at(torch.tensor([t, 1 - t]), shape)[0] for t in torch.linspace(0, 1, 41).tolist()]
    assert all((less <= more).all() for less, more in pairwise(masks))
    assert not masks[0].any()
    assert masks[-1].all()


# --- cutmix


@pytest.mark.parametrize("border", ["inside", "wrap"])
@pytest.mark.parametrize("size", [(5, 3), (2, 9), (1, 1), (4, 4)])
@pytest.mark.parametrize("area", [0.02, 0.3, 0.5, 0.93])
def test_a_box_has_just_the_area_that_was_asked_for_on_average(border, size, area):
    box = boxes(torch.full((N,), area), *size, border, rng_for(0, "box")).double()
    assert off(box.mean((1, 2)), area) < 6
    rows, columns = box.amax(2).sum(1), box.amax(1).sum(1)
    if area >= 0.5 and min(size) > 1:  # where a box without rows is out of the question
        assert off(rows, size[0] * area**0.5) < 6
        assert off(columns, size[1] * area**0.5) < 6


@pytest.mark.parametrize("border", ["inside", "wrap"])
def test_boxes_of_nothing_and_of_everything_are_exact(border):
    assert not boxes(torch.zeros(1000), 5, 3, border, rng_for(0, "box")).any()
    assert boxes(torch.ones(1000), 5, 3, border, rng_for(0, "box")).all()


def test_a_box_inside_the_map_is_one_rectangle_whose_place_is_uniform():
    """Sides √0.36 of 5 and 10: always 3 x 6, at each of 3 x 5 places as often."""
    box = boxes(torch.full((N,), 0.36), 5, 10, "inside", rng_for(0, "box"))
    whole = box.sum((1, 2)) == 18  # 0.6 is no binary fraction: a rounding up has a chance of 1e-7
    assert whole.double().mean() > 0.999
    top, left = box.any(2).int().argmax(1), box.any(1).int().argmax(1)
    for n in range(6):
        assert torch.equal(box[n, top[n] : top[n] + 3, left[n] : left[n] + 6], torch.ones(3, 6, dtype=torch.bool))
    places = torch.nn.functional.one_hot(top * 5 + left, 15).double()
    assert off(places.T, 1 / 15) < 6


def test_a_box_may_run_round_the_edges_and_covers_every_position_as_often():
    box = boxes(torch.full((N,), 0.36), 5, 10, "wrap", rng_for(0, "box")).double()
    assert off(box.permute(1, 2, 0), 0.36) < 6
    starts = (box.amax(2) - box.amax(2).roll(1, 1)).clamp(min=0)  # the one row whose predecessor is outside
    assert off(starts.T, 1 / 5) < 6


def test_boxes_inside_reach_the_corners_and_favour_the_middle():
    box = boxes(torch.full((N,), 0.25), 5, 5, "inside", rng_for(0, "box")).double().mean(0)
    corners = torch.stack([box[0, 0], box[0, -1], box[-1, 0], box[-1, -1]])
    assert (corners > 0.03).all()
    assert (corners < 0.25).all()
    assert box[2, 2] > 0.5


def test_cutmix_of_two_is_always_one_box_on_a_ground():
    """Rows that hold both sources hold them alike: a box is the product of its rows and its columns."""
    for source in mask_of("cutmix", CodeShape(2000, (1, 5, 7))):
        product = (source.amax(2, keepdim=True) * source.amax(1, keepdim=True)) == source
        other = 1 - source
        ground = (other.amax(2, keepdim=True) * other.amax(1, keepdim=True)) == other
        assert (product.all((1, 2)) | ground.all((1, 2))).all()


def test_either_source_is_the_box_as_often():
    mask = mask_of("cutmix:alpha=1e6", CodeShape(N, (1, 8, 8)))  # boxes of half the map: 5 or 6 positions a side
    boxed = (mask[0].amax(2).sum(1) < 8).double()
    assert off(boxed[None], 0.5) < 6


def test_cutmix_paints_its_sources_in_an_order_of_its_own_for_each_example():
    """Three boxes of a third: who lies on top at the corner does not depend on the number of the source."""
    mask = mask_of("cutmix:k=3,alpha=1e6", CodeShape(N, (1, 4, 4)))
    assert off(mask[:, :, 0, 0], 1 / 3) < 6
    assert off(mask[:, :, 1, 1], 1 / 3) < 6


# --- dropblock


@pytest.mark.parametrize("block", [1, 2, 3, 7])
@pytest.mark.parametrize("p", [0.02, 0.3, 0.95])
def test_blocks_cover_each_position_with_just_the_chance_p_the_corners_too(block, p):
    mask = mask_of(f"dropblock:k=3,block={block},p={p}", CodeShape(N, (1, 5, 3)))
    expected = torch.tensor([1 - p, p / 2, p / 2])
    for source, share in zip(mask, expected):
        assert off(source.permute(1, 2, 0), share) < 6


@pytest.mark.parametrize(("p", "kept"), [(0.0, 1.0), (1.0, 0.0)])
def test_all_or_nothing_may_be_handed_over(p, kept):
    mask = mask_of(f"dropblock:k=3,block=3,p={p}", CodeShape(1000, (1, 5, 3)))
    assert mask[0].mean() == kept


def test_what_is_handed_over_is_made_of_whole_blocks():
    """With room for what lies beyond the edge, an opening by the block (erosion, then dilation) leaves the mask be."""
    mask = mask_of("dropblock:block=3,p=0.4", CodeShape(500, (1, 9, 7)))[1][:, None]
    wide = torch.nn.functional.pad(mask, [2] * 4, value=1.0)
    eroded = -torch.nn.functional.max_pool2d(-wide, 3, 1)
    opened = torch.nn.functional.max_pool2d(torch.nn.functional.pad(eroded, [2] * 4), 3, 1)
    assert torch.equal(opened[..., 2:-2, 2:-2], mask)
    assert 0.3 < mask.mean() < 0.5


def test_a_block_that_stands_alone_belongs_to_one_partner_and_to_each_as_often():
    mask = mask_of("dropblock:k=4,block=3,p=0.03", CodeShape(N, (1, 9, 9)))[1:]
    given = mask.sum(0)
    rows, columns = given.amax(2).sum(1), given.amax(1).sum(1)
    within = given[:, 1:-1, 1:-1].sum((1, 2)) == 9  # at the edge two parts of blocks could make a square
    alone = (rows == 3) & (columns == 3) & (given.sum((1, 2)) == 9) & within
    whole = (mask.sum((2, 3)) == 9)[:, alone].double()
    assert alone.sum() > 1000
    assert (whole.sum(0) == 1).all()
    assert off(whole, 1 / 3) < 6


def test_no_partner_is_on_top_more_often_where_blocks_overlap():
    """Who is on top shows in how much of the map is in whole blocks, and so in how uneven a partner's part is."""
    part = mask_of("dropblock:k=3,block=3,p=0.6", CodeShape(N, (1, 6, 6)))[1:].mean((2, 3))
    squares = part**2
    assert off((squares[0] - squares[1])[None], 0) < 6


def test_blocks_of_each_feature_map_are_its_own_and_have_one_p():
    draw = ZOO.recipe("mixer", "dropblock:mask_per=channel,p=0.4").draw(CodeShape(N, (2, 3, 3)), rng_for(0, "mix"))
    a, b = draw[0].double().mean((2, 3)).T
    assert abs(correlation(a, b)) < 6 / N**0.5
    drawn_p = ZOO.recipe("mixer", "dropblock:mask_per=channel,block=1").draw(CodeShape(N, (2, 1, 1)), rng_for(0, "mix"))
    a, b = drawn_p[0].double().flatten(1).T
    assert correlation(a, b) == pytest.approx(1 / 3, abs=6 / N**0.5)


# --- fmix


@pytest.mark.parametrize("spec", ["fmix", "fmix:k=4,alpha=0.3", "fmix:k=3,decay=0"])
def test_fmix_gives_each_source_its_part_to_within_a_position(spec):
    mixer = ZOO.recipe("mixer", spec)
    count = mixer.draw(CodeShape(2000, (1, 5, 3)), rng_for(0, "mix")).double().sum((2, 3, 4))
    a = dirichlet((mixer.k, 2000), mixer.alpha, rng_for(0, "mix"))
    assert (count - 15 * a).abs().max() <= 1 + 1e-4


def neighbours(spec, size):
    """How often a position and the next one below, and to the right, have one source."""
    mask = mask_of(spec, CodeShape(5000, (1, *size)))[0]
    below, right = mask[:, 1:] == mask[:, :-1], mask[:, :, 1:] == mask[:, :, :-1]
    return below.double().mean().item(), right.double().mean().item()


def test_fmix_is_smooth_and_alike_along_both_axes():
    assert neighbours("fmix:alpha=1e6,decay=0", (12, 12)) == pytest.approx((0.5, 0.5), abs=0.02)
    below, right = neighbours("fmix:alpha=1e6", (12, 12))
    assert below > 0.85
    assert below == pytest.approx(right, abs=0.01)


def test_fmix_of_a_map_turned_on_its_side_is_fmix_turned_on_its_side():
    """The longer side has the lower frequencies, so regions are bands across it."""
    below, right = neighbours("fmix:alpha=1e6", (18, 9))
    assert neighbours("fmix:alpha=1e6", (9, 18)) == pytest.approx((right, below), abs=0.01)
    assert right > below + 0.03


def test_fmix_gives_no_source_the_middle_of_the_noise():
    """Three equal stretches of ranks: the middle one has the ragged regions, and each source is it as often."""
    mask = mask_of("fmix:k=3,alpha=1e6", CodeShape(N // 4, (1, 8, 8)))
    same = (mask[:, :, 1:] == mask[:, :, :-1]).double().mean((2, 3))
    for a, b in ((0, 1), (1, 2)):
        assert off((same[a] - same[b])[None], 0) < 6


# --- grid


def test_a_patch_comes_whole_from_one_source_and_sides_differ_by_one_at_most():
    mask = mask_of("grid:k=3,cells=3,p_per=unit", CodeShape(2000, (1, 8, 4)))
    rows, columns = [0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 1, 2]
    patch = torch.tensor(rows)[:, None] * 3 + torch.tensor(columns)
    for number in range(9):
        inside = mask[:, :, patch == number]
        assert (inside == inside[..., :1]).all()
    assert abs(correlation(mask[0, :, 2, 0], mask[0, :, 3, 0])) < 6 / 2000**0.5


def test_a_side_shorter_than_the_grid_has_a_patch_for_each_position():
    narrow = mask_of("grid:cells=64,p_per=unit", CodeShape(N, (1, 2, 1)))[0, :, :, 0].T
    assert abs(correlation(narrow[0], narrow[1])) < 6 / N**0.5


def test_patches_with_one_q_are_correlated_by_a_third_and_independent_ones_are_not():
    by_example = mask_of("grid", CodeShape(N, (1, 2, 2)))[0].flatten(1).T
    assert correlation(by_example[0], by_example[3]) == pytest.approx(1 / 3, abs=6 / N**0.5)
    by_unit = mask_of("grid:p_per=unit", CodeShape(N, (1, 2, 2)))[0].flatten(1).T
    assert abs(correlation(by_unit[0], by_unit[3])) < 6 / N**0.5


def test_grid_with_a_given_p_keeps_that_much_of_the_first_and_divides_the_rest():
    mask = mask_of("grid:k=3,p=0.8", CodeShape(N, (1, 2, 2)))
    for source, share in zip(mask, (0.8, 0.1, 0.1)):
        assert off(source.permute(1, 2, 0), share) < 6


# --- spatial


def test_spatial_weights_are_independent_between_positions_and_one_for_all_feature_maps():
    share = ZOO.recipe("mixer", "spatial").draw(CodeShape(N, (3, 1, 2)), rng_for(0, "mix"))[0].double()
    assert share.shape == (N, 1, 1, 2)
    left, right = share.flatten(1).T
    assert abs(correlation(left, right)) < 6 / N**0.5
    assert (left.sort().values - (torch.arange(N) + 0.5) / N).abs().max() < 3.27 / N**0.5


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_spatial_has_the_mean_and_variance_of_its_dirichlet(alpha):
    share = ZOO.recipe("mixer", f"spatial:k=3,alpha={alpha}").draw(CodeShape(N // 4, (1, 2, 2)), rng_for(0, "mix"))
    variance = 2 / (9 * (3 * alpha + 1))
    assert (share.double().flatten(1).mean(1) - 1 / 3).abs().max() < 6 * (variance / N) ** 0.5
    assert share.double().flatten(1).var(1).tolist() == pytest.approx([variance] * 3, rel=0.05)
