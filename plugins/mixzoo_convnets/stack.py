"""A stack of layers, run in the form that is fastest on a CPU: the same function to rounding, by fewer operations.

Nothing but the way changes: layers, their order and the names of their weights stay those of the list. On other
devices, and while a program is exported (torch.export, torch.jit.trace, ONNX), the layers run one after another: what
is exported may run anywhere. What each form gains is measured by benchmarks/step.py.
"""

from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FEW = 3  # maps out of a convolution, below which it is faster by its taps


class Stack(nn.Sequential):
    """Layers one after another; on a CPU, two that are faster as one convolution are one."""

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        layers, plain = list(self), x.device.type != "cpu" or is_exported()
        while layers:
            layer, following = layers.pop(0), layers[0] if layers else None
            if plain:
                x = layer(x)
            elif is_conv(layer, 1) and is_conv(following, 3) and layer.in_channels + 1 < layer.out_channels:
                x = begin(x, layer, following)
                layers.pop(0)
            elif isinstance(layer, nn.Upsample) and is_conv(following, 3):
                x = enlarge(x, following)
                layers.pop(0)
            elif is_conv(layer, 3) and layer.out_channels <= FEW:
                x = gather(x, layer)
            else:
                x = layer(x)
        return x


def is_exported() -> bool:
    """Whether this pass is being recorded by torch.export or torch.jit.trace, and with either by an ONNX exporter.

    False under torch.compile, which runs the program on this machine.
    """
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # not in its __all__


def is_conv(layer: nn.Module | None, side: int) -> TypeGuard[nn.Conv2d]:
    """Whether it is a convolution with kernels of side x side."""
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (side, side)


def begin(
    x: Float[Tensor, "batch channels height width"], first: nn.Conv2d, conv: nn.Conv2d
) -> Float[Tensor, "batch out framed_height framed_width"]:
    """conv(first(x)) as one 3x3 convolution of the framed image and of a map of ones, which carries first's bias.

    first(x) = W₁x + b₁ on the framed image, so conv's kernel is W₃W₁ on x and W₃b₁ on the ones.
    """
    frame = int(first.padding[0])
    assert first.bias is not None
    ones = x.new_ones(1, 1, x.shape[2] + 2 * frame, x.shape[3] + 2 * frame)
    # x.shape[0], not len(x): a tracer sees len as a constant, and the batch size would be frozen
    framed = torch.cat([F.pad(x, [frame] * 4), ones.expand(x.shape[0], -1, -1, -1)], dim=1)
    mixing = torch.cat([first.weight.flatten(1), first.bias[:, None]], dim=1)  # [middle, channels + 1]
    weight = conv.weight  # read once: each time, spectral norm takes a step
    kernel = torch.einsum("omhw,mc->ochw", weight, mixing)
    if weight.is_contiguous():  # einsum leaves channels last, and all that follows would be so too
        kernel, framed = kernel.contiguous(), framed.contiguous()
    return F.conv2d(framed, kernel, conv.bias, padding=1)


def enlarge(
    x: Float[Tensor, "batch channels height width"], conv: nn.Conv2d
) -> Float[Tensor, "batch out 2*height 2*width"]:
    """conv of x upsampled by two, as a transposed convolution of stride 2: no pixel is read four times.

    Along one axis a kernel (w₀, w₁, w₂) becomes (w₂, w₂ + w₁, w₁ + w₀, w₀).
    """
    turned = conv.weight.flip(2, 3).transpose(0, 1)
    tall = F.pad(turned, [0, 0, 0, 1]) + F.pad(turned, [0, 0, 1, 0])
    kernel = F.pad(tall, [0, 1]) + F.pad(tall, [1, 0])
    return F.conv_transpose2d(x, kernel, conv.bias, stride=2, padding=1)


def gather(x: Float[Tensor, "batch channels height width"], conv: nn.Conv2d) -> Float[Tensor, "batch out height width"]:
    """conv as a matrix product over channels for each of its nine taps, and the sum of the shifted results.

    A convolution with few maps out leaves most of a vector unit idle.
    """
    taps = conv.weight.flip(2, 3).permute(0, 2, 3, 1).reshape(1, -1, conv.in_channels)  # [1, out * 9, channels]
    products = torch.bmm(taps.expand(x.shape[0], -1, -1), x.flatten(2))
    assert conv.bias is not None
    return F.fold(products, x.shape[2:], 3, padding=1) + conv.bias[:, None, None]
