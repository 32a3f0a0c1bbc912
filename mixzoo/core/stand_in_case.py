"""What a stand-in batch is made for: its sizes, and the changes that a check makes to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sizes:
    """The sizes of a stand-in batch."""

    examples: int
    image_shape: tuple[int, int, int]  # channels, height, width
    latent_shape: tuple[int, ...]
    classes: int = 0
    attributes: int = 0
    k: int = 2  # sources of a mix by the run's mixer

    @property
    def num_labels(self) -> int:
        """The length of a label vector; 1 if the data have no labels, so that an attempt to read them is recorded."""
        return self.attributes or self.classes or 1


@dataclass(frozen=True)
class Variation:
    """Changes to the stand-in batch of a seed; the defaults change nothing."""

    dtype: torch.dtype = torch.float64
    order: Callable[[Tensor], Tensor] = lambda tensor: tensor  # reorders the examples, along the first axis
    moved: Mapping[str, Tensor] = field(default_factory=dict)  # tensors added to leaves, by the leaf's name
    changed: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)  # applied to y, labels, y_mix, ...
    offset: float = 0.0  # added to all of D's outputs
    level: float | None = None  # replaces every logit, as a separate leaf
    detached_output: bool = False  # D's outputs are detached
    leaves: bool = True  # codes, images and D's weights require a gradient
    frozen: bool = False  # codes and images require no gradient, as in a step that updates only D
    share_of: Literal["example", "map", "position"] = "example"  # shares vary per example, feature map or position
    all_labelled: bool = True  # False: one example has no label
