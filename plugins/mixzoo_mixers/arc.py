"""Slerp: from one code to another along the arc between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mixzoo import CodeShape, Mixed


@dataclass(frozen=True)
class Slerp:
    """Spherical interpolation of two codes: the direction on the arc, the length in between (White 2016).

    h_mix = ((1-t) ‖h₁‖ + t ‖h₂‖) (sin((1-t) θ) u₁ + sin(t θ) u₂) / sin θ
    u = h / ‖h‖,   cos θ = u₁ · u₂,   t ~ U(0, 1), one for each example;   norms over the whole code, flattened

    The share is (1-t, t), the part of the arc, 1/2 each on average; h_mix is not the sum of shares times codes.
    Where no arc is determined, opposite codes (within √eps of the dtype) or a code of zeros, h_mix is
    (1-t) h₁ + t h₂. Both ends are exact.
    """

    k: ClassVar[int] = 2
    needs_map: ClassVar[bool] = False
    skipped_checks: ClassVar[Mapping[str, str]] = {
        "share_is_used": "the share is the part of the arc; the codes' weights depend on the angle between them",
        "stays_between_sources": "an arc bulges out of the box that its ends span",
        "moves_with_shift_and_scale": "the arc is around the origin",
        "gradient_is_share": "the codes' weights depend on the codes",
    }

    def draw(self, shape: CodeShape, rng: Generator) -> Float[Tensor, "2 batch *ones"]:
        t = torch.rand(shape.batch, generator=rng)
        return shape.broadcast(torch.stack([1 - t, t]))

    def __call__(
        self, h: Float[Tensor, "2 batch *latent"], draw: Float[Tensor, "2 batch *ones"], labels: Tensor | None = None
    ) -> Mixed:
        exact = h.to(torch.promote_types(h.dtype, torch.float32))  # half precision cannot hold squares of codes
        weight = arc_weights(exact, draw.to(exact.dtype))
        return Mixed(h=(weight * exact).sum(0).to(h.dtype), share=draw.to(h.dtype))

    def at(self, point: Float[Tensor, " 2"], shape: CodeShape) -> Float[Tensor, "2 batch *ones"]:
        return shape.broadcast(point[:, None].expand(-1, shape.batch))


def arc_weights(
    h: Float[Tensor, "2 batch *latent"], share: Float[Tensor, "2 batch *ones"]
) -> Float[Tensor, "2 batch *ones"]:
    """What each code is multiplied by to land on the arc.

    Every root and quotient has a safe operand put in where its result is not used: `where` alone would leave the NaN of
    the branch that was not taken in the gradient.
    """
    eps, least = torch.finfo(h.dtype).eps, torch.finfo(h.dtype).tiny ** 0.5
    latent = tuple(range(2 - h.ndim, 0))
    square = h.square().sum(latent, keepdim=True)
    empty = (square < least).any(0)
    norm = torch.where(square < least, 1, square).sqrt()  # [2 batch *ones]
    along = (h[0] / norm[0] + h[1] / norm[1]).square().sum(latent, keepdim=True)  # (2 cos θ/2)²
    # That is exact near opposite codes, where the arc hangs on θ; near parallel ones, where 4 - along is not, it is
    # within θ² of a line.
    apart = (4 - along).clamp(min=0)  # (2 sin θ/2)²
    parallel, opposite = apart < eps, along < eps
    half = torch.atan2(torch.where(parallel | empty, 1, apart).sqrt(), torch.where(opposite | empty, 1, along).sqrt())
    turned = torch.where(parallel, share, torch.sin(share * 2 * half) / torch.sin(2 * half))
    length = (share * norm).sum(0)
    return torch.where(opposite | empty, share, turned * (length / norm))
