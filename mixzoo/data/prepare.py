"""Pictures of any size and mode as a network's input, prepared as the folder data set prepares its files.

grey or RGB  <-  16 bits to 8, transparency over black, colours to grey or grey to three equal channels
size         <-  the central part with the target's sides, resized bilinearly (Pillow, antialiased)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from mixzoo.core.errors import ConfigError, DataError, path_excerpt, truncated_repr
from mixzoo.core.strides import canonical
from mixzoo.data.batches import to_images

ALLOWED = (
    "give a PIL image, a file, an array or tensor [height, width], [height, width, channels] or [channels, height, "
    "width] (uint8 in 0..255, or floats in [-1, 1]), a batch of them, or a list"
)


def prepare_images(
    images: Any, image_shape: tuple[int, int, int], *, value_range: tuple[float, float] | None = None
) -> Float[Tensor, "batch channels height width"]:
    """Images in [-1, 1] of `image_shape`, on the CPU: one picture or many, of any size and mode.

    `images` is a PIL image, the path of a file, a numpy array or tensor, one or a batch, or a list of these. Integers
    are bytes in 0..255 (16-bit pictures are scaled); floats are in `value_range`, [-1, 1] if it is not given. Raises
    ConfigError if something is no image, is empty, holds NaN or infinity, leaves its range, or (floats without
    `value_range`) has no number below 0, as images in [0, 1] do; DataError if a file cannot be read.
    """
    parts = [_prepared(one, image_shape, value_range) for one in _each(images)]
    if not parts:
        raise ConfigError(f"there are no images; {ALLOWED}")
    return canonical(torch.cat(parts))


def central_part(image: Image.Image, height: int, width: int) -> Image.Image:
    """The largest central part whose sides are as height to width. (Pillow's fit() lets outside pixels bleed in.)"""
    across = max(1, min(image.width, image.height * width // height))
    down = max(1, min(image.height, image.width * height // width))
    left, top = (image.width - across) // 2, (image.height - down) // 2
    return image.crop((left, top, left + across, top + down))


def picture_bytes(image: Image.Image, *, grey: bool, size: tuple[int, int] | None = None) -> np.ndarray:
    """A decoded picture as bytes [height, width, 1 or 3], cropped and resized to `size`, (height, width), if given."""
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    image = image.convert("L" if grey else "RGB")
    if size is not None and image.size != size[::-1]:
        image = central_part(image, *size).resize(size[::-1], Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def _each(images: Any) -> Iterator[Any]:
    """One picture or a batch at a time."""
    if isinstance(images, list | tuple):
        for one in images:
            yield from _each(one)
    else:
        yield images


def _prepared(given: Any, image_shape: tuple[int, int, int], value_range: tuple[float, float] | None) -> Tensor:
    """One picture, or a batch of an array, as [batch, channels, height, width] in [-1, 1]."""
    if isinstance(given, str | Path):
        given = _read(Path(given))
    if isinstance(given, Image.Image):
        turned = ImageOps.exif_transpose(given)
        if min(turned.size) == 0:
            raise ConfigError(f"an image of {turned.width}x{turned.height} pixels is empty; {ALLOWED}")
        channels, *size = image_shape
        _check_channels(channels)
        pixels = picture_bytes(turned, grey=channels == 1, size=(size[0], size[1]))
        return to_images(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    if isinstance(given, np.ndarray):
        given = torch.from_numpy(np.ascontiguousarray(given))
    if not isinstance(given, Tensor):
        raise ConfigError(f"{truncated_repr(given)} is no image; {ALLOWED}")
    batch = _as_batch(given.detach().cpu(), image_shape[0])
    if batch.is_floating_point() or batch.dtype == torch.bool:
        return _resized(_in_range(batch.float(), value_range), image_shape)
    if int(batch.min()) < 0 or int(batch.max()) > 255:
        raise ConfigError(f"images are {given.dtype} from {int(batch.min())} to {int(batch.max())}; {ALLOWED}")
    if batch.shape[2:] == image_shape[1:] and batch.shape[1] == image_shape[0]:
        return to_images(batch.to(torch.uint8))
    _check_channels(image_shape[0])
    shown = [Image.fromarray(one.squeeze(2).numpy()) for one in batch.to(torch.uint8).permute(0, 2, 3, 1)]
    return torch.cat([_prepared(one, image_shape, None) for one in shown])


def _check_channels(channels: int) -> None:
    if channels not in (1, 3):
        raise ConfigError(
            f"the network takes images of {channels} channels, which no picture has; give arrays or tensors of the "
            "network's own shape"
        )


def _read(file: Path) -> Image.Image:
    """The picture in a file, decoded."""
    try:
        with Image.open(file) as found:
            found.load()
            return found
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as err:
        reason = getattr(err, "strerror", None) or "it is no picture that can be read"
        raise DataError(f"{path_excerpt(file)}: {reason}") from err


def _as_batch(given: Tensor, channels: int) -> Tensor:
    """[batch, channels, height, width], by where 1 or 3 channels can be, the network's own number first."""
    found = given
    if given.ndim == 2:
        found = given[None, None]
    elif given.ndim == 3:
        known = (channels, 1, 3, 4)
        first = next((c for c in known if given.shape[0] == c), None)
        last = next((c for c in known if given.shape[2] == c), None)
        if first is None and last is None:
            raise ConfigError(f"images are of shape {tuple(given.shape)}, which may be {ALLOWED.removeprefix('give ')}")
        found = given[None] if first is not None else given.permute(2, 0, 1)[None]
    elif given.ndim == 4 and given.shape[1] not in (channels, 1, 3, 4) and given.shape[3] in (channels, 1, 3, 4):
        found = given.permute(0, 3, 1, 2)
    elif given.ndim != 4:
        raise ConfigError(f"images are of shape {tuple(given.shape)}; {ALLOWED}")
    if not found.numel():
        raise ConfigError(f"images are of shape {tuple(given.shape)}, which is empty; {ALLOWED}")
    if found.shape[1] not in (channels, 1, 3, 4):
        raise ConfigError(
            f"images are of shape {tuple(given.shape)}: {found.shape[1]} channels, not 1, 3 or {channels}"
        )
    return found


def _in_range(batch: Tensor, value_range: tuple[float, float] | None) -> Tensor:
    """Floats in [-1, 1], from `value_range`."""
    low, high = map(float, torch.aminmax(batch))
    if not (torch.isfinite(batch).all()):
        raise ConfigError("images hold NaN or infinity; floats are in [-1, 1]")
    if value_range is None and low >= 0 and high > 0:
        raise ConfigError(
            f"float images are from {low:.3g} to {high:.3g}, with nothing below 0; say value_range=(0, 1) if 0 is "
            "black, or value_range=(-1, 1) if they are as the network takes them"
        )
    least, greatest = (-1.0, 1.0) if value_range is None else value_range
    if low < least - 1e-6 or high > greatest + 1e-6:
        raise ConfigError(
            f"float images are from {low:.3g} to {high:.3g}, beyond [{least:g}, {greatest:g}]; give value_range=(low, "
            "high), or bytes"
        )
    if (least, greatest) == (-1.0, 1.0):
        return batch
    return (batch - least) / (greatest - least) * 2 - 1


def _resized(batch: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """Floats with the network's channels and size; bilinear with antialiasing, as Pillow has it."""
    channels, height, width = image_shape
    if batch.shape[1] == 4 and channels != 4:  # transparency over black
        batch = (batch[:, :3] + 1) * (batch[:, 3:] + 1) / 2 - 1
    if batch.shape[1] == 3 and channels == 1:  # ITU-R 601-2, the weights of Pillow's convert("L")
        batch = (batch * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    elif batch.shape[1] == 1 and channels == 3:
        batch = batch.expand(-1, 3, -1, -1)
    if batch.shape[1] != channels:
        raise ConfigError(f"images have {batch.shape[1]} channels, and the network takes {channels}")
    if batch.shape[2:] == (height, width):
        return batch
    across = max(1, min(batch.shape[3], batch.shape[2] * width // height))
    down = max(1, min(batch.shape[2], batch.shape[3] * height // width))
    left, top = (batch.shape[3] - across) // 2, (batch.shape[2] - down) // 2
    part = batch[:, :, top : top + down, left : left + across]
    return interpolate(part, size=(height, width), mode="bilinear", antialias=True)
