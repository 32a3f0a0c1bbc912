"""Voronoi passes the checks of every mixer, and its own."""

import torch
from mixzoo import CodeShape
from mixzoo.testing import parametrize_with_checks

from mixzoo_example.voronoi import Voronoi


@parametrize_with_checks([Voronoi(k=3, cells=2)], kind="mixer")
def test_it_keeps_the_contract(check):
    check()


def test_at_a_point_each_source_has_its_part_of_the_code():
    mask = Voronoi(k=3).at(torch.tensor([0.5, 0.25, 0.25]), CodeShape(batch=2, latent=(1, 4, 6)))
    assert mask.sum(dim=(-2, -1)).flatten(1).tolist() == [[12, 12], [6, 6], [6, 6]]


def test_the_more_cells_the_more_edges():
    rng = torch.Generator().manual_seed(0)
    few, many = (
        Voronoi(cells=cells).draw(CodeShape(batch=32, latent=(1, 16, 16)), rng)[0].float() for cells in (1, 16)
    )
    assert many.diff(dim=-1).abs().mean() > 2 * few.diff(dim=-1).abs().mean()
