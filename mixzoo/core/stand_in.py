"""A synthetic batch that records what an objective uses.

An objective is called on it once before a run, to find out what the run has to provide (`requirements_of`), and many
times by the conformance kit. Codes, mixes and images are fixed smooth functions of each example. A leaf of zeros is
added to each of them, so that autograd tells what a term depends on.
"""

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
from mixzoo.core.stand_in_case import Sizes, Variation
from mixzoo.core.stand_in_discriminator import RecordingMapping, StandInDiscriminator

Role = Literal["h", "mean", "log_variance", "h_mix", "h_rec", "h_mix_rec", "x_rec", "x_mix"]


@no_type_check  # the tests' runtime type checker would take most of the time of the kit's many calls
class StandInBatch(Batch):
    """A `Batch` of synthetic tensors, a function of (sizes, seed), that records every call and everything read.

    Its methods raise ValueError if an argument has a wrong shape, or if a name is used for two different things.
    """

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
        # Leaves are zeros added to a network's outputs, and D's weights. Names are role and number: "x_rec", "x_rec2".
        self.leaves: dict[str, Tensor] = {}
        self.roles: dict[str, str] = {}  # leaf -> role
        self.made: dict[str, Tensor] = {}  # the networks' outputs, under the names of their leaves
        self.origins: dict[str, set[str]] = {}  # name of an output -> its own and those it was computed from
        self.used: set[str] = set()  # names of outputs that were passed to another network
        self.handed_out: dict[str, tuple[Tensor, Tensor, int]] = {}  # every tensor given away, a copy, its _version
        # A record of what the objective does.
        self.calls: list[str] = []  # methods, and networks used directly
        self.draws: dict[str, DrawRequest] = {}  # by `DrawRequest.key`
        self.read: set[str] = set()  # "labels", "y", "mixed.y", "label_logits", ...
        self.inputs: dict[str, Tensor] = {}  # of `discriminate`, by name
        self.output = DiscriminatorOutput({})  # of all calls of `discriminate`
        self.constants: dict[str, Tensor] = {}  # tensors that no network makes: "x", "y", "labels", "share", ...
        self._x = self._constant("x", self._uniform("x", sizes.image_shape))

    # Data

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

    # Networks

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
        repeated = sorted(inputs.keys() & self.inputs.keys())
        if repeated:
            raise ValueError(
                f"batch.discriminate got the name {repeated[0]!r} twice in one step; give each input its own name"
            )
        shapes = {tuple(one.shape[1:]) if isinstance(one, Tensor) else type(one).__name__ for one in inputs.values()}
        if len(shapes) != 1 or not isinstance(next(iter(shapes)), tuple):
            raise ValueError(
                f"batch.discriminate takes one or more tensors of one shape, not {sorted(map(str, shapes))}"
            )
        self.inputs |= inputs
        for one in inputs.values():
            self.used |= self._origins(one)

        scores = {name: self._scores(one) for name, one in inputs.items()}
        output = DiscriminatorOutput(*({name: parts[i] for name, parts in scores.items()} for i in range(3)))
        for kind, tensors in (("D", output.logits), ("D.label_logits", output.label_logits)):
            for name, tensor in tensors.items():
                self.hand_out(f"{kind}[{name!r}]", tensor)
        self.output = DiscriminatorOutput(
            {**self.output.logits, **output.logits},
            {**self.output.label_logits, **output.label_logits},
            {**self.output.reconstruction, **output.reconstruction},
        )

        # What D needs is known from what is read. The constructor would read it itself if types are checked at runtime.
        for name in ("label_logits", "reconstruction"):
            recording = RecordingMapping(getattr(output, name), partial(self.read.add, name))
            object.__setattr__(output, name, recording)
        return output

    # Randomness

    def noise(self, name: str, like: Tensor) -> Tensor:
        return self._drawn("normal", name, like)

    def uniform(self, name: str, like: Tensor) -> Tensor:
        return self._drawn("uniform", name, like)

    def keep(self, name: str, p: float, like: Tensor) -> Tensor:
        return self._drawn("keep", name, like, p)

    # The record

    def requirements(self, losses: Losses) -> Requirements:
        """What the objective that returned `losses` needs from a run."""
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
        """The names of the leaves with this role: "x_rec", "x_mix", "h", ..."""
        return [name for name, leaf_role in self.roles.items() if leaf_role == role]

    # Tensors

    def _network(self, call: str, role: str, given: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The output [batch, *shape] of a network: a fixed smooth function of each example, plus a leaf of zeros.

        The gradient with respect to the leaf is that with respect to this output.
        """
        self.calls.append(call)
        number = sum(leaf_role == role for leaf_role in self.roles.values())
        name = role if not number else f"{role}{number + 1}"
        origins = self._origins(given)
        self.used |= origins

        # Computed in float64, so that a variation in float32 differs only by the rounding of inputs and outputs.
        flat, size = given.flatten(1).double(), torch.Size(shape).numel()
        trainable = self.variation.leaves and not self.variation.frozen
        flat = flat if trainable else flat.detach()
        weights = self._fixed(f"weights/{name}", (flat.shape[1], size)).to(flat.device)
        bias = self._fixed(f"bias/{name}", (size,)).to(flat.device)
        output = (flat + 0.3 * torch.sin(3 * flat)) @ weights * 0.8 / flat.shape[1] ** 0.5 + 0.2 * bias
        output = output.reshape(len(flat), *shape).to(given.dtype)

        # A check moves an output by moving its leaf, without a change to what the output was computed from.
        moved = self.variation.moved.get(name)
        leaf = torch.zeros_like(output).detach() if moved is None else moved.detach().to(output).clone()
        self.leaves[name], self.roles[name] = leaf.requires_grad_(trainable), role
        self.made[name] = output + leaf
        self.origins[name] = {name} | (origins if trainable else set())
        return self.hand_out(name, self.made[name])

    def hand_out(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor itself. A copy is kept, so that a check can find out whether the objective wrote to it."""
        self.handed_out[name] = (tensor, tensor.detach().clone(), tensor._version)
        return tensor

    def _scores(self, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, label logits and reconstructions: fixed smooth functions of each example and of D's weights."""
        v, size = self.variation, given[0].numel()
        weights = self._weight("D", (size,), size)
        labels = self._weight("D.label_logits", (size, self.sizes.num_labels), size)
        scale = self._weight("D.reconstruction", tuple(given.shape[1:]), 0)
        curved = given + 0.3 * given.square()
        logits = v.offset + curved.flatten(1) @ weights.to(given)
        if v.level is not None:
            logits = torch.full_like(logits, v.level).detach().requires_grad_()
        scores = (logits, v.offset + curved.flatten(1) @ labels.to(given), v.offset + curved * scale.to(given))
        return tuple(part.detach() for part in scores) if v.detached_output else scores  # type: ignore[return-value]

    def _weight(self, name: str, shape: tuple[int, ...], inputs: int) -> Tensor:
        """A weight of D: of a layer with this many inputs or, if `inputs` is 0, a scale around 1."""
        if name not in self.leaves:
            weight = self._fixed(name, shape)
            weight = weight * 2 / inputs**0.5 if inputs else weight + 1
            weight = (weight.to(self.variation.dtype).to(self._device) + self.variation.moved.get(name, 0)).detach()
            self.leaves[name], self.roles[name] = weight.requires_grad_(self.variation.leaves), "D"
        return self.leaves[name]

    def _share(self, h: Tensor, k: int, name: str) -> Float[Tensor, "k batch *latent_or_ones"]:
        """Random shares that sum to 1 over k, one per example, per feature map or per position."""
        channels, *space = h.shape[1:]
        ones = [1] * len(space)
        shape = {"example": (1, *ones), "map": (channels, *ones), "position": (1, *space)}[self.variation.share_of]
        weights = torch.stack([self._uniform(f"share/{name}/{i}", shape) + 1.05 for i in range(k)])
        return weights / weights.sum(0)

    def _mixed_labels(self, name: str) -> LabelTargets:
        self.read |= {"mixed.y", "mixed.labelled"}
        # The labels without the variation's changes, so that a check can change y and mixed.y separately.
        y = label_vectors(self._labels(changed=False)[None], self.sizes.num_labels)[0].to(self.variation.dtype)
        other = self._arranged(self._fixed(f"y_mix/{name}", (self.sizes.examples, y.shape[1])).softmax(1))
        known = self._labelled() & self._arranged(self._known(1))
        y_mix = self._constant("y_mix", (0.7 * y + 0.3 * other.to(y.dtype)))
        return LabelTargets(y_mix, self._constant("labelled_mix", known))

    def _labels(self, changed: bool = True) -> Int[Tensor, "batch *attributes"]:
        rng, attributes = rng_for(self._seed, "stand-in/labels"), self.sizes.attributes
        size = (self.sizes.examples, *[attributes] * (attributes > 0))
        labels = self._arranged(torch.randint(2 if attributes else self.sizes.num_labels, size, generator=rng))
        change = self.variation.changed.get("labels") if changed else None
        return labels if change is None else change(labels)

    def _labelled(self) -> Bool[Tensor, " batch"]:
        return self._arranged(self._known(0))

    def _known(self, unknown: int) -> Bool[Tensor, " batch"]:
        """True for every example; without `all_labelled`, False for number `unknown` unless it is the last one."""
        known = torch.ones(self.sizes.examples, dtype=torch.bool)
        if not self.variation.all_labelled and self.sizes.examples > unknown + 1:
            known[unknown] = False
        return known

    def _drawn(self, kind: Literal["normal", "uniform", "keep"], name: str, like: Tensor, p: float = 0.0) -> Tensor:
        if not isinstance(like, Tensor) or like.ndim == 0 or len(like) != len(self._x):
            raise ValueError(f"the draw {name!r} needs a tensor [batch, ...] as `like`, not {_described(like)}")
        request = self._request(kind, name, tuple(like.shape[1:]), p)
        drawn = draw_request(request, name, self._seed, 0, self.sizes.examples)
        assert isinstance(drawn, Tensor)
        drawn = self._arranged(drawn)
        return drawn if kind == "keep" else drawn.to(like.dtype)

    def _request(self, kind: Any, name: str, shape: tuple[int, ...], p: float = 0.0, mixer: Any = None) -> DrawRequest:
        request = DrawRequest(kind, shape, p, mixer)
        key = request.key(name)
        if self.draws.setdefault(key, request) != request:
            raise ValueError(f"two different draws have the name {name!r}; give each its own name")
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
        """Whether the tensor was computed from an output with this role."""
        return any(self.roles[name] == role for name in self._origins(tensor))

    def _origins(self, tensor: Tensor) -> set[str]:
        """The names of the networks' outputs from which the tensor was computed; its own name if it has no graph."""
        for name, output in self.made.items():
            if output is tensor:
                return self.origins[name]  # without a backward pass
        if not tensor.requires_grad or not self.made:
            return set()
        gradients = torch.autograd.grad(
            tensor.sum(), [self.leaves[name] for name in self.made], retain_graph=True, allow_unused=True
        )
        return {name for name, gradient in zip(self.made, gradients) if gradient is not None}

    def _constant(self, name: str, value: Tensor) -> Tensor:
        """The value under this name; the same tensor each time, with the variation's change."""
        if name not in self.constants:
            change = self.variation.changed.get(name) if name != "labels" else None  # `_labels` changes labels itself
            self.constants[name] = self.hand_out(name, value if change is None else change(value))
        return self.constants[name]

    def _uniform(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Numbers uniform in [-1, 1), of shape [batch, *shape]."""
        size = (self.sizes.examples, *shape)
        numbers = torch.rand(size, generator=rng_for(self._seed, f"stand-in/{name}"), dtype=torch.float64) * 2 - 1
        return self._arranged(numbers).to(self.variation.dtype)

    def _fixed(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers in float64, a function of (seed, name)."""
        return fixed_numbers(self._seed, name, shape)

    def _arranged(self, values: Tensor) -> Tensor:
        """The values [batch, ...] in the variation's order of examples, on the device."""
        return self.variation.order(values).to(self._device)


@cached_tensor(maxsize=256)  # a check calls the objective many times on the same batch
def fixed_numbers(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers in float64, a function of (seed, name). The tensor is cached: do not write to it."""
    return torch.randn(shape, generator=rng_for(seed, f"stand-in/{name}"), dtype=torch.float64)


def requirements_of(objective: Any, batch: StandInBatch) -> Requirements:
    """What the objective needs from a run, found by one call of `losses` on the stand-in batch.

    Raises PluginError if it does not return Losses, and passes on what the objective itself raises.
    """
    losses = objective.losses(batch)
    if not isinstance(losses, Losses):
        raise PluginError(f"losses returned a {type(losses).__name__}; it must return Losses(autoencoder={{...}}, ...)")
    return batch.requirements(losses)


def _described(value: Any) -> str:
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
