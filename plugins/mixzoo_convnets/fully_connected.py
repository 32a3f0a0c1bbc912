"""Fully connected networks for points, or for flattened images of any shape; the code is a vector."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mixzoo import BuildContext, Reconstructs, Scores
from mixzoo_convnets.discriminator import label_head
from mixzoo_convnets.spectral import join_spectral_norms

Hidden: TypeAlias = Annotated[int, Ge(1), "units of a hidden layer"]
Layers: TypeAlias = Annotated[int, Ge(0), Le(16), "hidden layers of the encoder, and of the decoder"]
Activation: TypeAlias = Annotated[Literal["relu", "leaky_relu", "tanh"], "after each hidden layer (leaky: slope 0.2)"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.2),
    "tanh": nn.Tanh,
}


@dataclass(frozen=True, kw_only=True)
class MLP:
    """Fully connected auto-encoder whose encoder and decoder have equally many hidden layers and end in a linear one.

    Weights are initialised as in torch.
    """

    latent: Annotated[int, Ge(1), "numbers of the code"] = 2
    hidden: Hidden = 128
    layers: Layers = 3
    activation: Activation = "relu"

    def build(self, context: BuildContext) -> "DenseAutoEncoder":
        return DenseAutoEncoder(self, context)


class DenseAutoEncoder(Reconstructs, nn.Module):
    """f and g as two stacks of layers between the flattened image and the code."""

    def __init__(self, options: MLP, context: BuildContext) -> None:
        super().__init__()
        numbers = prod(context.image_shape)
        hidden = [options.hidden] * options.layers
        self.latent_shape = (options.latent,)
        self.f = nn.Sequential(nn.Flatten(), *stack([numbers, *hidden, options.latent], options.activation))
        self.g = nn.Sequential(
            *stack([options.latent, *hidden, numbers], options.activation), nn.Unflatten(1, context.image_shape)
        )

    def encode(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch latent"]:
        code: Tensor = self.f(x)
        return code

    def decode(self, h: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels height width"]:
        image: Tensor = self.g(h)
        return image


@dataclass(frozen=True, kw_only=True)
class MLPDiscriminator:
    """Fully connected discriminator with one logit per image; power_iterations= gives it spectral norm.

    Weights are initialised as in torch.
    """

    hidden: Hidden = 128
    layers: Annotated[int, Ge(0), Le(16), "hidden layers"] = 3
    activation: Activation = "relu"
    power_iterations: Annotated[int, Ge(0), "of spectral norm, per training pass; 0 for no spectral norm"] = 0

    def build(self, context: BuildContext) -> "DenseDiscriminator":
        return DenseDiscriminator(self, context)


class DenseDiscriminator(nn.Module):
    """A stack of layers that ends in one logit."""

    def __init__(self, options: MLPDiscriminator, context: BuildContext) -> None:
        super().__init__()
        widths = [prod(context.image_shape), *[options.hidden] * options.layers, 1]
        layers = stack(widths, options.activation)
        if options.power_iterations:
            for layer in layers:
                if isinstance(layer, nn.Linear):
                    spectral_norm(layer, n_power_iterations=options.power_iterations)
        self.layers = nn.Sequential(nn.Flatten(), *layers)
        join_spectral_norms(self.layers)
        self.head = label_head(widths[-2], context.num_labels)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Scores:
        features = self.layers[:-1](x)
        label_logits = None if self.head is None else self.head(features)
        return Scores(self.layers[-1](features).flatten(), label_logits)


def stack(widths: list[int], activation: str) -> list[nn.Module]:
    """Linear layers from each width to the next, with the activation between them."""
    layers: list[nn.Module] = []
    for wide_in, wide_out in pairwise(widths):
        layers += [nn.Linear(wide_in, wide_out), ACTIVATIONS[activation]()]
    return layers[:-1]
