"""timm's layers up to one feature map, and the shapes of the maps on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixzoo import nearest, truncated_repr
from mixzoo_timm.library import first_line, timm
from mixzoo_timm.weights import check_weights_loaded, fetch, read_weights

TRIAL_IMAGES = 4  # random ones; in a single one, max pooling may leave a pixel without gradient by chance
MIN_WIDTH = 16  # feature maps in a layer of the decoder, even if the encoder has fewer


@dataclass(frozen=True)
class Features:
    """A timm encoder that returns [map], and what encoder and decoder are built from."""

    name: str
    net: nn.Module
    size: tuple[int, int]  # height and width of the map
    stages: tuple[tuple[int, int], ...]  # (reduction, channels) of each feature map up to the returned one
    mean: tuple[float, ...]  # of each channel of the images that timm trained the model on, in [0, 1]
    deviation: tuple[float, ...]

    @property
    def channels(self) -> int:
        return self.stages[-1][1]

    def widths(self, most: int) -> list[int]:
        """Feature maps of the decoder at 1, 1/2, 1/4, ... of the image: timm's, or half those of the next scale.

        A reduction that is not a power of 2, such as a patch of 14, is rounded up to one.
        """
        known_widths = {ceil(log2(reduction)): channels for reduction, channels in self.stages}
        width = self.channels
        widths = []
        for scale in reversed(range(max(known_widths) + 1)):
            width = known_widths.get(scale, width // 2)
            widths.append(min(max(width, MIN_WIDTH), most))
        return widths[::-1]


def pretrained_file(model: str, pretrained: bool, weights: str | None) -> Path | None:
    """The file of the weights to start from, or None."""
    if weights is not None:
        return Path(weights).expanduser()
    return fetch(check_model(model)) if pretrained else None


def check_model(model: str) -> str:
    """The name of a timm model. Raises ValueError, with the nearest name, if timm does not have it."""
    bare = model.partition(".")[0]  # resnet18.a1_in1k is resnet18 with the weights a1_in1k
    if not timm().is_model(bare):
        raise ValueError(f"model={truncated_repr(model)} is not a timm model.{nearest(bare, timm().list_models())}")
    try:
        configured = timm().get_pretrained_cfg(model)
    except RuntimeError:  # it has no weights with this tag
        configured = None
    if configured is None:
        raise ValueError(f"model={truncated_repr(model)}: timm has {bare!r}, but not these weights")
    return model


def backbone(model: str, index: int, image_shape: tuple[int, int, int], file: Path | None) -> Features:
    """timm's encoder for images of this shape. Raises ValueError if it does not accept or fully see them."""
    config = timm().get_pretrained_cfg(check_model(model))
    wanted = config.input_size[0]
    if image_shape[0] not in (1, wanted):
        raise ValueError(f"images of {image_shape[0]} channels: {model!r} needs {wanted} channels, or grey images")
    size = image_shape[1:]

    # With weights, build the network twice from the same random numbers, to see which tensors the file lacks.
    state = torch.get_rng_state()
    net = _create(model, index, size)
    if file is not None:
        initial, tensors = net, read_weights(file)
        torch.set_rng_state(state)  # so that only tensors from the file differ
        net = _create(model, index, size, tensors, str(file))
        check_weights_loaded(initial, net, f"weights={str(file)!r}")

    info = net.feature_info
    stages = tuple((info.reduction(i), info.channels(i)) for i in range(index + 1))
    code = _try_out(net, model, (wanted, *size), stages[-1])
    return Features(model, net, code, stages, _per_channel(config.mean, wanted), _per_channel(config.std, wanted))


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values if len(values) == channels else values[:1] * channels


def _create(
    model: str, index: int, size: tuple[int, int], tensors: Mapping[str, Tensor] | None = None, where: str = ""
) -> Any:
    """timm's model, truncated after the map.

    features_only uses `forward_intermediates` if the model has it, also in convolutional families: it returns every map
    as [channels, height, width] (swin's default is channels last) and drops later blocks (efficientnet's default keeps
    them, unused).
    """
    options: dict[str, Any] = {}
    if timm().get_pretrained_cfg(model).fixed_input_size:
        options["img_size"] = size
    if tensors is not None:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(tensors)}}
    try:
        net = _truncated(model, index, options)
    except (AssertionError, IndexError) as err:
        raise ValueError(f"out_index={index}: {_maps(model, options) or first_line(err)}") from err
    except Exception as err:  # anything that a model raises for a size, an option or a tensor that does not fit
        cause = f"{type(err).__name__}: {first_line(err)}"
        if tensors is not None:
            details = "; ".join(line.strip() for line in str(err).splitlines()[1:3])
            raise ValueError(f"weights={where!r}: does not fit {model!r} ({details[:300] or cause})") from err
        raise ValueError(f"images of {size[0]}x{size[1]}: timm cannot build {model!r} for them ({cause})") from err
    for module in net.modules():  # which hold another copy of the pretrained weights
        for name in ("pretrained_cfg", "default_cfg"):
            vars(module).pop(name, None)
    return net


def _truncated(model: str, index: int, options: dict[str, Any]) -> Any:
    create = timm().create_model
    net = create(model, features_only=True, out_indices=(index,), feature_cls="getter", **options)
    if hasattr(net.model, "forward_intermediates"):
        return net
    return create(model, features_only=True, out_indices=(index,), **options)


def _maps(model: str, options: dict[str, Any]) -> str:
    """Which feature maps the model has, as a phrase; '' if even the first cannot be built."""
    try:
        last = len(_truncated(model, 0, options).feature_info) - 1
    except Exception:
        return ""
    return f"{model!r} has feature maps 0 to {last}"


def _try_out(net: nn.Module, model: str, shape: tuple[int, int, int], stage: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the map, from a trial pass; freezes parameters that the map does not depend on.

    Raises ValueError if the pass fails, or if the last rows or columns of the image do not affect the map.
    """
    reduction, channels = stage
    sides = f"images of {shape[1]}x{shape[2]}"
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(TRIAL_IMAGES, *shape, generator=rng).requires_grad_()
    parameters = list(net.parameters())
    net.eval()
    try:
        (maps,) = net(x)
    except Exception as err:  # anything that a model raises for a size that it does not accept
        raise ValueError(f"{sides}: {model!r} does not accept them ({first_line(err)})") from err
    if maps.ndim != 4 or maps.shape[1] != channels:
        raise ValueError(f"model={model!r} returns {list(maps.shape)}, but timm declares maps of {channels} channels")
    height, width = maps.shape[2:]
    loss = (torch.randn(maps.shape, generator=rng) * maps).sum()
    gradient, *gradients = torch.autograd.grad(loss, [x, *parameters], allow_unused=True)
    seen = _seen(gradient)
    if any(full > part and full > length * reduction for full, part, length in zip(shape[1:], seen, (height, width))):
        raise ValueError(
            f"{sides}: {model!r} would see only {seen[0]}x{seen[1]} of them; it sees all of images whose sides are "
            f"multiples of {reduction}"
        )
    for parameter, grad in zip(parameters, gradients):
        if grad is None:
            parameter.requires_grad_(False)
    return height, width


def _seen(gradient: Tensor) -> tuple[int, int]:
    """Rows and columns up to the last one with a gradient in any image; all of them if no pixel has one."""
    reached = gradient.abs().amax((0, 1)) > 0  # [height width]
    if not reached.any():
        return gradient.shape[2], gradient.shape[3]
    return int(reached.any(1).nonzero().max()) + 1, int(reached.any(0).nonzero().max()) + 1
