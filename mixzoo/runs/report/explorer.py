"""The mixing explorer of a run: what a page needs to run the run's encoder, mixers and decoder by itself.

The networks are exported as programs (program.py, recording.py) with weights in float16, the page runs them
(network.js), and a reader mixes test images, or a drawing, with the mouse (explorer.js, explorer.html.j2,
explorer.css). Every export is checked here: on the page's images and on mixes of them, the program draws what the
network draws, within one grey level of 256. Weights that float16 changes by more than that are exported in float32.

A network with a layer that the page does not know, or with more than 1.5 MB of weights, gets an atlas instead: pictures
of a grid of points between a few triples of images, drawn here.
"""

import copy
import json
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mixzoo.core.data import Split
from mixzoo.core.errors import ConfigError
from mixzoo.data.batches import to_images
from mixzoo.runs.report.atlas import atlas
from mixzoo.runs.report.mixing import left_out_note, page_mixers
from mixzoo.runs.report.program import Program, Weights
from mixzoo.runs.report.program import run as run_program
from mixzoo.runs.report.recording import UnknownLayer, program_of
from mixzoo.runs.trained_run import Run

MOST_CHARACTERS = 1_500_000  # of base64, for the weights of a run
GREY_LEVEL = 2 / 255  # of images in [-1, 1]
SCANNED = 1000  # test images among which those of the page are chosen


@dataclass(frozen=True)
class Explorer:
    """What the explorer of one run shows.

    `data` is JSON: {} if there is nothing to explore, else "kind" is "live" or "atlas". `note` says why it is not live;
    it is "" if it is. `hint` says which mixers are left out.
    """

    data: dict[str, Any]
    note: str = ""
    hint: str = ""

    @property
    def json(self) -> str:
        """`data` as text that may stand in a script element: without <, > and &."""
        text = json.dumps(self.data, separators=(",", ":"), allow_nan=False)
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def explorer_of(run: Run, *, images: int = 12) -> Explorer:
    """The explorer of a trained run, with this many of its test images (3 to 64), spread over the classes.

    Raises ConfigError for another number of images, CheckpointError if the run cannot be opened.
    """
    if type(images) is not int or not 3 <= images <= 64:
        raise ConfigError(f"images={images!r} must be a number from 3 to 64")
    channels, height, width = run.image_shape
    chosen = spread_over_classes(run.data.test, images)
    pixels = run.data.test.read(chosen)
    if channels not in (1, 3) or pixels.dtype != torch.uint8:
        return Explorer({}, "there is nothing to explore, as the run's data are no pictures")
    if len(chosen) < 3:
        return Explorer({}, f"there is nothing to explore, as there are {len(chosen)} test images")
    shown = {
        "image": [channels, height, width],
        "images": {"bytes": b64encode(pixels.contiguous().numpy().tobytes()).decode(), "labels": _labels(run, chosen)},
    }
    x = to_images(pixels)
    try:
        programs = _exported(run, x)
    except UnknownLayer as err:
        made = atlas(run, x)
        return Explorer(shown | {"kind": "atlas"} | made, f"These pictures were drawn beforehand, as {err}.")
    mixers, left_out = page_mixers(run)
    live = {"kind": "live", "latent": list(run.latent_shape), "mixers": mixers, "frame": frame_of(run.data.test)}
    return Explorer(shown | live | programs, hint=left_out_note(left_out))


def _exported(run: Run, x: Float[Tensor, "batch channels height width"]) -> dict[str, Any]:
    """Both programs and their weights, checked on x. Raises UnknownLayer with the reason that there are none."""
    network = run.autoencoder
    assert isinstance(network, nn.Module)
    network = copy.deepcopy(network).cpu().eval()
    weights = Weights()
    most = MOST_CHARACTERS * 3 // 4 // 2
    numbers = sum(parameter.numel() for parameter in network.parameters())
    if numbers > 2 * most:  # not recorded: it takes long
        raise UnknownLayer(f"the network has {numbers:,} weights, and a page carries at most {most:,}")
    encoder = program_of(network, "encode", run.image_shape, weights)
    decoder = program_of(network, "decode", run.latent_shape, weights)
    with torch.no_grad():
        codes = network.encode(x)
        codes = torch.cat([codes, (codes + codes.roll(1, 0)) / 2])
        expected = network.decode(codes)
    for dtype, kept, most_numbers in (("<f2", weights.rounded(), most), ("<f4", weights, most // 2)):
        numbers = sum(array.numel() for array in weights.arrays)
        if numbers > most_numbers:
            raise UnknownLayer(f"the network has {numbers:,} weights, and a page carries at most {most_numbers:,}")
        error = _difference(encoder, decoder, kept, x, codes, expected)
        if error <= GREY_LEVEL:
            packed = weights.packed(dtype)
            return {"encoder": encoder.json, "decoder": decoder.json, "weights": packed, "error": round(error, 6)}
    raise UnknownLayer(f"run as a program, the network draws pictures that differ by {error:.2g}, so it is not used")


def _difference(
    encoder: Program, decoder: Program, weights: Weights, x: Tensor, codes: Tensor, expected: Tensor
) -> float:
    """The largest difference of a pixel of a mix, and of a reconstruction by both programs."""
    with torch.no_grad():
        mixes = run_program(decoder, weights, codes)
        again = run_program(decoder, weights, run_program(encoder, weights, x))
    return max(float((mixes - expected).abs().max()), float((again - expected[: len(x)]).abs().max()))


def spread_over_classes(split: Split, count: int) -> Tensor:
    """The numbers of the first images of each class, then of the second of each, and so on: `count` in all."""
    labels = split.labels[:SCANNED]
    if labels.ndim > 1:
        return torch.arange(min(count, len(labels)))
    nth = (labels[:, None] == labels).tril(-1).sum(1)  # how many earlier images have this class
    order = sorted(range(len(labels)), key=lambda i: (int(nth[i]), int(labels[i])))
    return torch.tensor(order[:count], dtype=torch.int64)


def _labels(run: Run, chosen: Tensor) -> list[str]:
    """The class of each image in words; of other data, the image's number."""
    names, labels = run.data.class_names, run.data.test.labels
    if not names:
        return [f"test image {int(i)}" for i in chosen]
    return [names[int(labels[i])] for i in chosen]


def frame_of(split: Split) -> list[int]:
    """Top, left, bottom and right, in pixels, of the frame that half of the test images reach at each side.

    An image reaches as far as its pixels that differ from its first one by a quarter of the range.
    """
    pixels: UInt8[Tensor, "n channels height width"] = split.read(torch.arange(min(len(split), SCANNED)))
    differs = ((pixels.int() - pixels[:, :, :1, :1].int()).abs() > 64).any(1)
    some = differs.flatten(1).any(1)
    height, width = pixels.shape[2:]
    if not some.any():
        return [0, 0, height, width]
    rows, columns = differs[some].any(2).int(), differs[some].any(1).int()
    first = [int(axis.argmax(1).median()) for axis in (rows, columns)]
    last = [axis.shape[1] - int(axis.flip(1).argmax(1).median()) for axis in (rows, columns)]
    return first + last
