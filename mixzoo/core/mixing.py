"""Base classes that turn one method, `draw`, into a complete mixer: h_mix = sum_i share_i * h_i, for any k.

Nearly every mixing function has that form. Mixers differ in how the share is drawn: one number per example, per feature
map or per position, or one-hot per feature map or region.
"""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Generator, Tensor, where

from mixzoo.core.parts import CodeShape, Draw, HasDrawAt, HasNeedsMap, Mixed, Mixer


def draw_for(mixer: Mixer, shape: CodeShape, rng: Generator, progress: float = 1.0) -> Draw:
    """Returns a draw of the mixer at this progress of training, in [0, 1]. Most mixers do not depend on it."""
    return mixer.draw_at(shape, rng, progress) if isinstance(mixer, HasDrawAt) else mixer.draw(shape, rng)


def needs_map(mixer: object) -> bool:
    """Whether the mixer mixes positions of a map, and so cannot mix vector codes."""
    return isinstance(mixer, HasNeedsMap) and bool(mixer.needs_map)


def dirichlet(shape: tuple[int, ...], alpha: float, rng: Generator) -> Float[Tensor, "k *rest"]:
    """Points of the simplex over the first axis ~ Dirichlet(alpha, …, alpha), float32.

    Normalised Gamma(alpha) variables, by their logarithms, as Gamma(a) = Gamma(a + 1) U^(1/a): for a small alpha the
    variables themselves underflow and give 0/0. torch.distributions takes no generator.
    """
    gamma = torch._standard_gamma(torch.full(shape, alpha + 1, dtype=torch.float64), generator=rng)
    uniform = torch.rand(shape, dtype=torch.float64, generator=rng)
    return (gamma.log() + uniform.log() / alpha).softmax(0).float()


def gather_sources(
    h: Shaped[Tensor, "batch *latent"], partners: Int[Tensor, "others batch"]
) -> Shaped[Tensor, "k batch *latent"]:
    """The k sources of each mix, or their labels: the batch itself, then its partners."""
    return torch.stack([h, *(h[row] for row in partners)])


class LinearMixer:
    """A mixer that weighs its sources: `draw` returns the share, [k batch *broadcastable], in [0, 1], sum 1 over k.

    Provides `__call__`, h_mix = Σᵢ shareᵢ hᵢ, and an `at` with one share per example.
    """

    needs_map: ClassVar[bool] = False

    def __call__(
        self, h: Float[Tensor, "k batch *latent"], draw: Float[Tensor, "k batch *ones"], labels: Tensor | None = None
    ) -> Mixed:
        share = draw.to(h.dtype)  # drawn in float32 whatever the dtype of the codes
        return Mixed(h=(share * h).sum(0), share=share)

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> Float[Tensor, "k batch *ones"]:
        return shape.broadcast(point[:, None].expand(-1, shape.batch))


class MaskMixer:
    """A mixer that picks: `draw` returns a mask [k batch *broadcastable], true for exactly one of the k sources.

    Provides `__call__`, which picks with `where` and does not multiply: the source that is picked is copied bit for
    bit, and an infinity or a NaN in another one has no effect. A subclass provides `at`.
    """

    needs_map: ClassVar[bool] = False

    def __call__(
        self, h: Float[Tensor, "k batch *latent"], draw: Bool[Tensor, "k batch *ones"], labels: Tensor | None = None
    ) -> Mixed:
        mixed = h[-1]
        for mask, source in zip(draw[:-1], h[:-1], strict=True):  # over the k sources, not over examples
            mixed = where(mask, source, mixed)
        return Mixed(h=mixed, share=draw.to(h.dtype))
