"""Hypothesis strategies for what checks run on: codes, images, seeds and mixer cases.

The keywords of a strategy say what is valid, not how likely it is. Maps are never square unless they are 1x1, so that
swapping height and width is noticed.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixzoo.core.mixing import draw_for, needs_map
from mixzoo.core.parts import BuildContext, CodeShape, Draw, Mixed, Mixer
from mixzoo.core.random import rng_for
from mixzoo.registry.building import build_part
from mixzoo.registry.recipes import HasBuild
from mixzoo.testing.hypotheses import strategies

CLASSES = 10  # of labels that are class numbers
ATTRIBUTES = 5  # of labels that are vectors of attributes
MAPS = ((1, 1, 1), (3, 2, 4), (2, 5, 3), (4, 1, 6), (6, 4, 2))  # for mixers that are built for one shape of code
VECTORS = ((1,), (6,))
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class MixerCase:
    """A mixer with the codes, labels and draw of one mix, all made from `seed`."""

    mixer: Mixer
    shape: CodeShape
    seed: int = 0
    dtype: torch.dtype = torch.float64
    with_labels: bool = True
    progress: float = 1.0  # of the training, for a mixer whose draws depend on it

    def __str__(self) -> str:
        return f"batch {self.shape.batch}, latent {self.shape.latent}, {str(self.dtype)[6:]}, seed {self.seed}"

    def h(self) -> Float[Tensor, "k batch *latent"]:
        """The sources, standard normal."""
        rng = torch.Generator().manual_seed(self.seed + 1)
        size = (self.mixer.k, self.shape.batch, *self.shape.latent)
        return torch.randn(size, generator=rng, dtype=torch.float64).to(self.dtype)

    def draw(self) -> Draw:
        return draw_for(self.mixer, self.shape, rng_for(self.seed, "mix"), self.progress)

    def labels(self) -> Tensor | None:
        """Class numbers [k batch], or None for a case without labels."""
        rng = torch.Generator().manual_seed(self.seed + 2)
        size = (self.mixer.k, self.shape.batch)
        return torch.randint(CLASSES, size, generator=rng) if self.with_labels else None

    def mix(self, h: Tensor | None = None, draw: Draw | None = None) -> Mixed:
        """The mix of the case, or that of other sources or another draw with the same labels."""
        return self.mixer(self.h() if h is None else h, self.draw() if draw is None else draw, self.labels())

    def but(self, **changes: Any) -> "MixerCase":
        """The case with some fields changed; the weights of a mixer are cast to the dtype of the codes."""
        changed = replace(self, **changes)
        if isinstance(self.mixer, nn.Module) and changed.dtype != self.dtype:
            return replace(changed, mixer=deepcopy(self.mixer).to(changed.dtype))
        return changed


def mixer_for(part: Any, latent: tuple[int, ...], dtype: torch.dtype | None = None, *, attributes: int = 0) -> Mixer:
    """The mixer itself, or the one that a recipe builds for codes of this shape, always with the same weights.

    It is built for data with CLASSES classes or, if given, with that many attributes. Noise is added to the weights of
    a mixer that is built from a recipe, because a layer that is initialised to zero would hide the effect of others.
    """
    classes = 0 if attributes else CLASSES
    context = BuildContext(image_shape=(1, 24, 40), classes=classes, latent_shape=latent, attributes=attributes)
    mixer: Mixer = build_part(part, "mixer", type(part).__name__, context, seed=0)
    if isinstance(mixer, nn.Module) and mixer is not part:
        perturb_weights(mixer)
    if isinstance(mixer, nn.Module) and dtype is not None:
        mixer = deepcopy(mixer).to(dtype)
    return mixer


def perturb_weights(module: nn.Module) -> None:
    """Add small, fixed noise to every weight."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=rng).to(weight))


def any_mixer(part: Any) -> Mixer:
    """The mixer for an arbitrary shape of code, for properties that hold for all shapes."""
    return mixer_for(part, fixed_latent(part) or (2, 5, 3))


def takes_vectors(part: Any) -> bool:
    """Whether the mixer accepts vector codes."""
    return not needs_map(part) and not needs_map(any_mixer(part))


def seeds() -> Any:
    """Seeds for draws."""
    return strategies().integers(0, 2**32)


