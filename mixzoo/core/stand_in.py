"""A made-up batch that records what an objective asks for.

An objective is called on it once before a run, to find out what the run has to provide (`requirements_of`), and many
times by the conformance kit. Codes, mixes and images are fixed smooth functions of each example, and each is a separate
leaf, so that it is known what a term depends on.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, no_type_check

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mixzoo.core.errors import PluginError
from mixzoo.core.labels import label_vectors
from mixzoo.core.objective import Batch, DiscriminatorOutput, LabelTargets, Losses, MixedCodes
from mixzoo.core.parts import Mixer
from mixzoo.core.random import DrawRequest, cached_tensor, draw_request, rng_for
from mixzoo.core.requirements import Requirements
from mixzoo.core.stand_in_discriminator import StandInDiscriminator

Role = Literal["h", "mean", "log_variance", "h_mix", "h_rec", "h_mix_rec", "x_rec", "x_mix"]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a stand-in batch."""

    examples: int
    image_shape: tuple[int, int, int]
    latent_shape: tuple[int, ...]
    classes: int = 0
    attributes: int = 0
    k: int = 2  # sources of one mix by the run's mixer

    @property
    def num_labels(self) -> int:
        """Numbers of one label as a vector; 1 if the data have no labels, so that reading them can be noted."""
        return self.attributes or self.classes or 1


@dataclass(frozen=True)
class Variation:
    """Changes to the stand-in batch of a seed; the defaults change nothing."""

    dtype: torch.dtype = torch.float64
    order: Callable[[Tensor], Tensor] = lambda tensor: tensor  # of the examples, along the first axis
    moved: Mapping[str, Tensor] = field(default_factory=dict)  # added to leaves, by name
    changed: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)  # other y, labels or y_mix
    offset: float = 0.0  # added to all of D's outputs
    level: float | None = None  # every logit, as a leaf of its own
    detached_output: bool = False  # D's outputs have no graph
    leaves: bool = True  # whether codes, images and D's weights require a gradient
    frozen: bool = False  # codes and images require none, as in a step of D alone
    share_of: Literal["example", "map", "position"] = "example"  # what one number of a share applies to
    all_labelled: bool = True


