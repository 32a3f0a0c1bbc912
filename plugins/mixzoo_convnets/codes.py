"""A discriminator of codes: it tells an encoder's codes from samples of a prior."""

from dataclasses import dataclass
from math import prod
from typing import Annotated

from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor, nn

from mixzoo import BuildContext, Scores
from mixzoo_convnets.fully_connected import Activation, Hidden, stack


@dataclass(frozen=True, kw_only=True)
class CodeDiscriminator:
    """Fully connected discriminator of flattened codes, for `--objective aae` (Makhzani et al. 2015)."""

    hidden: Hidden = 128
    layers: Annotated[int, Ge(0), Le(16), "hidden layers"] = 2
    activation: Activation = "relu"

    def input_shape(self, context: BuildContext) -> tuple[int, ...]:
        """Codes."""
        return context.latent_shape

    def build(self, context: BuildContext) -> "CodeScores":
        return CodeScores(self, context)


class CodeScores(nn.Module):
    """A stack of layers that ends in one number."""

    def __init__(self, options: CodeDiscriminator, context: BuildContext) -> None:
        super().__init__()
        widths = [prod(context.latent_shape), *[options.hidden] * options.layers, 1]
        self.layers = nn.Sequential(nn.Flatten(), *stack(widths, options.activation))

    def forward(self, h: Float[Tensor, "batch *latent"]) -> Scores:
        return Scores(self.layers(h).flatten())
