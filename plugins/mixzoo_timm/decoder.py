"""Decoder g: doubles the code's maps up to the size of the image, with as many channels as the encoder has there.

    per scale [3x3 conv, 3x3 conv, nearest upsampling] · 3x3 conv · 3x3 conv to the image

Every convolution except the last is followed by group norm, which normalises each image alone, and a leaky ReLU. The
layout is that of Berthelot et al. 2019, with a norm because timm's feature maps, and so the codes, may have any scale.
"""

from collections.abc import Sequence
from math import prod, sqrt

from jaxtyping import Float
from torch import Tensor, nn

from mixzoo_timm.norms import group_norm

SLOPE = 0.2  # of the leaky ReLU below 0, as in Berthelot et al. 2019


class Decoder(nn.Module):
    """`widths[s]` is the number of feature maps at 1 / 2^s of the image's sides; the code is at the last of them."""

    def __init__(self, latent: int, channels: int, image: tuple[int, int], widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = latent
        for scale in reversed(range(1, len(widths))):
            layers += [*_block(width, widths[scale]), *_block(widths[scale], widths[scale])]
            width = widths[scale]
            # A size, not a factor of 2: sides may be odd, and a patch may not be a power of two.
            size = tuple(-(-side // 2 ** (scale - 1)) for side in image)
            layers.append(nn.Upsample(size=size, mode="nearest"))
        layers += [*_block(width, widths[0]), _conv(widths[0], channels)]
        self.layers = nn.Sequential(*layers)

    def forward(
        self, h: Float[Tensor, "batch latent code_height code_width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Images; the last layer is linear, so they are not limited to [-1, 1]."""
        image: Tensor = self.layers(h)
        return image


def _conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    """A 3x3 convolution initialised ~ N(0, 1 / (1.04 fan_in)) as in Berthelot et al. 2019."""
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    nn.init.normal_(conv.weight, std=1 / sqrt(1.04 * prod(conv.weight.shape[1:])))
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def _block(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [_conv(channels_in, channels_out), group_norm(channels_out), nn.LeakyReLU(SLOPE)]
