"""The building blocks of encoder, decoder and discriminator, and their initialisation.

    encoder  1x1 conv · per scale [3x3 conv, 3x3 conv, average pool /2] · two 3x3 convs to the code
    decoder  per scale [3x3 conv, 3x3 conv, nearest upsampling x2] · two 3x3 convs to the image

Every convolution except the first and the last is followed by an optional norm and a leaky ReLU. The layout is that of
Berthelot et al. 2019; AMR's networks keep its sizes.
"""

from dataclasses import dataclass
from math import prod, sqrt
from typing import Annotated, Literal, TypeAlias, TypeVar

from annotated_types import Ge, Le
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from mixzoo_convnets.spectral import join_spectral_norms
from mixzoo_convnets.stack import Stack

L = TypeVar("L", nn.Conv2d, nn.GroupNorm)

# Options of several recipes, each with its own default.
Latent: TypeAlias = Annotated[int, Ge(1), "feature maps of the code; dh = latent x 4 x 4 for images of 32x32"]
Depth: TypeAlias = Annotated[int, Ge(1), "feature maps of the first scale; each further scale has twice as many"]
Scales: TypeAlias = Annotated[int, Ge(1), Le(8), "times the image is halved; by default down to a side of 4"]
Norm: TypeAlias = Annotated[Literal["none", "instance"], "after each hidden convolution"]
Slope: TypeAlias = Annotated[float, Ge(0), Le(1), "of the leaky ReLU below 0"]
Border: TypeAlias = Annotated[int, Ge(0), Le(1), "pixels that the first 1x1 convolution pads the image with"]
Init: TypeAlias = Annotated[
    Literal["fan_in", "authors"],
    "fan_in, or as in AMR's code, which assumed another library's order of the weight axes",
]

CODE_SIDE = 4  # positions along the smaller side of the code, unless the number of scales is given


@dataclass(frozen=True)
class Style:
    """The choices that all layers of a network share."""

    norm: Literal["none", "instance"]
    slope: float
    init: Literal["fan_in", "authors"]
    power_iterations: int = 0  # of spectral norm on 3x3 convolutions; 0 for no spectral norm

    def first(self, channels_in: int, channels_out: int, border: int) -> nn.Module:
        """The 1x1 convolution of the image; the border, if any, contains only its bias."""
        return init_layer(nn.Conv2d(channels_in, channels_out, 1, padding=border), self.init)

    def conv(self, channels_in: int, channels_out: int) -> nn.Module:
        """A 3x3 convolution that keeps height and width."""
        conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        if not self.power_iterations:
            return init_layer(conv, self.init)
        if self.init == "fan_in":  # the authors' initialisation skips layers under spectral norm
            init_layer(conv, self.init)
        return spectral_norm(conv, n_power_iterations=self.power_iterations)

    def block(self, channels_in: int, channels_out: int) -> list[nn.Module]:
        """3x3 convolution, norm, leaky ReLU (in place, since its gradient needs only the sign of the input)."""
        norm = [init_layer(nn.GroupNorm(channels_out, channels_out), self.init)] if self.norm == "instance" else []
        return [self.conv(channels_in, channels_out), *norm, nn.LeakyReLU(self.slope, inplace=True)]

    def encoder(self, *, channels: int, depth: int, latent: int, scales: int, border: int) -> Stack:
        """Image [channels, height, width] -> code [latent, height / 2^scales, width / 2^scales]."""
        layers = [self.first(channels, depth, border)]
        width = depth
        for scale in range(scales):
            narrow, width = width, depth << scale
            layers += [*self.block(narrow, width), *self.block(width, width), nn.AvgPool2d(2)]
        layers += [*self.block(width, 2 * width), self.conv(2 * width, latent)]
        stack = Stack(*layers)
        join_spectral_norms(stack)
        return stack

    def decoder(self, *, channels: int, depth: int, latent: int, scales: int) -> Stack:
        """Code -> image. The last layer is linear, so the image is not limited to [-1, 1]."""
        layers: list[nn.Module] = []
        width = latent
        for scale in reversed(range(scales)):
            wide, width = width, depth << scale
            layers += [*self.block(wide, width), *self.block(width, width), nn.Upsample(scale_factor=2, mode="nearest")]
        layers += [*self.block(width, width), self.conv(width, channels)]
        return Stack(*layers)


def init_layer(layer: L, init: Literal["fan_in", "authors"]) -> L:
    """Initialise the layer's weights, set its bias to 0, and return it.

    fan_in:   convolutions ~ N(0, 1 / (1.04 fan_in)) as in Berthelot et al. 2019; the scale of a norm is 1
    authors:  N(0, 1 / (1.04 prod(shape[:-1]))), which is meant for weights [height, width, in, out] but applied to
              [out, in, height, width]; it also draws the scale of a norm, as N(0, 1 / 1.04), of either sign
    """
    weight = layer.weight
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    if init == "authors":
        nn.init.normal_(weight, std=1 / sqrt(1.04 * prod(weight.shape[:-1])))
    elif isinstance(layer, nn.Conv2d):
        nn.init.normal_(weight, std=1 / sqrt(1.04 * prod(weight.shape[1:])))
    return layer


def halvings(image_shape: tuple[int, int, int], scales: int | None, border: int) -> int:
    """How often to halve the image.

    Raises ValueError if it cannot be halved that often, or if pooling would not remove the border.
    """
    _, height, width = image_shape
    times = scales if scales is not None else max(1, (min(height, width) // CODE_SIDE).bit_length() - 1)
    multiple = 2**times
    if height % multiple or width % multiple:
        raise ValueError(
            f"images of {height}x{width} cannot be halved {times} time{'s' * (times > 1)}: "
            f"both sides must be multiples of {multiple}; {_remedy(height, width, multiple, border)}"
        )
    if border and times < 2:
        raise ValueError(f"border={border} with scales={times} leaves a code one position too large; use border=0")
    return times


def code_positions(
    image_shape: tuple[int, int, int], scales: int, norm: Literal["none", "instance"]
) -> tuple[int, int]:
    """Height and width of the code. Raises ValueError if instance norm would normalise a single position."""
    _, height, width = image_shape
    positions = (height >> scales, width >> scales)
    if norm == "instance" and positions == (1, 1):  # the variance of one position is 0
        raise ValueError(
            f"norm='instance' needs maps of more than one position, but scales={scales} leaves 1x1 of images of "
            f"{height}x{width}; use fewer scales= or norm=none"
        )
    return positions


def _remedy(height: int, width: int, multiple: int, border: int) -> str:
    """Suggests the next larger size that can be halved and, if possible, the number of scales for this size."""
    up_height, up_width = (-(-side // multiple) * multiple for side in (height, width))
    remedy = f"use another size= of the data set, such as {up_height}x{up_width}"
    sides = height | width
    times = (sides & -sides).bit_length() - 1  # factors of two that both sides have
    if times:
        remedy += f", or scales={times}" + (" with border=0" if border and times == 1 else "")
    return remedy
