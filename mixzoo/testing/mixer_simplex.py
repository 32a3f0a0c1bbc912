"""What every mixer promises about its coverage: of the simplex by its draws, and of maps that are not square."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixzoo.testing.cases import fixed_latent, law_case
from mixzoo.testing.mixer_laws import shares_of

EXPECTED = 50  # an event that is expected in this many mixes but never happens is impossible, not rare
WIDE_AND_TALL = ((1, 4, 12), (1, 12, 4))
VARIED = 500  # mixes with several sources that are needed to find positions that always agree
MAX_DRAWS = 250  # of 32 mixes each
LARGEST = 4.5  # largest size of a patch relative to the median patch; patches at an edge are smaller


def law_sources_meet_in_one_mix(part: Any, samples: int) -> None:
    """Sources are combined: any two occur together in some mix, and if k >= 3 some mixes use three."""
    case = law_case(part, batch=8, latent=(6, 4, 12))
    if math.prod(case.shape.latent) == 1:
        return  # a code of one number may come from one source
    rows, k = [], case.mixer.k
    for share in shares_of(case, samples):
        rows.append((share.flatten(2).mean(2) > 0).T.float())
        if rows[-1].sum(1).max() == k:
            return  # all sources in one mix, so any two of them
    present = torch.cat(rows)  # [mixes k]
    mixes = len(present)
    several = float((present.sum(1) >= 2).sum())
    assert several, f"each of {mixes} mixes is a copy of one source"

    # All pairs should be about equally frequent, so a pair that is expected EXPECTED times must occur.
    together = present.T @ present
    pairs = [(i, j) for i in range(k) for j in range(i)]
    never_together = [pair for pair in pairs if not together[pair]]
    if never_together and several / len(pairs) >= EXPECTED:
        raise AssertionError(
            f"sources {never_together[0][1]} and {never_together[0][0]} never occur together in {mixes} mixes"
        )

    # If pairs are frequent, triples should occur, since a third source joins a pair with about the same probability.
    enough = several**2 / mixes >= 2 * EXPECTED and math.prod(case.shape.latent) >= 6
    if k >= 3 and enough:
        assert int(present.sum(1).max()) >= 3, f"none of {mixes} mixes uses more than two of its {k} sources"


def has_three_sources(part: Any) -> str:
    """'' if the mixer has k >= 3."""
    return "" if law_case(part, batch=1).mixer.k >= 3 else "k is 2, so one share determines the other"


def law_no_two_sources_are_tied(part: Any, samples: int) -> None:
    """Shares vary in k - 1 directions: they satisfy no linear relation except that they sum to 1."""
    case, rows = law_case(part, batch=32), []
    for share in shares_of(case, min(samples // 4, MAX_DRAWS)):
        flat = share.flatten(2)
        positions = sorted({0, flat.shape[2] // 2, flat.shape[2] - 1})
        rows.append(flat[:, :, positions].flatten(1).T)
    values = torch.cat(rows).double()  # [mixes k]
    k = values.shape[1]
    # Eigenvalues ascend; the first is 0, for the sum of the shares, and a second 0 is another linear relation.
    spread, directions = torch.linalg.eigh(torch.cov(values.T))
    total = float(spread[-1])
    if total > 1e-8 and float(spread[1]) < 1e-6 * total:
        relation = torch.linalg.qr(torch.cat([torch.ones(k, 1).double(), directions[:, :2]], 1)).Q[:, 1]
        tied = sorted(int(i) for i in relation.abs().topk(2).indices)
        raise AssertionError(
            f"the shares of sources {tied[0]} and {tied[1]} are linearly dependent, or one is constant"
        )


def law_maps_are_cut_everywhere(part: Any, samples: int) -> None:
    """On wide and tall maps (4x12, 12x4) no region has a single source in every mix, except patches of equal size."""
    for latent in WIDE_AND_TALL if not fixed_latent(part) else ():
        case = law_case(part, batch=32, latent=latent)
        codes = torch.cat([_codes(share) for share in shares_of(case, min(samples // 4, MAX_DRAWS))])
        varied = int((codes != codes[:, :1]).any(1).sum())
        if varied < VARIED:
            continue  # too few mixes have two sources
        patch = positions_that_agree(codes)
        sizes = patch.bincount()
        median = float(sizes.float().sort().values[(len(sizes) - 1) // 2])
        largest = int(sizes.argmax())
        if float(sizes[largest]) > LARGEST * median:
            width = case.shape.latent[2]
            first, last = (divmod(int(i), width) for i in (patch == largest).nonzero().flatten()[[0, -1]])
            raise AssertionError(
                f"on maps {case.shape.latent[1]}x{width}, {int(sizes[largest])} of {len(patch)} positions, from "
                f"{first} to {last}, have the same shares in each of {len(codes)} mixes: is a border left out, or are "
                "height and width swapped?"
            )


def _codes(share: Float[Tensor, "k batch channels height width"]) -> Float[Tensor, "batch positions"]:
    """A number for the shares at each position; two numbers are equal if and only if the shares are."""
    rng = torch.Generator().manual_seed(0)
    weights = torch.rand(share.shape[0], share.shape[2], generator=rng, dtype=torch.float64)
    return torch.einsum("kbcp,kc->bp", share.flatten(3).double(), weights)


def positions_that_agree(codes: Float[Tensor, "mixes positions"]) -> Int[Tensor, " positions"]:
    """The number of the patch of each position; the positions of a patch have the same shares in every mix."""
    number: Tensor = torch.unique(codes.T, dim=0, return_inverse=True)[1]
    return number
