"""The mixers in anybody's own loop: one part by its spec, and one call that mixes a batch, partners and draws included.

    mixed = mixzoo.mix(h, "bernoulli:k=3", seed=0, step=step)
    loss = cross_entropy(head(mixed.h), mixed.of(one_hot(y, classes).float()))

Codes are vectors [batch, features] or maps [batch, channels, height, width]. Images are maps too:
`mixzoo.mix(x, "mixup")` is mixup in pixel space, the paper's baseline row.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mixzoo.draws import partners, rng_for, to_device
from mixzoo.errors import ConfigError, listing, nearest, shown
from mixzoo.mixing import drawn, needs_map
from mixzoo.plugins import KINDS, Zoo, load_zoo
from mixzoo.protocols import CodeShape, Mixer, Setting
from mixzoo.resynthesis import sources
from mixzoo.spec import parse_spec
from mixzoo.strides import canonical
from mixzoo.training.build import built, refuse_vector_codes


class MixedBatch(NamedTuple):
    """A batch of mixes, and of what each was made."""

    h: Float[Tensor, "batch *latent"]
    share: Float[Tensor, "k batch *latent_or_ones"]  # of each source at each position, sums to 1 over k
    sources: Int[Tensor, "k batch"]  # which examples of the batch; sources[0] is the example itself
    labels: Float[Tensor, "batch classes"] | None = None  # y_mix of a label-conditioned mixer

    @property
    def weights(self) -> Float[Tensor, "k batch"]:
        """The share of each source averaged over the code; sums to 1 over k."""
        return self.share.flatten(2).mean(2)

    def of(self, values: Shaped[Tensor, "batch *value"]) -> Float[Tensor, "batch *value"]:
        """Anything that the examples have one of, in the same proportions: one-hot labels (integers too), losses."""
        picked = values[self.sources]  # [k batch *value]
        weights = self.weights.to(values.dtype if values.is_floating_point() else self.share.dtype)
        return (weights.reshape(*weights.shape, *[1] * (picked.ndim - 2)) * picked).sum(0)


def create(
    kind: str,
    spec: str,
    *,
    image_shape: tuple[int, int, int] = (1, 32, 32),
    classes: int = 0,
    latent_shape: tuple[int, ...] = (),
    seed: int = 0,
) -> Any:
    """The part that a spec names: `create("mixer", "dirichlet:k=4")`, `create("objective", "amr:lam=5")`.

    A part that has weights or must know the data is built for `image_shape`, `classes` and `latent_shape`, its weights
    seeded by `seed`; a data set comes back ready to `load(seed)`. Raises ConfigError for a spec that is not allowed.
    """
    if kind not in KINDS:
        raise ConfigError(f"{shown(kind)} is no kind of part ({listing(KINDS)}).{nearest(kind, KINDS)}")
    return _created(load_zoo(), kind, spec, Setting(image_shape, classes, latent_shape), seed)


def mix(
    h: Shaped[Tensor, "batch *latent"],
    mixer: str | Mixer,
    *,
    seed: int = 0,
    step: int = 0,
    progress: float = 1.0,
    labels: Shaped[Tensor, "batch *attributes"] | None = None,
) -> MixedBatch:
    """Each example of the batch mixed with k-1 others, differentiable in h.

    Partners and draws are a function of (seed, step), those that a training run with this seed has at this step, on any
    device. A mixer with weights has to be made once, with `create`, and passed in place of a spec. Raises ConfigError
    for a spec that is not allowed, for h that is not of floating-point numbers, and for a mixer of positions where h is
    no batch of maps.
    """
    if h.ndim < 2 or not h.is_floating_point():
        raise ConfigError(
            f"h is {h.dtype} of shape {tuple(h.shape)}; codes and images are batches of floating-point numbers, "
            "[batch, features] or [batch, channels, height, width]; stored bytes v are v / 127.5 - 1"
        )
    h, labels = canonical(h), None if labels is None else canonical(labels)
    shape = CodeShape(len(h), tuple(h.shape[1:]))
    part = _mixer(mixer, shape.latent) if isinstance(mixer, str) else mixer
    if needs_map(part) and len(shape.latent) != 3:
        refuse_vector_codes(load_zoo(), mixer if isinstance(mixer, str) else type(part).__name__, part, shape.latent)
    others = partners(part.k, shape.batch, rng_for(seed, "partners", step))
    draw = to_device(drawn(part, shape, rng_for(seed, "mix", step), progress), h.device)
    others = others.to(h.device)
    label_sources = None if labels is None else sources(labels, others)
    mixed = part(sources(h, others), draw, label_sources)
    which = torch.cat([torch.arange(len(h), device=h.device)[None], others])
    return MixedBatch(mixed.h, mixed.share, which, mixed.labels)


@lru_cache(maxsize=64)
def _mixer(spec: str, latent: tuple[int, ...]) -> Mixer:
    """A mixer without weights, found once: a loop asks for the same one at every step."""
    make_it = "make it once with mixzoo.create('mixer', ..., latent_shape=..., classes=...) and pass it"
    try:
        mixer: Mixer = _created(load_zoo(), "mixer", spec, Setting((1, 1, 1), 0, latent), 0)
    except ConfigError as err:
        if "the data have none" not in str(err):
            raise
        raise ConfigError(f"mixer {spec!r} must know the number of classes; {make_it}") from err
    if isinstance(mixer, torch.nn.Module) and any(True for _ in mixer.parameters()):
        raise ConfigError(f"mixer {spec!r} has weights, which a call by spec would make anew each time; {make_it}")
    return mixer


def _created(zoo: Zoo, kind: str, spec: str, setting: Setting, seed: int) -> Any:
    name = parse_spec(spec, kind).name
    return built(zoo.recipe(kind, spec), kind, name, setting, seed)
