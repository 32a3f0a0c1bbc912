"""Images of any number of channels: a run, its probe, metrics and pictures, and what the pictures show."""

from dataclasses import dataclass, replace

import pytest
import torch
from PIL import Image

from mixzoo.evaluation.pictures.grid import channels_note, to_pixels
from mixzoo.registry.zoo import RegisteredPart
from mixzoo.runs.interpolate import draw_interpolations
from mixzoo.runs.run import start
from mixzoo.training.logs import ProgressDisplay
from toys import TOY_PLUGIN, ToyData, toy_config, toy_zoo


@dataclass(frozen=True, kw_only=True)
class Spectral(ToyData):
    """Bars that get darker from channel to channel."""

    channels: int = 5

    def load(self, seed):
        data = super().load(seed)
        splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
        wide = {n: torch.cat([s.images // (c + 1) for c in range(self.channels)], 1) for n, s in splits.items()}
        return replace(data, **{name: replace(split, images=wide[name]) for name, split in splits.items()})


class Notes(ProgressDisplay):
    def __init__(self):
        self.notes = []

    def note(self, line):
        self.notes.append(line)


def zoo_with_channels():
    zoo = toy_zoo()
    zoo.registered.append(RegisteredPart("dataset", "spectral", TOY_PLUGIN, Spectral))
    return zoo


SHOWN = {1: "", 3: "", 2: "the first (as grey)", 4: "the first three (as red, green and blue)"}
SHOWN[5] = SHOWN[4]


@pytest.mark.parametrize("channels", SHOWN)
def test_a_run_of_images_of_any_number_of_channels_draws_pictures_and_says_which_channels_they_show(tmp_path, channels):
    zoo, show = zoo_with_channels(), Notes()
    flags = {"dataset": f"spectral:channels={channels}", "mixer": "dirichlet:k=3"}
    config = toy_config(zoo, flags=flags, steps=4, evaluate_every=2)
    done = start(zoo, config, tmp_path / "run", lambda *_: show)
    assert {"probe.best_validation_accuracy", "reconstruction.l2"} <= done.numbers.keys()
    said = [line for line in show.notes if line.startswith("pictures:")]
    line = f"pictures: they show only {SHOWN[channels]} of the {channels} channels of an image"
    assert said == ([line] if SHOWN[channels] else [])
    with Image.open(done.picture) as picture:
        assert picture.mode == "RGB"
    drawn = draw_interpolations(
        zoo, tmp_path / "run", None, pairs=2, steps=3, side=3, device="cpu", every_mixer=channels == 4
    )
    assert [note for note in drawn.notes if note.startswith("pictures:")] == said


def test_a_picture_shows_the_first_channels():
    images = torch.linspace(-1, 1, 5)[None, :, None, None].expand(1, 5, 2, 3)
    pixels = {channels: to_pixels(images[:, :channels])[0, 0, 0].tolist() for channels in range(1, 6)}
    assert pixels[1] == pixels[2] == [0, 0, 0]
    assert pixels[3] == pixels[4] == pixels[5] == [0, 64, 128]
    assert channels_note(2) == "pictures: they show only the first (as grey) of the 2 channels of an image"
