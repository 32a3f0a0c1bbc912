"""How much of the simplex the draws of a mixer reach, and how much of a map that is not square."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixzoo.testing.cases import fixed_latent, law_case
from mixzoo.testing.mixer_laws import shares_of

EXPECTED = 50  # mixes that should show something, for its absence to be no chance
WIDE_AND_TALL = ((1, 4, 12), (1, 12, 4))
VARIED = 500  # mixes with several sources, for positions that always agree to tell
MOST = 250  # draws of 32 mixes
LARGEST = 4.5  # a patch may have so many times as many positions as the middle one; those at an edge are cut


def law_sources_meet_in_one_mix(part: Any, samples: int) -> None:
    """Some draws mix: every two sources meet in one mix, and three of three or more do."""
    case = law_case(part, batch=8, latent=(6, 4, 12))
    if math.prod(case.shape.latent) == 1:
        return  # a code of one number can be one source's alone
    rows, k = [], case.mixer.k
    for share in shares_of(case, samples):
        rows.append((share.flatten(2).mean(2) > 0).T.float())
        if rows[-1].sum(1).max() == k:
            return  # all of them in one mix, and so any two
    held = torch.cat(rows)  # [mixes k]
    mixes = len(held)
    several = float((held.sum(1) >= 2).sum())
    assert several, f"each of {mixes} mixes is one source alone"

    # Which pair it is should be a matter of chance, so that none of EXPECTED is none because there is none.
    together = held.T @ held
    pairs = [(i, j) for i in range(k) for j in range(i)]
    apart = [pair for pair in pairs if not together[pair]]
    if apart and several / len(pairs) >= EXPECTED:
        raise AssertionError(f"sources {apart[0][1]} and {apart[0][0]} never meet in one mix, in {mixes} mixes")

    # Where two of three meet at all often, three should: the third meets them with about the same chance.
    enough = several**2 / mixes >= 2 * EXPECTED and math.prod(case.shape.latent) >= 6
    if k >= 3 and enough:
        most = int(held.sum(1).max())
        assert most >= 3, f"no mix holds more than two of its {k} sources, in {mixes} mixes"


def has_three_sources(part: Any) -> str:
    return "" if law_case(part, batch=1).mixer.k >= 3 else "it has two sources, whose shares sum to 1"


def law_no_two_sources_are_tied(part: Any, samples: int) -> None:
    """The shares of k sources move in k - 1 directions: nothing ties them together but that they sum to 1."""
    case, rows = law_case(part, batch=32), []
    for share in shares_of(case, min(samples // 4, MOST)):
        flat = share.flatten(2)
        places = sorted({0, flat.shape[2] // 2, flat.shape[2] - 1})
        rows.append(flat[:, :, places].flatten(1).T)
    values = torch.cat(rows).double()  # [mixes k]
    k = values.shape[1]
    spread, directions = torch.linalg.eigh(torch.cov(values.T))  # ascending; one is the sum, which does not move
    total = float(spread[-1])
    if total > 1e-8 and float(spread[1]) < 1e-6 * total:
        still = torch.linalg.qr(torch.cat([torch.ones(k, 1).double(), directions[:, :2]], 1)).Q[:, 1]
        tied = sorted(int(i) for i in still.abs().topk(2).indices)
        raise AssertionError(
            f"the shares of sources {tied[0]} and {tied[1]} are tied to each other, or one never moves"
        )


def law_maps_are_cut_everywhere(part: Any, samples: int) -> None:
    """On wide and tall maps (4x12, 12x4) no part is one source in every mix, unless it is a patch like the others."""
    for latent in WIDE_AND_TALL if not fixed_latent(part) else ():
        case = law_case(part, batch=32, latent=latent)
        seen = [_codes(share) for share in shares_of(case, min(samples // 4, MOST))]
        codes = torch.cat(seen)
        varied = int((codes != codes[:, :1]).any(1).sum())
        if varied < VARIED:
            continue  # hardly a mix has two sources
        patch = positions_that_agree(codes)
        sizes = patch.bincount()
        middle = float(sizes.float().sort().values[(len(sizes) - 1) // 2])
        largest = int(sizes.argmax())
        if float(sizes[largest]) > LARGEST * middle:
            width = case.shape.latent[2]
            first, last = (divmod(int(i), width) for i in (patch == largest).nonzero().flatten()[[0, -1]])
            raise AssertionError(
                f"on maps {case.shape.latent[1]}x{width}, {int(sizes[largest])} of {len(patch)} positions, from "
                f"{first} to {last}, have one source in each of {len(codes)} mixes: is a border left out, or is the "
                "height taken for the width?"
            )


def _codes(share: Float[Tensor, "k batch channels height width"]) -> Float[Tensor, "batch positions"]:
    """A number for the shares at each position, the same exactly where they are."""
    rng = torch.Generator().manual_seed(0)
    weights = torch.rand(share.shape[0], share.shape[2], generator=rng, dtype=torch.float64)
    return torch.einsum("kbcp,kc->bp", share.flatten(3).double(), weights)


def positions_that_agree(codes: Float[Tensor, "mixes positions"]) -> Int[Tensor, " positions"]:
    """The number of the set that each position is in; those of a set have the same shares in every mix."""
    number: Tensor = torch.unique(codes.T, dim=0, return_inverse=True)[1]
    return number
