"""A stack of layers that runs in the form that is fastest on a CPU: the same function up to rounding.

The layers, their order and the names of their weights do not change. On other devices, and in programs that are being
exported (torch.export, torch.jit.trace, ONNX) and may run anywhere, the layers run one after another.
benchmarks/step.py measures the gain of each form.
"""

from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FEW = 3  # output maps, up to which a convolution is faster as a sum over its taps


class Stack(nn.Sequential):
    """Layers one after another; on a CPU, some pairs of them run as one convolution."""

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        layers, plain = list(self), x.device.type != "cpu" or is_exported()
        while layers:
            layer, following = layers.pop(0), layers[0] if layers else None
            if plain:
                x = layer(x)
            elif is_conv(layer, 1) and is_conv(following, 3) and layer.in_channels + 1 < layer.out_channels:
                x = fused_first(x, layer, following)
                layers.pop(0)
            elif isinstance(layer, nn.Upsample) and is_conv(following, 3):
                x = fused_upsample(x, following)
                layers.pop(0)
            elif is_conv(layer, 3) and layer.out_channels <= FEW:
                x = conv_by_taps(x, layer)
            else:
                x = layer(x)
        return x


def is_exported() -> bool:
    """Whether torch.export or torch.jit.trace, and so possibly an ONNX exporter, is recording this pass.

    False under torch.compile, which runs the program on this machine.
    """
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # not in its __all__


def is_conv(layer: nn.Module | None, side: int) -> TypeGuard[nn.Conv2d]:
    """Whether the layer is a convolution with side x side kernels."""
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (side, side)


def fused_first(
    x: Float[Tensor, "batch channels height width"], first: nn.Conv2d, conv: nn.Conv2d
) -> Float[Tensor, "batch out padded_height padded_width"]:
    """conv(first(x)) as one 3x3 convolution of the padded image and a map of ones, which carries the bias of `first`.

    first(x) = W₁x + b₁ on the padded image, so the kernel is W₃W₁ for x and W₃b₁ for the ones.
    """
    padding = int(first.padding[0])
    assert first.bias is not None
    ones = x.new_ones(1, 1, x.shape[2] + 2 * padding, x.shape[3] + 2 * padding)
    # x.shape[0] instead of len(x), which a tracer would freeze as a constant.
    padded = torch.cat([F.pad(x, [padding] * 4), ones.expand(x.shape[0], -1, -1, -1)], dim=1)
    mixing = torch.cat([first.weight.flatten(1), first.bias[:, None]], dim=1)  # [middle, channels + 1]
    weight = conv.weight  # read once, since each read is a power iteration of spectral norm
    kernel = torch.einsum("omhw,mc->ochw", weight, mixing)
    if weight.is_contiguous():  # einsum returns channels last, and so would all later layers
        kernel, padded = kernel.contiguous(), padded.contiguous()
    return F.conv2d(padded, kernel, conv.bias, padding=1)


def fused_upsample(
    x: Float[Tensor, "batch channels height width"], conv: nn.Conv2d
) -> Float[Tensor, "batch out 2*height 2*width"]:
    """conv of x upsampled by two, as a transposed convolution of stride 2, which reads each pixel once.

    Along one axis a kernel (w₀, w₁, w₂) becomes (w₂, w₂ + w₁, w₁ + w₀, w₀).
    """
    turned = conv.weight.flip(2, 3).transpose(0, 1)
    tall = F.pad(turned, [0, 0, 0, 1]) + F.pad(turned, [0, 0, 1, 0])
    kernel = F.pad(tall, [0, 1]) + F.pad(tall, [1, 0])
    return F.conv_transpose2d(x, kernel, conv.bias, stride=2, padding=1)


def conv_by_taps(
    x: Float[Tensor, "batch channels height width"], conv: nn.Conv2d
) -> Float[Tensor, "batch out height width"]:
    """conv as the sum of nine shifted matrix products, one for each tap of its kernel.

    A convolution with few output maps would leave most of a vector unit idle.
    """
    taps = conv.weight.flip(2, 3).permute(0, 2, 3, 1).reshape(1, -1, conv.in_channels)  # [1, out * 9, channels]
    products = torch.bmm(taps.expand(x.shape[0], -1, -1), x.flatten(2))
    assert conv.bias is not None
    return F.fold(products, x.shape[2:], 3, padding=1) + conv.bias[:, None, None]
