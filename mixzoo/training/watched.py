"""Parts whose calls are checked against their contract, for a rehearsal: a mistake is a PluginError in one line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import Parameter

from mixzoo.core.errors import ConfigError, PluginError
from mixzoo.core.parts import CodeShape, Draw, HasDrawAt, Mixed, Scores
from mixzoo.registry.contract import Contract, described


@dataclass
class WatchedAutoEncoder:
    """f and g: codes and images must have the stated shape, and the type and device of what they are made from."""

    part: Any
    contract: Contract
    image_shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        self.latent_shape: tuple[int, ...] = tuple(self.part.latent_shape)

    def __getattr__(self, name: str) -> Any:
        """The network's other attributes, such as the codebook of a quantiser, unchecked."""
        return getattr(self.part, name)

    def parameters(self) -> Iterator[Parameter]:
        weights: Iterator[Parameter] = self.part.parameters()
        return weights

    def encode(self, x: Tensor) -> Tensor:
        return self._checked("encode", x, self.latent_shape)

    def decode(self, h: Tensor) -> Tensor:
        return self._checked("decode", h, self.image_shape)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pair = self.contract.call("posterior", self.part.posterior, x)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise self.contract.broken("posterior", f"posterior returned {described(pair)}")
        for value in pair:
            check_like(self.contract, "posterior", value, x, (len(x), *self.latent_shape))
        return pair

    def _checked(self, method: str, given: Tensor, one: tuple[int, ...]) -> Tensor:
        # getattr: the name is also that of the method in the error.
        found: Tensor = self.contract.call(method, getattr(self.part, method), given)
        check_like(self.contract, method, found, given, (len(given), *one))
        return found


@dataclass
class WatchedDiscriminator:
    """D: it must give Scores: one logit an input, and label logits and reconstructions as the contract says."""

    part: Any
    contract: Contract
    input_shape: tuple[int, ...] = ()  # of one input; another shape is the choice of the objective, if this is given
    objective: str = ""

    def parameters(self) -> Iterator[Parameter]:
        weights: Iterator[Parameter] = self.part.parameters()
        return weights

    def __call__(self, x: Tensor) -> Scores:
        try:
            scores = self.contract.call("__call__", self.part, x)
        except PluginError as err:
            if not self.input_shape or tuple(x.shape[1:]) == self.input_shape:
                raise
            raise ConfigError(
                f"objective {self.objective!r} shows its discriminator inputs of shape {list(x.shape[1:])}, and "
                f"{self.contract} takes {list(self.input_shape)}; use a discriminator that is made for them, such as "
                "--discriminator codes for codes, or amr for images"
            ) from err
        if not isinstance(scores, Scores):
            raise self.contract.broken("__call__", f"a call returned {described(scores)}, which is not a mixzoo.Scores")
        check_like(self.contract, "__call__", scores.logits, x, (len(x),), "logits")
        learns = torch.is_grad_enabled() and any(weight.requires_grad for weight in self.part.parameters())
        if learns and not scores.logits.requires_grad:
            raise self.contract.broken(
                "__call__", "its logits depend on none of its weights: are they detached, or made under no_grad?"
            )
        if scores.label_logits is not None and tuple(scores.label_logits.shape[:1]) != (len(x),):
            raise self.contract.broken(
                "__call__",
                f"label_logits of {len(x)} images is {described(scores.label_logits)}, not [{len(x)}, label]",
            )
        if scores.reconstruction is not None:
            check_like(self.contract, "__call__", scores.reconstruction, x, tuple(x.shape), "reconstruction")
        return scores


@dataclass
class WatchedMixer:
    """A mixer: its draws must be tensors, its call must give Mixed of codes and shares of the right shape."""

    part: Any
    contract: Contract
    label_width: int

    @property
    def k(self) -> int:
        return int(self.part.k)

    def draw(self, shape: CodeShape, rng: Generator) -> Draw:
        return self._drawn("draw", shape, rng)

    def draw_at(self, shape: CodeShape, rng: Generator, progress: float) -> Draw:
        if not isinstance(self.part, HasDrawAt):
            return self.draw(shape, rng)
        return self._drawn("draw_at", shape, rng, progress)

    def at(self, point: Tensor, shape: CodeShape) -> Draw:
        return self._drawn("at", point, shape)

    def __call__(self, h: Tensor, draw: Draw, labels: Tensor | None = None) -> Mixed:
        mixed = self.contract.call("__call__", self.part, h, draw, labels)
        if not isinstance(mixed, Mixed):
            raise self.contract.broken(
                "__call__", f"a call returned {described(mixed)}; it must `return Mixed(h, share)`"
            )
        check_like(self.contract, "__call__", mixed.h, h, tuple(h.shape[1:]), "h")
        self._check_share(mixed.share, h)
        if mixed.labels is not None:
            expected = (h.shape[1], self.label_width)
            if not isinstance(mixed.labels, Tensor) or tuple(mixed.labels.shape) != expected:
                raise self.contract.broken(
                    "__call__",
                    f"labels of the mix are {described(mixed.labels)}, not {list(expected)}: one vector each",
                )
        return mixed

    def _drawn(self, method: str, *arguments: Any) -> Draw:
        # getattr: the name is also that of the method in the error.
        draw = self.contract.call(method, getattr(self.part, method), *arguments)
        tensors = list(draw.values()) if isinstance(draw, Mapping) else [draw]
        if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise self.contract.broken(method, f"{method} returned {described(draw)}")
        found: Draw = draw
        return found

    def _check_share(self, share: Any, h: Tensor) -> None:
        fits = isinstance(share, Tensor) and share.ndim == h.ndim and share.is_floating_point()
        fits = fits and share.shape[:2] == h.shape[:2]
        if not fits or any(size not in (1, whole) for size, whole in zip(share.shape[2:], h.shape[2:])):
            raise self.contract.broken(
                "__call__", f"share of sources {list(h.shape)} is {described(share)}; it needs an axis for each of "
                "theirs, [k, batch, ...], of the same size or of size 1"
            )  # fmt: skip


def check_like(
    contract: Contract, method: str, found: Any, given: Tensor, shape: tuple[int, ...], what: str = ""
) -> None:
    """Raises PluginError if `found` is not a tensor of this shape, with the type and device of `given`."""
    if isinstance(found, Tensor) and tuple(found.shape) == shape and (found.dtype, found.device) == (
        given.dtype, given.device
    ):  # fmt: skip
        return
    name = f"{what} of {method}" if what else method
    expected = described(given.new_empty(shape))
    raise contract.broken(method, f"{name} gives {described(found)} for {described(given)}, not {expected}")
