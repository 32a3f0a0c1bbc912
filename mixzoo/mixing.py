"""Bases that turn one method, `draw`, into a whole mixer: h_mix = sum_i share_i * h_i, for any k.

Nearly every mixing function has that form; mixers differ in how the share is drawn: one number per example, one per
feature map, one-hot per feature map or region, one per position.
"""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Generator, Tensor, where

from mixzoo.protocols import CodeShape, Draw, HasDrawAt, HasNeedsMap, Mixed, Mixer


def draw_for(mixer: Mixer, shape: CodeShape, rng: Generator, progress: float = 1.0) -> Draw:
    """The mixer's draw at this progress of the training, from 0 to 1; most laws do not depend on it."""
    return mixer.draw_at(shape, rng, progress) if isinstance(mixer, HasDrawAt) else mixer.draw(shape, rng)


def needs_map(mixer: object) -> bool:
    """Whether the mixer mixes positions of a map, so that vector codes have nothing for it to mix."""
    return isinstance(mixer, HasNeedsMap) and bool(mixer.needs_map)


def label_vectors(labels: Shaped[Tensor, "k batch *attributes"], width: int) -> Float[Tensor, "k batch label"]:
    """y of each source: one-hot over `width` classes for integer classes, attributes as they are."""
    if labels.ndim > 2:
        return labels.float()
    return (labels[..., None] == torch.arange(width, device=labels.device)).float()  # one_hot would wait for a GPU


def mixed_labels(mixed: Mixed, y: Float[Tensor, "k batch label"]) -> Float[Tensor, "batch label"]:
    """y_mix: what the mixer aimed at or, where it aims at none, Σᵢ s̄ᵢ yᵢ with s̄ the share averaged over the code."""
    if mixed.labels is not None:
        return mixed.labels
    average = mixed.share.reshape(*mixed.share.shape[:2], -1).mean(2, keepdim=True)  # [k batch 1]
    return (average.to(y.dtype) * y).sum(0)


class LinearMixer:
    """Mixes by weights: `draw` returns the share itself, non-negative, sum 1 over k, [k batch *broadcastable].

    Gives `__call__` for any such share and `at` for mixers whose share is one number per example; one with a finer
    share writes its own `at`.
    """

    needs_map: ClassVar[bool] = False

    def __call__(
        self, h: Float[Tensor, "k batch *latent"], draw: Float[Tensor, "k batch *ones"], labels: Tensor | None = None
    ) -> Mixed:
        share = draw.to(h.dtype)  # drawn in float32 whatever the precision of the codes
        return Mixed(h=(share * h).sum(0), share=share)

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> Float[Tensor, "k batch *ones"]:
        return shape.broadcast(point[:, None].expand(-1, shape.batch))


class MaskMixer:
    """Mixes by picking: `draw` returns a mask, true for exactly one of the k sources, [k batch *broadcastable].

    Picks with `where`, not by multiplying: the source that is picked comes through bit for bit, and what is in the
    others (an infinity, a NaN) stays out.
    """

    needs_map: ClassVar[bool] = False

    def __call__(
        self, h: Float[Tensor, "k batch *latent"], draw: Bool[Tensor, "k batch *ones"], labels: Tensor | None = None
    ) -> Mixed:
        mixed = h[-1]
        for mask, source in zip(draw[:-1], h[:-1], strict=True):  # over the k sources, not over examples
            mixed = where(mask, source, mixed)
        return Mixed(h=mixed, share=draw.to(h.dtype))
