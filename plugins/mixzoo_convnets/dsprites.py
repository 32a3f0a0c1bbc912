"""The networks of AMR's authors for dSprites: strided convolutions, fully connected layers, a code of 10 numbers.

encoder        4x [4x4 conv /2, ReLU] · flatten · 2x [linear, ReLU] · linear
decoder        2x [linear, ReLU] · linear, ReLU · 3x [4x4 transposed conv x2, ReLU] · transposed conv x2, tanh
discriminator  the encoder's layers under spectral norm, ending in one number
"""

from dataclasses import dataclass
from math import prod
from typing import Annotated, TypeAlias

from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mixzoo import BuildContext, Reconstructs, Scores
from mixzoo_convnets.discriminator import PowerIterations, label_head
from mixzoo_convnets.spectral import join_spectral_norms
from mixzoo_convnets.variational import VariationalAutoEncoder

Width: TypeAlias = Annotated[int, Ge(1), "feature maps of every convolution"]
Hidden: TypeAlias = Annotated[int, Ge(1), "units of a fully connected layer"]

HALVINGS = 4


@dataclass(frozen=True, kw_only=True)
class DSprites:
    """Auto-encoder of AMR's authors for dSprites (64x64): the code is a vector, and the decoder ends in tanh.

    Linear layers and convolutions are initialised as in He et al. 2015 (normal, fan-in, gain √2), with biases at 0, and
    transposed convolutions as in torch, since the authors' initialisation skipped them. The sides of images must be
    multiples of 16. With variational=true this is their VAE: the encoder gives the mean of a posterior, which is the
    code, and its log-variance (the authors used the second half directly as a deviation, whatever its sign).
    """

    latent: Annotated[int, Ge(1), "numbers of the code"] = 10
    width: Width = 32
    hidden: Hidden = 256
    variational: Annotated[bool, "an auto-encoder with a posterior, for the objective vae"] = False

    def build(self, context: BuildContext) -> "DSpritesAutoEncoder | VariationalAutoEncoder":
        numbers = 2 * self.latent if self.variational else self.latent
        f = nn.Sequential(*encoder(context.image_shape, self.width, self.hidden, numbers))
        g = nn.Sequential(*decoder(context.image_shape, self.width, self.hidden, self.latent))
        kind = VariationalAutoEncoder if self.variational else DSpritesAutoEncoder
        return kind(f, g, (self.latent,)).apply(init_layer)


class DSpritesAutoEncoder(Reconstructs, nn.Module):
    """f and g as two stacks of layers."""

    def __init__(self, f: nn.Module, g: nn.Module, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.f, self.g, self.latent_shape = f, g, latent_shape

    def encode(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch latent"]:
        code: Tensor = self.f(x)
        return code

    def decode(self, h: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels height width"]:
        image: Tensor = self.g(h)
        return image


@dataclass(frozen=True, kw_only=True)
class DSpritesDiscriminator:
    """Discriminator of AMR's authors for dSprites: spectral norm on every layer, one raw score per image.

    Their scripts for AMR use width 32; the one for AE+GAN left it at 64. They made five passes a step with one power
    iteration each; here one pass has five. Weights are initialised as theirs, as in He et al. 2015 (normal, fan-in,
    gain √2) with biases at 0, before spectral norm divides them: their size sets how small Adam's steps are relative to
    them.
    """

    width: Width = 32
    hidden: Hidden = 256
    power_iterations: PowerIterations = 5

    def build(self, context: BuildContext) -> "DSpritesCritic":
        return DSpritesCritic(self, context)


class DSpritesCritic(nn.Module):
    """An encoder that ends in one logit, with a label head if the objective needs one."""

    def __init__(self, options: DSpritesDiscriminator, context: BuildContext) -> None:
        super().__init__()
        layers = encoder(context.image_shape, options.width, options.hidden, 1)
        for layer in layers:
            init_layer(layer)
            if options.power_iterations and isinstance(layer, nn.Conv2d | nn.Linear):
                spectral_norm(layer, n_power_iterations=options.power_iterations)
        self.layers = nn.Sequential(*layers)
        join_spectral_norms(self.layers)
        self.head = label_head(options.hidden, context.num_labels)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Scores:
        features = self.layers[:-1](x)
        label_logits = None if self.head is None else self.head(features)
        return Scores(self.layers[-1](features).flatten(), label_logits)


def encoder(image_shape: tuple[int, int, int], width: int, hidden: int, numbers: int) -> list[nn.Module]:
    """Layers from an image to a vector of `numbers`, twice the size of the code for a variational encoder."""
    channels, *_ = image_shape
    layers: list[nn.Module] = []
    for halving in range(HALVINGS):
        layers += [nn.Conv2d(width if halving else channels, width, 4, stride=2, padding=1), nn.ReLU()]
    flat = prod(map_shape(image_shape, width))
    dense = [nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, numbers)]
    return [*layers, nn.Flatten(), *dense]


def decoder(image_shape: tuple[int, int, int], width: int, hidden: int, numbers: int) -> list[nn.Module]:
    """Layers from a vector of `numbers` to an image in (-1, 1)."""
    channels, *_ = image_shape
    smallest = map_shape(image_shape, width)
    layers: list[nn.Module] = [nn.Linear(numbers, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
    layers += [nn.Linear(hidden, prod(smallest)), nn.ReLU(), nn.Unflatten(1, smallest)]
    for doubling in range(HALVINGS):
        last = doubling == HALVINGS - 1
        up = nn.ConvTranspose2d(width, channels if last else width, 4, stride=2, padding=1)
        layers += [up, nn.Tanh() if last else nn.ReLU()]
    return layers


def map_shape(image_shape: tuple[int, int, int], width: int) -> tuple[int, int, int]:
    """The shape of the smallest map. Raises ValueError if the image cannot be halved HALVINGS times."""
    _, height, wide = image_shape
    if height % 2**HALVINGS or wide % 2**HALVINGS:
        raise ValueError(
            f"images of {height}x{wide} cannot be halved {HALVINGS} times: both sides must be multiples of "
            f"{2**HALVINGS}; use another size= of the data set, such as 64x64"
        )
    return width, height >> HALVINGS, wide >> HALVINGS


def init_layer(layer: nn.Module) -> None:
    """Initialise a linear layer or convolution: normal weights of variance 2 / fan-in, biases 0."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