def latents(*, vectors: bool = True, maps: bool = True, max_channels: int = 6, max_side: int = 6) -> Any:
    """Shapes of one code: (features,) or (channels, height, width); height and width differ unless both are 1."""
    st = strategies()
    channels = st.integers(1, max_channels)
    side = st.integers(1, max_side)
    sides = st.tuples(side, side).filter(lambda hw: hw[0] != hw[1] or hw == (1, 1))
    kinds = [channels.map(lambda c: (c,))] * vectors + [st.builds(lambda c, hw: (c, *hw), channels, sides)] * maps
    return st.one_of(kinds)


def code_shapes(*, max_batch: int = 5, vectors: bool = True, maps: bool = True, max_side: int = 6) -> Any:
    """Shapes of batches of codes, with at least one example and one position."""
    st = strategies()
    shapes = latents(vectors=vectors, maps=maps, max_side=max_side)
    return st.builds(CodeShape, st.integers(1, max_batch), shapes)


def codes(*, k: int = 2, shapes: Any = None, dtypes: Any = DTYPES) -> Any:
    """Sources [k batch *latent], standard normal."""
    st = strategies()

    def of(shape: CodeShape, dtype: torch.dtype, seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        return torch.randn(k, shape.batch, *shape.latent, generator=rng, dtype=torch.float64).to(dtype)

    return st.builds(of, code_shapes() if shapes is None else shapes, st.sampled_from(dtypes), seeds())


def images(*, channels: tuple[int, ...] = (1, 3), sides: tuple[int, ...] = (8, 12, 16), max_batch: int = 5) -> Any:
    """Images [batch channels height width] in [-1, 1], float32."""
    st = strategies()

    def of(batch: int, channel: int, height: int, width: int, seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        return torch.rand(batch, channel, height, width, generator=rng) * 2 - 1

    side = st.sampled_from(sides)
    return st.builds(of, st.integers(1, max_batch), st.sampled_from(channels), side, side, seeds())


def mixer_cases(
    part: Any, *, dtypes: Any = DTYPES, only: tuple[tuple[int, ...], ...] | None = None, max_batch: int = 5
) -> Any:
    """Cases for a mixer, or for a recipe that builds one for each shape of code; `only` lists the shapes to use.

    A mixer that needs maps gets only maps. A mixer with weights gets float64 and float32 codes, with its weights
    cast to the same dtype. A mixer that is already built and has `latent_shape` gets only codes of that shape.
    """
    st = strategies()
    if isinstance(any_mixer(part), nn.Module):
        dtypes = tuple(dtype for dtype in dtypes if dtype in (torch.float64, torch.float32))
    shapes: Any
    if isinstance(part, HasBuild) or only or fixed_latent(part):
        few = _few_latents(part) if only is None else only
        # Built here, since hypothesis allows no other randomness while it draws a case.
        mixers = {(latent, dtype): mixer_for(part, latent, dtype) for latent in few for dtype in dtypes}
        shapes = st.sampled_from(few)
    else:
        mixers, shapes = {}, latents(vectors=takes_vectors(part))

    def of(latent: tuple[int, ...], batch: int, seed: int, dtype: torch.dtype, progress: float) -> MixerCase:
        mixer = mixers.get((latent, dtype), part)
        return MixerCase(mixer, CodeShape(batch, latent), seed, dtype, progress=progress)

    progress = st.sampled_from([0.0, 0.4, 1.0])
    return st.builds(of, shapes, st.integers(1, max_batch), seeds(), st.sampled_from(dtypes), progress)


def _few_latents(part: Any) -> tuple[tuple[int, ...], ...]:
    if own := fixed_latent(part):
        return (own,)
    return MAPS + VECTORS if takes_vectors(part) else MAPS


def fixed_latent(part: Any) -> tuple[int, ...] | None:
    """The only shape of code that a built mixer accepts, if it has `latent_shape`."""
    own = None if isinstance(part, HasBuild) else getattr(part, "latent_shape", None)
    return tuple(own) if own else None


def law_case(part: Any, *, batch: int, latent: tuple[int, ...] = (2, 5, 3)) -> MixerCase:
    """A single case on a map, for statistics over many draws."""
    latent = fixed_latent(part) or latent
    return MixerCase(mixer_for(part, latent, torch.float64), CodeShape(batch, latent))


def tensors_by_name(draw: Draw) -> Mapping[str, Tensor]:
    """The tensors of a draw by name, which is '' if the draw is a single tensor."""
    return {"": draw} if isinstance(draw, Tensor) else draw


def map_draw(function: Any, draw: Draw) -> Draw:
    """The draw with the function applied to each of its tensors."""
    return function(draw) if isinstance(draw, Tensor) else {name: function(t) for name, t in draw.items()}
