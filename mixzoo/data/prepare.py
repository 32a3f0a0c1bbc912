"""Pictures of any size and mode as a network's input, prepared as the folder data set prepares its files.

upright      <-  the rotation tag (EXIF) is applied
grey or RGB  <-  16 bits to 8, transparency over black, colours to grey or grey to three equal channels; the rule for
                 each mode of a file is docs/own_images.md
size         <-  the central part with the target's sides, resized bilinearly (Pillow, antialiased)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from mixzoo.core.errors import ConfigError, DataError, path_excerpt, truncated_repr
from mixzoo.core.strides import canonical
from mixzoo.data.batches import to_images
from mixzoo.data.picture_file import PictureError, open_picture

ALLOWED = (
    "give a PIL image, a file, an array or tensor [height, width], [height, width, channels] or [channels, height, "
    "width] (uint8 in 0..255, or floats in [-1, 1]), a batch of them, or a list"
)


def prepare_images(
    images: Any, image_shape: tuple[int, int, int], *, value_range: tuple[float, float] | None = None
) -> Float[Tensor, "batch channels height width"]:
    """Images in [-1, 1] of `image_shape`, on the CPU: one picture or many, of any size and mode.

    `images` is a PIL image, the path of a file, a numpy array or tensor, one or a batch, or a list of these. Integers
    are bytes in 0..255 (16-bit pictures and uint16 arrays are scaled); floats are in `value_range`, [-1, 1] if it is
    not given. Raises ConfigError if something is not an image, is empty, contains NaN or infinity, leaves its range,
    can be read in two ways, or (floats without `value_range`) has no number below 0, as images in [0, 1] do; DataError
    if a file cannot be read.
    """
    _check_shape(image_shape)
    _check_value_range(value_range)
    parts = [_prepared(one, image_shape, value_range) for one in _each(images)]
    if not parts:
        raise ConfigError(f"there are no images; {ALLOWED}")
    return canonical(torch.cat(parts))


def central_part(width: int, height: int, target: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the largest central part whose sides are as those of `target`, (height, width).

    (Pillow's own fit() lets pixels from outside it bleed in.)
    """
    across = max(1, min(width, height * target[1] // target[0]))
    down = max(1, min(height, width * target[0] // target[1]))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def picture_bytes(image: Image.Image, *, grey: bool, size: tuple[int, int] | None = None) -> np.ndarray:
    """A decoded picture as bytes [height, width, 1 or 3], cropped and resized to `size`, (height, width), if given.

    Raises PictureError for pixels without a known range: floats, and integers outside 0..65535.
    """
    if image.mode == "F":
        raise PictureError("floating-point pixels have no known range", "save it with 8 or 16 bits")
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray(_sixteen_bits(image))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    mode = "L" if grey else "RGB"
    image = image if image.mode == mode else image.convert(mode)  # which would copy it
    if size is not None and image.size != size[::-1]:
        image = image.crop(central_part(*image.size, size)).resize(size[::-1], Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def _sixteen_bits(image: Image.Image) -> UInt8[np.ndarray, "height width"]:
    """The grey levels 0..65535 of a picture, scaled to 0..255; the level that stands for transparency is black."""
    levels = np.asarray(image)
    if levels.size and (levels.min() < 0 or levels.max() > 65535):
        raise PictureError(
            f"pixels from {levels.min()} to {levels.max()}, of 32 bits, have no known range",
            "save it with 8 or 16 bits",
        )
    clear = image.info.get("transparency")
    seen = np.where(levels == clear, 0, levels) if isinstance(clear, int) else levels
    return (seen / 257).round().astype(np.uint8)


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
    if isinstance(given, Image.Image) and given.mode == "F":
        given = np.asarray(given)  # numbers of any range, which a conversion would clip
    if isinstance(given, Image.Image):
        turned = ImageOps.exif_transpose(given)
        if min(turned.size) == 0:
            raise ConfigError(f"an image of {turned.width}x{turned.height} pixels is empty; {ALLOWED}")
        channels, *size = image_shape
        _check_channels(channels)
        try:
            pixels = picture_bytes(turned, grey=channels == 1, size=(size[0], size[1]))
        except PictureError as err:
            raise ConfigError(f"an image cannot be used: {err}") from err
        return to_images(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    if isinstance(given, np.ndarray):
        given = _tensor_of(given)
    if not isinstance(given, Tensor) or given.layout != torch.strided or given.is_meta or given.is_complex():
        what = f"a {given.layout} tensor" if isinstance(given, Tensor) else truncated_repr(given)
        raise ConfigError(f"{what} is not an image; {ALLOWED}")
    given = given.detach().cpu()
    if given.dtype == torch.uint16:
        given = (given.to(torch.int64).double() / 257).round().to(torch.uint8)
    if given.dtype == torch.bool:
        given = given.to(torch.uint8) * 255
    batch = _as_batch(given, image_shape)
    if batch.is_floating_point():
        return _resized(_in_range(batch.float(), value_range), image_shape)
    if value_range is not None:
        raise ConfigError(f"value_range is for floats, and images are {given.dtype}; leave it out, or give floats")
    if batch.dtype in (torch.uint32, torch.uint64):
        batch = batch.to(torch.int64)
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
        with open_picture(file) as found:
            found.load()
            return found
    except MemoryError:  # not the file's fault
        raise
    except Exception as err:  # Pillow raises almost anything for damaged bytes
        known = str(err) if isinstance(err, PictureError) else getattr(err, "strerror", None)
        reason = known or "it is not a readable picture"
        raise DataError(f"{path_excerpt(file)}: {reason}") from err


def _tensor_of(array: np.ndarray) -> Tensor:
    """A copy of the array as a tensor, in this machine's byte order. Raises ConfigError if it does not hold numbers."""
    if array.dtype.kind not in "uifb":
        raise ConfigError(f"an array of {array.dtype} is not an image; {ALLOWED}")
    wide = array.dtype.kind == "f" and array.dtype.itemsize > 8
    return torch.from_numpy(np.array(array, dtype=np.float64 if wide else array.dtype.newbyteorder("="), order="C"))


def _check_shape(image_shape: Any) -> None:
    """Raises ConfigError if this is no shape of an image."""
    if not isinstance(image_shape, tuple | list) or len(image_shape) != 3 or not all(
        type(size) is int and size > 0 for size in image_shape
    ):  # fmt: skip
        raise ConfigError(f"image_shape={truncated_repr(image_shape)} must be (channels, height, width)")


def _check_value_range(value_range: Any) -> None:
    """Raises ConfigError if this is no range of numbers."""
    if value_range is None:
        return
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high or high - low == float("inf"):
        raise ConfigError(f"value_range={truncated_repr(value_range)} must be two numbers, (low, high), such as (0, 1)")


def _as_batch(given: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """[batch, channels, height, width]. Raises ConfigError if no reading, or more than one, makes pictures of it.

    The network's own shape comes first; otherwise an axis of 1, 3 or 4 numbers, or as many as the network takes, has
    the channels.
    """
    shape, known = tuple(given.shape), {image_shape[0], 1, 3, 4}
    if not given.numel() or given.ndim not in (2, 3, 4):
        raise ConfigError(f"images are of shape {shape}{'' if given.numel() else ', which is empty'}; {ALLOWED}")
    if tuple(image_shape) in (shape, shape[1:]):
        return given.reshape(-1, *image_shape)
    if given.ndim == 2:
        return given[None, None]
    if given.ndim == 3 and image_shape[0] == 1 and shape[0] in (3, 4) and shape[2] not in known:
        raise ConfigError(
            f"images are of shape {shape}: {shape[0]} grey images, or one with {shape[0]} channels? Give "
            f"[{shape[0]}, 1, {shape[1]}, {shape[2]}] or [1, {shape[0]}, {shape[1]}, {shape[2]}]"
        )
    first, last = shape[-3] in known, shape[-1] in known
    if not first and not last:
        raise ConfigError(f"images are of shape {shape}: no axis of 1, 3 or {image_shape[0]} channels; {ALLOWED}")
    if first and last and shape[-3] != shape[-1]:
        raise ConfigError(
            f"images are of shape {shape}, whose channels may be the first axis of a picture or the last; give "
            "[batch, channels, height, width] in the network's own size, or PIL images"
        )
    channels_first = given if first else given.movedim(-1, -3)
    return channels_first[None] if given.ndim == 3 else channels_first


def _in_range(batch: Tensor, value_range: tuple[float, float] | None) -> Tensor:
    """Floats in [-1, 1], from `value_range`."""
    low, high = map(float, torch.aminmax(batch))
    if not (torch.isfinite(batch).all()):
        raise ConfigError("images hold NaN or infinity; floats are in [-1, 1]")
    if value_range is None and low >= 0 and high > 1:
        raise ConfigError(
            f"float images are from {low:.3g} to {high:.3g}; floats are in [-1, 1]. Give bytes (uint8) for numbers in "
            "0..255, or value_range=(low, high)"
        )
    if value_range is None and low >= 0:
        raise ConfigError(
            f"float images are from {low:.3g} to {high:.3g}, with nothing below 0; say value_range=(0, 1) if 0 is "
            "black, or value_range=(-1, 1) if they are as the network takes them"
        )
    least, greatest = (-1.0, 1.0) if value_range is None else value_range
    if low < least - 1e-6 or high > greatest + 1e-6:
        raise ConfigError(
            f"float images are from {low:.3g} to {high:.3g}, beyond [{least:g}, {greatest:g}]; use .clamp({least:g}, "
            f"{greatest:g}) for what a network made, value_range=(low, high) for another scale, or bytes"
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
    left, top, right, bottom = central_part(batch.shape[3], batch.shape[2], (height, width))
    part = batch[:, :, top:bottom, left:right]
    return interpolate(part, size=(height, width), mode="bilinear", antialias=True)
