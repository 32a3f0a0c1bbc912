"""Mixers in a training loop of your own: `create` a part by its spec, or `mix` a batch in one call.

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

from mixzoo.core.errors import ConfigError, truncated_repr
from mixzoo.core.mixing import draw_for, gather_sources, needs_map
from mixzoo.core.parts import BuildContext, CodeShape, Mixer
from mixzoo.core.random import partners, rng_for, to_device
from mixzoo.core.strides import canonical
from mixzoo.registry.building import build_part, check_takes_codes
from mixzoo.registry.kinds import kind_named
from mixzoo.registry.zoo import load_zoo


class MixedBatch(NamedTuple):
    """A batch of mixes, and what each was made of."""

    h: Float[Tensor, "batch *latent"]
    share: Float[Tensor, "k batch *latent_or_ones"]  # of each source at each position, sums to 1 over k
    sources: Int[Tensor, "k batch"]  # which examples of the batch; sources[0] is the example itself
    labels: Float[Tensor, "batch classes"] | None = None  # y_mix of a label-conditioned mixer

    @property
    def weights(self) -> Float[Tensor, "k batch"]:
        """The share of each source averaged over the code; sums to 1 over k."""
        return self.share.flatten(2).mean(2)

    def of(self, values: Shaped[Tensor, "batch *value"]) -> Float[Tensor, "batch *value"]:
        """Values of the examples, such as one-hot labels (integers too) or losses, mixed in the same proportions.

        Raises ConfigError if there is not one value for each example.
        """
        examples = self.sources.shape[1]
        if values.ndim == 0 or len(values) != examples:
            raise ConfigError(
                f"values are of shape {tuple(values.shape)}, and the batch has {examples} examples; each has its own"
            )
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

    A part that has weights or must know the data is built for `image_shape`, `classes` and `latent_shape`, with weights
    initialised from `seed`; a data set is returned ready to `load(seed)`. Raises ConfigError if the spec is not allowed
    or no images or codes have such a shape.
    """
    kind = kind_named(kind).name
    if not _are_sizes(image_shape) or len(image_shape) != 3:
        raise ConfigError(
            f"image_shape={truncated_repr(image_shape)} must be (channels, height, width), such as (1, 32, 32)"
        )
    if not _are_sizes(latent_shape) or len(latent_shape) not in (0, 1, 3):
        raise ConfigError(
            f"latent_shape={truncated_repr(latent_shape)} must be (features,) or (channels, height, width), () if "
            "there is none"
        )
    zoo = load_zoo()
    parsed = zoo.spec(kind, spec)
    context = BuildContext(image_shape, classes, latent_shape)
    return build_part(zoo.recipe(kind, parsed), kind, parsed.name, context, seed)


def _are_sizes(shape: object) -> bool:
    """Whether it is a tuple or list of positive integers."""
    return isinstance(shape, tuple | list) and all(type(size) is int and size > 0 for size in shape)


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

    Partners and draws depend on (seed, step) alone: they are those of a training run with this seed at this step, on
    any device. A mixer with weights has to be made once, with `create`, and passed instead of a spec. Raises
    ConfigError if the spec is not allowed or `mixer` is none, if h is no batch of floating-point numbers, if labels
    have another length or device, and if the mixer mixes positions and h is no batch of maps.
    """
    # Everything is checked first: a mistake here is the caller's, who gets one line about it.
    _check_codes(h)
    if labels is not None:
        _check_labels(labels, h)
    if not isinstance(mixer, str) and (isinstance(mixer, type) or not isinstance(mixer, Mixer)):
        raise ConfigError(
            f"mixer is {truncated_repr(mixer)}; give a spec, such as 'dirichlet:k=4', or what "
            "mixzoo.create('mixer', ...) makes"
        )

    # Canonical strides, so that results do not depend on how the caller's tensors lie in memory.
    h, labels = canonical(h), None if labels is None else canonical(labels)
    shape = CodeShape(len(h), tuple(h.shape[1:]))
    part = _mixer(mixer, shape.latent) if isinstance(mixer, str) else mixer
    if needs_map(part) and len(shape.latent) != 3:
        check_takes_codes(load_zoo(), mixer if isinstance(mixer, str) else type(part).__name__, part, shape.latent)

    # The same purposes as in a training step, so that a run's mixes can be made again.
    others = partners(part.k, shape.batch, rng_for(seed, "partners", step))
    draw = to_device(draw_for(part, shape, rng_for(seed, "mix", step), progress), h.device)
    others = others.to(h.device)
    label_sources = None if labels is None else gather_sources(labels, others)
    mixed = part(gather_sources(h, others), draw, label_sources)
    which = torch.cat([torch.arange(len(h), device=h.device)[None], others])
    return MixedBatch(mixed.h, mixed.share, which, mixed.labels)


def _check_codes(h: object) -> None:
    """Raises ConfigError, with what is allowed, if `h` is no batch of codes or images."""
    fits = "[batch, features] or [batch, channels, height, width]"
    if not isinstance(h, Tensor):
        raise ConfigError(f"h is a {type(h).__name__}; codes and images are tensors of floating-point numbers, {fits}")
    if h.ndim < 2 or not h.is_floating_point():
        raise ConfigError(
            f"h is {h.dtype} of shape {tuple(h.shape)}; codes and images are batches of floating-point numbers, "
            f"{fits}; stored bytes v are v / 127.5 - 1"
        )
    if h.ndim == 3 and len(h) == 1:  # a grey image; a batch of one would be mixed with itself
        raise ConfigError(
            f"h is of shape {tuple(h.shape)}, one image without an axis for the batch; {fits}, so h[None]"
        )
    if not h.numel():
        raise ConfigError(f"h is of shape {tuple(h.shape)}, which is empty; {fits}")


def _check_labels(labels: object, h: Tensor) -> None:
    """Raises ConfigError if there is not one label for each example of h, on the same device."""
    if not isinstance(labels, Tensor):
        raise ConfigError(f"labels are a {type(labels).__name__}; give a tensor, [batch] or [batch, attributes]")
    if labels.ndim == 0 or len(labels) != len(h):
        raise ConfigError(f"labels are of shape {tuple(labels.shape)}, and h is a batch of {len(h)}; each has its own")
    if labels.device != h.device:
        raise ConfigError(f"labels are on {labels.device} and h is on {h.device}; use labels.to(h.device)")


@lru_cache(maxsize=64)
def _mixer(spec: str, latent: tuple[int, ...]) -> Mixer:
    """A mixer without weights, cached, as a loop asks for the same one at every step."""
    make_it = "make it once with mixzoo.create('mixer', ..., latent_shape=..., classes=...) and pass it"
    zoo = load_zoo()
    parsed = zoo.spec("mixer", spec)
    recipe = zoo.recipe("mixer", parsed)
    try:
        mixer: Mixer = build_part(recipe, "mixer", parsed.name, BuildContext((1, 1, 1), 0, latent))
    except ConfigError as err:  # most likely it mixes by label, and how many classes there are is not known here
        raise ConfigError(f"{err}. If it must know the number of classes, {make_it}") from err
    if isinstance(mixer, torch.nn.Module) and any(True for _ in mixer.parameters()):
        raise ConfigError(f"mixer {spec!r} has weights, which each call with a spec would make anew; {make_it}")
    return mixer