@no_type_check  # by a checker that tests turn on: it would take most of the time of the many calls
class StandInBatch(Batch):
    """A `Batch` of made-up tensors, a function of (sizes, seed), which records every call and all that is read."""

    def __init__(
        self,
        sizes: Sizes,
        seed: int = 0,
        *,
        autoencoder: Any = None,
        discriminator: Any = None,
        device: torch.device | str = "cpu",
        variation: Variation | None = None,
    ) -> None:
        self.sizes, self._seed, self._device = sizes, seed, torch.device(device)
        self.variation = variation or Variation()
        self._autoencoder, self._discriminator = autoencoder, discriminator
        self.leaves: dict[str, Tensor] = {}  # zeros added to what a network makes, and D's weights, by role and number
        self.made: dict[str, Tensor] = {}  # what the networks made, under the names of the leaves
        self.used: set[str] = set()  # the leaves that another network was given
        self.handed_out: dict[str, tuple[Tensor, Tensor, int]] = {}  # all that the objective got: it, a copy, version
        self.roles: dict[str, str] = {}  # of each leaf
        self.inputs: dict[str, Tensor] = {}  # of `discriminate`, by name
        self.output = DiscriminatorOutput({})  # all that D said
        self.read: set[str] = set()  # "labels", "y", "mixed.y", "label_logits", ...
        self.calls: list[str] = []
        self.draws: dict[str, DrawRequest] = {}
        self.constants: dict[str, Tensor] = {}  # what no network makes, by the name that an objective reads it under
        self._x = self._constant("x", self._uniform("x", sizes.image_shape))

    # What the data give

    @property
    def x(self) -> Tensor:
        return self._x

    @property
    def labels(self) -> Tensor:
        self.read.add("labels")
        return self._constant("labels", self._labels())

    @property
    def y(self) -> Tensor:
        self.read.add("y")
        y = label_vectors(self._labels()[None], self.sizes.num_labels)[0].to(self.variation.dtype)
        return self._constant("y", y * self._labelled()[:, None])

    @property
    def labelled(self) -> Tensor:
        self.read.add("labelled")
        return self._constant("labelled", self._labelled())

    # The networks

    @property
    def autoencoder(self) -> Any:
        self.calls.append("autoencoder")
        return self._autoencoder

    @property
    def discriminator(self) -> Any:
        self.calls.append("discriminator")
        if self._discriminator is None:
            self._discriminator = StandInDiscriminator(self.sizes.num_labels, self._seed)
        return self._discriminator

    def encode(self, x: Tensor) -> Tensor:
        self._check_images("encode", x)
        roles = {self.roles[name] for name in self._origins(x)}
        role = "h_mix_rec" if "x_mix" in roles else "h_rec" if "x_rec" in roles else "h"
        return self._network("encode", role, x, self.sizes.latent_shape)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self._check_images("posterior", x)
        mean = self._network("posterior", "mean", x, self.sizes.latent_shape)
        log_variance = self._network("log_variance", "log_variance", x, self.sizes.latent_shape)
        return mean, log_variance

    def decode(self, *h: Tensor) -> tuple[Tensor, ...]:
        for code in h:
            self._check_codes("decode", code)
        roles = ["x_mix" if self._depends_on(code, "h_mix") else "x_rec" for code in h]
        return tuple(self._network("decode", role, code, self.sizes.image_shape) for role, code in zip(roles, h))

    def mix(self, h: Tensor, mixer: Mixer | None = None, name: str = "") -> MixedCodes:
        self._check_codes("mix", h)
        if mixer is not None and not name:
            raise ValueError("batch.mix(h, mixer) needs a name for its draws, such as batch.mix(h, mixer, 'second')")
        self._request("mix", name, tuple(h.shape[1:]), mixer=mixer)
        k = self.sizes.k if mixer is None else mixer.k
        share = self._constant(f"share{name and '/' + name}", self._share(h, k, name))
        h_mix = self._network("mix", "h_mix", h, tuple(h.shape[1:]))
        return MixedCodes(h_mix, share, lambda: self._mixed_labels(name))

    def discriminate(self, **inputs: Tensor) -> DiscriminatorOutput:
        self.calls.append("discriminate")
        twice = sorted(inputs.keys() & self.inputs.keys())
        if twice:
            raise ValueError(f"batch.discriminate has the name {twice[0]!r} twice in one step; each needs its own")
        shapes = {tuple(one.shape[1:]) if isinstance(one, Tensor) else type(one).__name__ for one in inputs.values()}
        if len(shapes) != 1 or not isinstance(next(iter(shapes)), tuple):
            raise ValueError(
                f"batch.discriminate takes one or more tensors of one shape, not {sorted(map(str, shapes))}"
            )
        self.inputs |= inputs
        for one in inputs.values():
            self.used |= self._origins(one)
        said = {name: self._say(one) for name, one in inputs.items()}
        found = DiscriminatorOutput(*({name: parts[i] for name, parts in said.items()} for i in range(3)))
        for kind, tensors in (("D", found.logits), ("D.label_logits", found.label_logits)):
            for name, tensor in tensors.items():
                self.hand_out(f"{kind}[{name!r}]", tensor)
        self.output = DiscriminatorOutput(
            {**self.output.logits, **found.logits},
            {**self.output.label_logits, **found.label_logits},
            {**self.output.reconstruction, **found.reconstruction},
        )
        # Set past the constructor: a checker of types there would read the values, which is what is to be noted.
        for what in ("label_logits", "reconstruction"):  # getattr: the name is noted too
            noted = Noted(getattr(found, what), partial(self.read.add, what))
            object.__setattr__(found, what, noted)
        return found

    # Randomness

    def noise(self, name: str, like: Tensor) -> Tensor:
        return self._drawn("normal", name, like)

    def uniform(self, name: str, like: Tensor) -> Tensor:
        return self._drawn("uniform", name, like)

    def keep(self, name: str, p: float, like: Tensor) -> Tensor:
        return self._drawn("keep", name, like, p)

    # What was noted

    def requirements(self, losses: Losses) -> Requirements:
        """What the objective that returned `losses` needs of a run."""
        passes = self.calls.count("discriminate")
        return Requirements(
            draws=self.draws,
            discriminator=passes > 0 or "discriminator" in self.calls,
            discriminator_passes=passes,
            label_logits="label_logits" in self.read,
            reconstruction="reconstruction" in self.read,
            posterior="posterior" in self.calls,
            labels=bool(self.read & {"labels", "y", "labelled", "mixed.y", "mixed.labelled"}),
            whole_batch=losses.whole_batch,
        )

    def named(self, role: str) -> list[str]:
        """The leaves of a role: "x_rec", "x_mix", "h", ..."""
        return [name for name, its in self.roles.items() if its == role]

    # How its tensors are made

    def _network(self, call: str, role: str, given: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A fixed smooth function of each example, plus a leaf of zeros, through which its own part is told apart."""
        self.calls.append(call)
        number = sum(its == role for its in self.roles.values())
        name = role if not number else f"{role}{number + 1}"
        self.used |= self._origins(given)
        flat, numbers = given.flatten(1).double(), torch.Size(shape).numel()
        learning = self.variation.leaves and not self.variation.frozen
        flat = flat if learning else flat.detach()
        weights = self._fixed(f"weights/{name}", (flat.shape[1], numbers)).to(flat.device)
        bias = self._fixed(f"bias/{name}", (numbers,)).to(flat.device)
        made = (flat + 0.3 * torch.sin(3 * flat)) @ weights * 0.8 / flat.shape[1] ** 0.5 + 0.2 * bias
        made = made.reshape(len(flat), *shape).to(given.dtype)
        moved = self.variation.moved.get(name)
        leaf = torch.zeros_like(made).detach() if moved is None else moved.detach().to(made).clone()
        self.leaves[name], self.roles[name] = leaf.requires_grad_(learning), role
        self.made[name] = made + leaf
        return self.hand_out(name, self.made[name])

    def hand_out(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor, which nothing may write to; a copy of it is kept."""
        self.handed_out[name] = (tensor, tensor.detach().clone(), tensor._version)
        return tensor

    def _say(self, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A logit, label logits and a reconstruction: fixed smooth functions of each example and of D's weights."""
        v, size = self.variation, given[0].numel()
        weights = self._weight("D", (size,), size)
        labels = self._weight("D.label_logits", (size, self.sizes.num_labels), size)
        scale = self._weight("D.reconstruction", tuple(given.shape[1:]), 0)
        curved = given + 0.3 * given.square()
        logits = v.offset + curved.flatten(1) @ weights.to(given)
        if v.level is not None:
            logits = torch.full_like(logits, v.level).detach().requires_grad_()
        said = (logits, v.offset + curved.flatten(1) @ labels.to(given), v.offset + curved * scale.to(given))
        return tuple(part.detach() for part in said) if v.detached_output else said  # type: ignore[return-value]

    def _weight(self, name: str, shape: tuple[int, ...], inputs: int) -> Tensor:
        if name not in self.leaves:
            made = self._fixed(name, shape)
            made = made * 2 / inputs**0.5 if inputs else made + 1
            made = (made.to(self.variation.dtype).to(self._device) + self.variation.moved.get(name, 0)).detach()
            self.leaves[name], self.roles[name] = made.requires_grad_(self.variation.leaves), "D"
        return self.leaves[name]

    def _share(self, h: Tensor, k: int, name: str) -> Float[Tensor, "k batch *latent_or_ones"]:
        """Random weights that sum to 1 over k, one for each example, each feature map or each position."""
        channels, *space = h.shape[1:]
        ones = [1] * len(space)
        fine = {"example": (1, *ones), "map": (channels, *ones), "position": (1, *space)}[self.variation.share_of]
        weights = torch.stack([self._uniform(f"share/{name}/{i}", fine) + 1.05 for i in range(k)])
        return weights / weights.sum(0)

    def _mixed_labels(self, name: str) -> LabelTargets:
        self.read |= {"mixed.y", "mixed.labelled"}
        # of labels as they were, so that y and mixed.y are changed apart
        y = label_vectors(self._labels(changed=False)[None], self.sizes.num_labels)[0].to(self.variation.dtype)
        other = self._arranged(self._fixed(f"y_mix/{name}", (self.sizes.examples, y.shape[1])).softmax(1))
        known = self._labelled() & self._arranged(self._known(1))
        y_mix = self._constant("y_mix", (0.7 * y + 0.3 * other.to(y.dtype)))
        return LabelTargets(y_mix, self._constant("labelled_mix", known))

    def _labels(self, changed: bool = True) -> Int[Tensor, "batch *attributes"]:
        rng, attributes = rng_for(self._seed, "stand-in/labels"), self.sizes.attributes
        size = (self.sizes.examples, *[attributes] * (attributes > 0))
        made = torch.randint(2 if attributes else self.sizes.num_labels, size, generator=rng)
        change = self.variation.changed.get("labels") if changed else None
        made = self._arranged(made)
        return made if change is None else change(made)

    def _labelled(self) -> Bool[Tensor, " batch"]:
        return self._arranged(self._known(0))

    def _known(self, without: int) -> Bool[Tensor, " batch"]:
        """All examples, or all but one; and all if there is but one."""
        known = torch.ones(self.sizes.examples, dtype=torch.bool)
        if not self.variation.all_labelled and self.sizes.examples > without + 1:
            known[without] = False
        return known

    def _drawn(self, kind: Literal["normal", "uniform", "keep"], name: str, like: Tensor, p: float = 0.0) -> Tensor:
        if not isinstance(like, Tensor) or like.ndim == 0 or len(like) != len(self._x):
            raise ValueError(f"draws have an example axis as `like` does; {name!r} is like {_described(like)}")
        request = self._request(kind, name, tuple(like.shape[1:]), p)
        made = draw_request(request, name, self._seed, 0, self.sizes.examples)
        assert isinstance(made, Tensor)
        made = self._arranged(made)
        return made if kind == "keep" else made.to(like.dtype)

    def _request(self, kind: Any, name: str, shape: tuple[int, ...], p: float = 0.0, mixer: Any = None) -> DrawRequest:
        request = DrawRequest(kind, shape, p, mixer)
        key = request.key(name)
        if self.draws.setdefault(key, request) != request:
            raise ValueError(f"the draw {name!r} is asked for twice and differs; give each a name of its own")
        return request

    def _check_images(self, call: str, x: Any) -> None:
        if not isinstance(x, Tensor) or tuple(x.shape[1:]) != self.sizes.image_shape:
            raise ValueError(
                f"batch.{call} takes images [batch, {_listed(self.sizes.image_shape)}], not {_described(x)}"
            )

    def _check_codes(self, call: str, h: Any) -> None:
        if not isinstance(h, Tensor) or tuple(h.shape[1:]) != self.sizes.latent_shape:
            raise ValueError(
                f"batch.{call} takes codes [batch, {_listed(self.sizes.latent_shape)}], not {_described(h)}"
            )

    def _depends_on(self, tensor: Tensor, role: str) -> bool:
        """Whether a leaf of that role is in what the tensor was made from."""
        return any(self.roles[name] == role for name in self._origins(tensor))

    def _origins(self, tensor: Tensor) -> set[str]:
        """The leaves of what the tensor was made from, D's weights apart."""
        if not tensor.requires_grad or not self.made:
            return {name for name, made in self.made.items() if made is tensor}
        found = torch.autograd.grad(
            tensor.sum(), [self.leaves[name] for name in self.made], retain_graph=True, allow_unused=True
        )
        return {name for name, gradient in zip(self.made, found) if gradient is not None}

    def _constant(self, name: str, made: Tensor) -> Tensor:
        if name not in self.constants:
            change = self.variation.changed.get(name) if name != "labels" else None
            self.constants[name] = self.hand_out(name, made if change is None else change(made))
        return self.constants[name]

    def _uniform(self, name: str, shape: tuple[int, ...]) -> Tensor:
        size = (self.sizes.examples, *shape)
        made = torch.rand(size, generator=rng_for(self._seed, f"stand-in/{name}"), dtype=torch.float64) * 2 - 1
        return self._arranged(made).to(self.variation.dtype)

    def _fixed(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers, in float64: a function of (seed, name)."""
        return fixed_numbers(self._seed, name, shape)

    def _arranged(self, made: Tensor) -> Tensor:
        return self.variation.order(made).to(self._device)


@cached_tensor(maxsize=256)  # a check calls the objective many times on the same batch
def fixed_numbers(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers, in float64: a function of (seed, name). Not to be written to."""
    return torch.randn(shape, generator=rng_for(seed, f"stand-in/{name}"), dtype=torch.float64)


class Noted(Mapping[str, Tensor]):
    """A mapping that calls `note` when a value is read."""

    def __init__(self, values: Mapping[str, Tensor], note: Callable[[], object]) -> None:
        self._values, self._note = values, note

    def __getitem__(self, name: str) -> Tensor:
        self._note()
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def requirements_of(objective: Any, batch: StandInBatch) -> Requirements:
    """What the objective asks for, from one call on the stand-in batch; raises what the objective raises."""
    losses = objective.losses(batch)
    if not isinstance(losses, Losses):
        raise PluginError(f"losses gives a {type(losses).__name__}; it returns Losses(autoencoder={{...}}, ...)")
    return batch.requirements(losses)


def _described(value: Any) -> str:
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
