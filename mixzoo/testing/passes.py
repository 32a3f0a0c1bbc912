"""A forward pass made up of random tensors, and a discriminator that is one fixed smooth function of each image.

What an objective is tried on: everything that its terms may depend on is a leaf whose effect is known, and what is read
of the pass is noted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from mixzoo.draws import rng_for
from mixzoo.mixing import label_vectors
from mixzoo.protocols import BuildContext, Images, Judgement, Mixed, Needs, Resynthesis, Said
from mixzoo.testing.hypotheses import strategies
from mixzoo.testing.networks import contexts_taken, refusal_of
from mixzoo.testing.watching import seeded

SIZES = (((16, 24), (32, 32), (64, 64)),)  # the smallest that the recipe takes
LATENTS = ((2, 2, 3), (5,))
READINGS: Mapping[str, tuple[str, ...]] = {  # need -> what it lets an objective read
    "mix": ("h_mix", "share", "x_mix"),
    "reencode": ("h_mix_rec",),
    "labels": ("labels", "y", "labelled", "y_mix", "labelled_mix"),
    "posterior": ("mean", "log_variance"),
    "second": ("h_mix2", "x_mix2"),
}
_READABLE = {name for fields in READINGS.values() for name in fields}
CONSTANTS = ("x", "share", "labels", "y", "labelled", "y_mix", "labelled_mix")  # what nothing trained makes
JUDGES = ("D", "D.attributes", "D.redrawn")  # the leaves that are D's weights

Spread: TypeAlias = Literal["example", "map", "position"]  # what one number of a share is for


@dataclass(frozen=True)
class WatchedPass(Resynthesis):
    """A forward pass that notes which of its optional parts are read."""

    read: set[str] = field(default_factory=set)

    def __getattribute__(self, name: str) -> Any:
        if name in _READABLE:
            object.__getattribute__(self, "read").add(name)
        return object.__getattribute__(self, name)


@dataclass
class Pass:
    """One made-up pass: what the objective gets, what its terms may depend on, and D."""

    r: WatchedPass
    tensors: dict[str, Tensor]  # of the pass, by the name that an objective reads them under
    leaves: dict[str, Tensor]  # those that are trained, and D's weights
    offset: float  # added to every score
    needs: Needs  # whether D says the label too, and redraws images
    judgement: Judgement = field(default_factory=lambda: Judgement({}))

    def judge(self, judged: Images) -> Judgement:
        """D's scores of everything judged, with attribute logits and redrawn images where the objective needs them.

        What it says of an image depends on that image alone.
        """
        weights, attributes, redrawn = (self.leaves[name] for name in JUDGES)
        curved = {name: images + 0.3 * images.square() for name, images in judged.items()}
        flat = {name: images.flatten(1) for name, images in curved.items()}
        self.judgement = Judgement(
            {name: self.offset + pixels @ weights for name, pixels in flat.items()},
            {name: self.offset + pixels @ attributes for name, pixels in flat.items() if self.needs.attributes},
            {name: self.offset + images * redrawn for name, images in curved.items() if self.needs.redrawn},
        )
        return self.judgement

    def judge_at(self, judged: Images, level: float) -> Judgement:
        """What D says, but every raw score is `level`, a leaf of its own."""
        said = self.judge(judged)
        scores = {
            name: torch.full_like(score, level).detach().requires_grad_() for name, score in said.realness.items()
        }
        self.judgement = Judgement(scores, said.attributes, said.redrawn)
        return self.judgement

    @property
    def scores(self) -> list[Tensor]:
        """All that D said."""
        said = (self.judgement.realness, self.judgement.attributes, self.judgement.redrawn)
        return [tensor for tensors in said for tensor in tensors.values()]

    def said_of(self, name: str) -> list[Tensor]:
        """All that D said of the images of that name."""
        said = (self.judgement.realness, self.judgement.attributes, self.judgement.redrawn)
        return [tensors[name] for tensors in said if name in tensors]


@dataclass(frozen=True)
class ObjectiveCase:
    """An objective, or a recipe of one, and the sizes of the pass that it is tried on."""

    part: Any
    context: BuildContext
    k: int
    spread: Spread
    batch: int
    seed: int

    def __str__(self) -> str:
        context = self.context
        labels = f"{context.attributes} attributes" if context.attributes else f"{context.classes} classes"
        return (
            f"images {'x'.join(map(str, context.image_shape))}, code {context.latent_shape}, {labels}, k={self.k}, "
            f"shares by {self.spread}, batch {self.batch}, seed {self.seed}"
        )

    @cached_property
    def objective(self) -> Any:
        """The objective itself."""
        return objective_of(self.part, self.context)

    def all_labelled(self) -> "ObjectiveCase":
        """The same case with a label that the objective may use on every example."""
        return replace(self, seed=self.seed // 2 * 2)

    def a_pass(
        self,
        *,
        dtype: torch.dtype = torch.float64,
        offset: float = 0.0,
        reverse: bool = False,
        turn: int = 0,
        half: int | None = None,
        leaves: bool = True,
        moved: Mapping[str, Tensor] = {},
        changed: Mapping[str, Callable[[Tensor], Tensor]] = {},
    ) -> Pass:
        """The same pass every time: with only what the objective needs, in another order, or with some leaf moved.

        `reverse` is the batch from its end, `turn` the batch begun at another example; `half` 0 or 1 leaves only the
        first or the second half of it. `moved` is added to leaves; `changed` makes another of any tensor, such as y.
        """
        tensors = {name: t.to(dtype, copy=True) if t.is_floating_point() else t for name, t in self._tensors.items()}
        tensors |= {name: change(tensors[name]) for name, change in changed.items()}
        if reverse:
            tensors = {name: t.flip(1 if name == "share" else 0) for name, t in tensors.items()}
        if turn:
            tensors = {name: t.roll(turn, 1 if name == "share" else 0) for name, t in tensors.items()}
        if half is not None:
            tensors = {name: t.chunk(2, 1 if name == "share" else 0)[half] for name, t in tensors.items()}
        trained = {name: t for name, t in tensors.items() if name not in CONSTANTS}
        trained |= {name: t.to(dtype) for name, t in self._weights.items()}
        trained = {name: (t + moved.get(name, 0)).detach().requires_grad_(leaves) for name, t in trained.items()}
        tensors |= {name: trained[name] for name in trained.keys() & tensors.keys()}
        return Pass(_assembled(tensors), tensors, trained, offset, self.objective.needs)

    def trained_leaves(self) -> list[str]:
        """The leaves of a pass that f and g move."""
        return [name for name in self.a_pass().leaves if not name.startswith("D")]

    def discriminator_leaves(self) -> list[str]:
        """The leaves of a pass that D moves."""
        return list(JUDGES)

    def direction(self, leaf: Tensor) -> Tensor:
        """A random direction for a leaf."""
        return torch.randn(leaf.shape, generator=rng_for(self.seed, "direction"), dtype=leaf.dtype)

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        needs: Needs = self.objective.needs
        images, codes = (self.batch, *self.context.image_shape), (self.batch, *self.context.latent_shape)
        found = {"x": self._uniform("x", images), "h": self._normal("h", codes), "x_rec": self._normal("x_rec", images)}
        if needs.mix:
            found |= {"h_mix": self._normal("h_mix", codes), "share": self._share()}
            found |= {"x_mix": self._normal("x_mix", images)}
            found |= {"h_mix_rec": self._normal("h_mix_rec", codes)} if needs.reencode else {}
        if needs.labels:
            found |= self._said()
        if needs.second is not None:
            found |= {"h_mix2": self._normal("h_mix2", codes), "x_mix2": self._normal("x_mix2", images)}
        if needs.posterior:
            found |= {name: self._normal(name, codes) for name in ("mean", "log_variance")}
        return found

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        pixels = torch.Size(self.context.image_shape).numel()
        weights = self._normal("D", (pixels, 1 + self.context.label_width)) * 2 / pixels**0.5
        redrawn = self._normal("D.redrawn", self.context.image_shape) + 1
        return dict(zip(JUDGES, (weights[:, 0], weights[:, 1:], redrawn)))

    def _said(self) -> dict[str, Tensor]:
        """Labels, of all examples or of all but the first, and what the mixes of them should be."""
        rng = rng_for(self.seed, "labels")
        attributes = self.context.attributes
        size = (self.batch, attributes) if attributes else (self.batch,)
        labels = torch.randint(2 if attributes else self.context.classes, size, generator=rng)
        labelled = torch.arange(self.batch) >= self.seed % 2
        y = label_vectors(labels[None], self.context.label_width)[0].double() * labelled[:, None]
        y_mix = 0.7 * y + 0.3 * y.flip(0)
        return {
            "labels": labels,
            "y": y,
            "labelled": labelled,
            "y_mix": y_mix,
            "labelled_mix": labelled & labelled.flip(0),
        }

    def _share(self) -> Float[Tensor, "k batch *latent_or_ones"]:
        """Random weights that sum to 1 over k, one for each example, each feature map or each position."""
        channels, *space = self.context.latent_shape
        fine = {"example": [1, *[1] * len(space)], "map": [channels, *[1] * len(space)], "position": [1, *space]}
        weights = self._uniform("share", (self.k, self.batch, *fine[self.spread])) + 1.05
        return weights / weights.sum(0)

    def _uniform(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=rng_for(self.seed, name), dtype=torch.float64) * 2 - 1

    def _normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=rng_for(self.seed, name), dtype=torch.float64) * 0.6


def objective_cases(part: Any) -> Any:
    """Strategy of cases of an objective, or of a recipe that builds one: maps and vectors, k up to 4."""
    st = strategies()
    return st.builds(
        ObjectiveCase,
        st.just(part),
        context=st.sampled_from(contexts_of(part)),
        k=st.integers(2, 4),
        spread=st.sampled_from(("example", "map", "position")),
        batch=st.sampled_from((2, 3, 5)),
        seed=st.integers(0, 2**31),
    )


def contexts_of(part: Any) -> list[BuildContext]:
    """Contexts that the objective takes: of classes and, where it takes them, of attributes."""
    classes = contexts_taken(part, LATENTS, SIZES)
    attributes = [replace(context, classes=0, attributes=2) for context in classes]
    return classes + [context for context in attributes if not refusal_of(part, context)]


def objective_of(part: Any, context: BuildContext) -> Any:
    """The objective itself, built where the part is a recipe of one."""
    with seeded(0):
        return part.build(context) if hasattr(part, "build") else part


def judges(part: Any) -> str:
    """'' for an objective with a discriminator."""
    return "" if needs_of(part).discriminator else "it has no discriminator"


def means_over_examples(part: Any) -> str:
    """'' for an objective that does not say that its terms are of the whole batch."""
    return "its needs say whole_batch=True" if needs_of(part).whole_batch else ""


def needs_of(part: Any) -> Needs:
    """What the objective, or one of the recipe, needs."""
    needs: Needs = objective_of(part, contexts_taken(part, LATENTS, SIZES)[0]).needs
    return needs


def _assembled(tensors: Mapping[str, Tensor]) -> WatchedPass:
    mixed = Mixed(tensors["h_mix"], tensors["share"]) if "h_mix" in tensors else None
    posterior = (tensors["mean"], tensors["log_variance"]) if "mean" in tensors else None
    return WatchedPass(
        x=tensors["x"],
        h=tensors["h"],
        x_rec=tensors["x_rec"],
        _mixed=mixed,
        _x_mix=tensors.get("x_mix"),
        _h_mix_rec=tensors.get("h_mix_rec"),
        _labels=tensors.get("labels"),
        _posterior=posterior,
        _said=Said(*(tensors[n] for n in ("y", "labelled", "y_mix", "labelled_mix"))) if "y" in tensors else None,
        _second=Mixed(tensors["h_mix2"], tensors["h_mix2"].new_ones(1, 1)) if "h_mix2" in tensors else None,
        _x_mix2=tensors.get("x_mix2"),
    )
