"""Slerp: spherical interpolation between two codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mixzoo import CodeShape, Mixed


@dataclass(frozen=True)
class Slerp:
    """Spherical interpolation of two codes: the direction follows the arc, the length is interpolated (White 2016).

    h_mix = ((1-t) ‖h₁‖ + t ‖h₂‖) (sin((1-t) θ) u₁ + sin(t θ) u₂) / sin θ
    u = h / ‖h‖,   cos θ = u₁ · u₂,   t ~ U(0, 1), one per example;   norms over the whole code, flattened

    The share is (1-t, t), the fraction of the arc, 1/2 each on average; h_mix is not the sum of shares times codes.
    If no arc is defined, between opposite codes (within √eps of the dtype) or with a code of zeros, h_mix is
    (1-t) h₁ + t h₂. Both ends are exact.
    """

    k: ClassVar[int] = 2
    needs_map: ClassVar[bool] = False
    skipped_checks: ClassVar[Mapping[str, str]] = {
        "share_is_used": "the share is the fraction of the arc; the codes' weights depend on the angle between them",
        "stays_between_sources": "an arc leaves the box that its ends span",
        "moves_with_shift_and_scale": "the arc is centred on the origin",
        "gradient_is_share": "the codes' weights depend on the codes",
    }

    def draw(self, shape: CodeShape, rng: Generator) -> Float[Tensor, "2 batch *ones"]:
        t = torch.rand(shape.batch, generator=rng)
        return shape.broadcast(torch.stack([1 - t, t]))

    def __call__(
        self, h: Float[Tensor, "2 batch *latent"], draw: Float[Tensor, "2 batch *ones"], labels: Tensor | None = None
    ) -> Mixed:
        exact = h.to(torch.promote_types(h.dtype, torch.float32))  # squares of codes overflow half precision
        weight = arc_weights(exact, draw.to(exact.dtype))
        return Mixed(h=(weight * exact).sum(0).to(h.dtype), share=draw.to(h.dtype))

    def at(self, point: Float[Tensor, " 2"], shape: CodeShape) -> Float[Tensor, "2 batch *ones"]:
        return shape.broadcast(point[:, None].expand(-1, shape.batch))


def arc_weights(
    h: Float[Tensor, "2 batch *latent"], share: Float[Tensor, "2 batch *ones"]
) -> Float[Tensor, "2 batch *ones"]:
    """The factor of each code whose sum lies on the arc.

    Every root and quotient gets a safe operand where its result is not used: with `where` alone, the NaN of the branch
    that is not taken would stay in the gradient.
    """
    eps, least = torch.finfo(h.dtype).eps, torch.finfo(h.dtype).tiny ** 0.5
    latent = tuple(range(2 - h.ndim, 0))

    # The norms, and which examples have a code of zeros.
    square = h.square().sum(latent, keepdim=True)
    empty = (square < least).any(0)
    norm = torch.where(square < least, 1, square).sqrt()  # [2 batch *ones]

    # The angle from |u₁ + u₂|, which is exact near opposite codes, where the arc is most sensitive to θ. Near parallel
    # codes 4 - along is inexact, but there the arc is within θ² of a line.
    along = (h[0] / norm[0] + h[1] / norm[1]).square().sum(latent, keepdim=True)  # (2 cos θ/2)²
    apart = (4 - along).clamp(min=0)  # (2 sin θ/2)²
    parallel, opposite = apart < eps, along < eps
    half = torch.atan2(torch.where(parallel | empty, 1, apart).sqrt(), torch.where(opposite | empty, 1, along).sqrt())

    # sin(share θ) / sin θ, or the share itself on a line; the length is interpolated on its own.
    turned = torch.where(parallel, share, torch.sin(share * 2 * half) / torch.sin(2 * half))
    length = (share * norm).sum(0)
    return torch.where(opposite | empty, share, turned * (length / norm))
