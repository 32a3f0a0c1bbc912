"""timm's layers up to one feature map, and what timm says of the maps on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixzoo.errors import nearest, shown
from mixzoo_timm.library import first_line, timm
from mixzoo_timm.weights import check_weights_loaded, fetched, read

IMAGES_TRIED = 4  # random ones: behind a max pooling a pixel of one image may have no gradient by chance
LEAST_WIDTH = 16  # feature maps of a layer of the decoder, however few the encoder has there


@dataclass(frozen=True)
class Features:
    """An encoder of timm that gives [map], and what the rest is built from."""

    name: str
    net: nn.Module
    size: tuple[int, int]  # positions of the map, height and width
    stages: tuple[tuple[int, int], ...]  # (reduction, channels) of each feature map up to the one that is given
    mean: tuple[float, ...]  # of the images that timm trained the model on, in [0, 1], for each channel
    deviation: tuple[float, ...]

    @property
    def channels(self) -> int:
        return self.stages[-1][1]

    def widths(self, most: int) -> list[int]:
        """Feature maps of the decoder at 1, 1/2, 1/4, ... of the image: timm's, or half of the next where it has none.

        A reduction that is no power of 2 (a patch of 14) counts as the next one.
        """
        stated = {ceil(log2(reduction)): channels for reduction, channels in self.stages}
        width = self.channels
        widths = []
        for scale in reversed(range(max(stated) + 1)):
            width = stated.get(scale, width // 2)
            widths.append(min(max(width, LEAST_WIDTH), most))
        return widths[::-1]


def pretrained_file(model: str, pretrained: bool, weights: str | None) -> Path | None:
    """The file to begin from, if any."""
    if weights is not None:
        return Path(weights).expanduser()
    return fetched(known(model)) if pretrained else None


def known(model: str) -> str:
    """The name itself; ValueError with the nearest for one that timm does not have."""
    bare = model.partition(".")[0]  # resnet18.a1_in1k is resnet18 with weights of that name
    if not timm().is_model(bare):
        raise ValueError(f"model={shown(model)} is no model of timm.{nearest(bare, timm().list_models())}")
    try:
        configured = timm().get_pretrained_cfg(model)
    except RuntimeError:  # a tag that it does not have
        configured = None
    if configured is None:
        raise ValueError(f"model={shown(model)}: timm knows {bare!r}, but no weights of that name")
    return model


def backbone(model: str, index: int, image_shape: tuple[int, int, int], file: Path | None) -> Features:
    """timm's encoder for images of this shape; ValueError for a shape that it does not take or does not see whole."""
    config = timm().get_pretrained_cfg(known(model))
    wanted = config.input_size[0]
    if image_shape[0] not in (1, wanted):
        raise ValueError(f"images of {image_shape[0]} channels: {model!r} takes {wanted}, or grey images")
    size = image_shape[1:]
    state = torch.get_rng_state()
    net = _created(model, index, size)
    if file is not None:
        begun, tensors = net, read(file)
        torch.set_rng_state(state)  # so that what differs came from the file
        net = _created(model, index, size, tensors, str(file))
        check_weights_loaded(begun, net, f"weights={str(file)!r}")
    info = net.feature_info
    stages = tuple((info.reduction(i), info.channels(i)) for i in range(index + 1))
    code = _tried(net, model, (wanted, *size), stages[-1])
    return Features(model, net, code, stages, _per_channel(config.mean, wanted), _per_channel(config.std, wanted))


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values if len(values) == channels else values[:1] * channels


def _created(
    model: str, index: int, size: tuple[int, int], tensors: Mapping[str, Tensor] | None = None, where: str = ""
) -> Any:
    """timm's model cut off after the map.

    Wherever the model has `forward_intermediates`, features_only goes through it, for convolutional families too: it
    gives every map as [channels, height, width] (swin's default has the channels last) and drops the blocks after it
    (efficientnet's default keeps them, unused).
    """
    options: dict[str, Any] = {}
    if timm().get_pretrained_cfg(model).fixed_input_size:
        options["img_size"] = size
    if tensors is not None:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(tensors)}}
    try:
        net = _cut(model, index, options)
    except (AssertionError, IndexError) as err:
        raise ValueError(f"out_index={index}: {_maps(model, options) or first_line(err)}") from err
    except Exception as err:  # whatever a model's own code makes of a size, an option or a tensor that does not fit
        said = f"{type(err).__name__}: {first_line(err)}"
        if tensors is not None:
            details = "; ".join(line.strip() for line in str(err).splitlines()[1:3])
            raise ValueError(f"weights={where!r}: does not fit {model!r} ({details[:300] or said})") from err
        raise ValueError(f"images of {size[0]}x{size[1]}: timm cannot make {model!r} for them ({said})") from err
    for module in net.modules():  # the pretrained weights lie in there once more
        for name in ("pretrained_cfg", "default_cfg"):
            vars(module).pop(name, None)
    return net


def _cut(model: str, index: int, options: dict[str, Any]) -> Any:
    create = timm().create_model
    net = create(model, features_only=True, out_indices=(index,), feature_cls="getter", **options)
    if hasattr(net.model, "forward_intermediates"):
        return net
    return create(model, features_only=True, out_indices=(index,), **options)


def _maps(model: str, options: dict[str, Any]) -> str:
    """How many feature maps the model has, in words, or '' where even the first cannot be had."""
    try:
        last = len(_cut(model, 0, options).feature_info) - 1
    except Exception:
        return ""
    return f"{model!r} has feature maps 0 to {last}"


def _tried(net: nn.Module, model: str, shape: tuple[int, int, int], stage: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the map, found by a pass; parameters that it does not depend on are set not to train.

    ValueError where the pass fails, or where the last rows or columns of the image reach no position of the map.
    """
    reduction, channels = stage
    sides = f"images of {shape[1]}x{shape[2]}"
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(IMAGES_TRIED, *shape, generator=rng).requires_grad_()
    parameters = list(net.parameters())
    net.eval()
    try:
        (maps,) = net(x)
    except Exception as err:  # whatever a model's own code makes of a size that it does not take
        raise ValueError(f"{sides}: {model!r} does not take them ({first_line(err)})") from err
    if maps.ndim != 4 or maps.shape[1] != channels:
        raise ValueError(f"model={model!r} gives {list(maps.shape)} where timm states maps of {channels} channels")
    height, width = maps.shape[2:]
    loss = (torch.randn(maps.shape, generator=rng) * maps).sum()
    gradient, *reached = torch.autograd.grad(loss, [x, *parameters], allow_unused=True)
    seen = _seen(gradient)
    if any(full > part and full > places * reduction for full, part, places in zip(shape[1:], seen, (height, width))):
        raise ValueError(
            f"{sides}: {model!r} would see {seen[0]}x{seen[1]} of them; it sees sides that are multiples of "
            f"{reduction} whole"
        )
    for parameter, grad in zip(parameters, reached):
        if grad is None:
            parameter.requires_grad_(False)
    return height, width


def _seen(gradient: Tensor) -> tuple[int, int]:
    """Rows and columns up to the last that has a gradient in any image; all where none has, the weights being dead."""
    there = gradient.abs().amax((0, 1)) > 0  # [height width]
    if not there.any():
        return gradient.shape[2], gradient.shape[3]
    return int(there.any(1).nonzero().max()) + 1, int(there.any(0).nonzero().max()) + 1
