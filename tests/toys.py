"""Toy parts that train in a second on one core, offered beside the real ones in `toy_zoo()`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path

import torch
from torch import nn

from mixzoo import BuildContext, Dataset, Scores, Split
from mixzoo.core.json_file import read_object, write_json
from mixzoo.registry.config import RunConfig, resolve
from mixzoo.registry.zoo import Plugin, RegisteredPart, Zoo, load_zoo


@dataclass(frozen=True, kw_only=True)
class ToyData:
    """Bars of 8x8 pixels: the class says which third of the image is bright."""

    images: int = 96
    salt: int = 0

    def load(self, seed: int) -> Dataset:
        rng = torch.Generator().manual_seed(self.salt)
        splits = [self._split(count, rng) for count in (self.images, 48, 48)]
        fingerprint = f"toy-{self.images}-{self.salt}"
        return Dataset(*splits, class_names=("top", "middle", "bottom"), source="toy bars", fingerprint=fingerprint)

    def _split(self, count: int, rng: torch.Generator) -> Split:
        labels = torch.arange(count) % 3
        images = torch.randint(0, 60, (count, 1, 8, 8), generator=rng)
        for i, label in enumerate(labels.tolist()):
            images[i, :, 2 * label + 1 : 2 * label + 3] += 180
        return Split(images.to(torch.uint8), labels)


@dataclass(frozen=True, kw_only=True)
class ToyTagged(ToyData):
    """The same bars, labelled by two attributes: bright in the upper third, bright in the lower third."""

    def load(self, seed: int) -> Dataset:
        data = super().load(seed)
        return replace(data, class_names=(), attribute_names=("upper", "lower"))

    def _split(self, count: int, rng: torch.Generator) -> Split:
        split = super()._split(count, rng)
        attributes = torch.stack([split.labels == 0, split.labels == 2], 1).long()
        return Split(split.images, attributes, split.labels[:, None].float())


@dataclass(frozen=True, kw_only=True)
class ToyUnlabelled(ToyData):
    """The same bars without labels."""

    def load(self, seed: int) -> Dataset:
        return replace(super().load(seed), class_names=())

    def _split(self, count: int, rng: torch.Generator) -> Split:
        return Split(super()._split(count, rng).images, torch.zeros(count, dtype=torch.int64))


@dataclass(frozen=True, kw_only=True)
class ToyNet:
    """One strided convolution each way; the code is [2, 4, 4]."""

    dropout: float = 0.0

    def build(self, context: BuildContext) -> nn.Module:
        return ToyAutoEncoder(context.image_shape[0], self.dropout)


class ToyAutoEncoder(nn.Module):
    latent_shape = (2, 4, 4)

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(channels, 2, 4, stride=2, padding=1), nn.Tanh(), nn.Dropout(dropout))
        self.g = nn.ConvTranspose2d(2, channels, 4, stride=2, padding=1)

    def encode(self, x):
        return self.f(x)

    def decode(self, h):
        return self.g(h)


@dataclass(frozen=True)
class ToyJudge:
    """A convolution and a mean, and a head for the label where one is asked for."""

    def build(self, context: BuildContext) -> nn.Module:
        return ToyDiscriminator(context.image_shape[0], context.num_labels)


class ToyDiscriminator(nn.Module):
    def __init__(self, channels: int, head: int = 0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Tanh(), nn.Conv2d(4, 1 + head, 3))

    def forward(self, x):
        said = self.net(x).flatten(2).mean(2)
        return Scores(said[:, 0], said[:, 1:] if said.shape[1] > 1 else None)


TOY_PLUGIN = Plugin("toys", "toys", "1")
TOY_FLAGS = {"dataset": "toy_data", "autoencoder": "toy_net", "discriminator": "toy_judge"}
TOYS = [arg for kind, name in TOY_FLAGS.items() for arg in (f"--{'data' if kind == 'dataset' else kind}", name)]
SMALL = ["--steps", "4", "--batch-images", "8", "--log-every", "2", "--evaluate-every", "2", "--checkpoint-every", "2"]
TOY_NUMBERS = {"steps": 12, "batch_images": 16, "log_every": 3, "evaluate_every": 4, "checkpoint_every": 5}


def toy_zoo(found: Iterable[EntryPoint] | None = None) -> Zoo:
    """The installed plugins, or those found, and the toys."""
    zoo = load_zoo(found)
    toys = {
        ("dataset", "toy_data"): ToyData,
        ("dataset", "toy_tagged"): ToyTagged,
        ("dataset", "toy_unlabelled"): ToyUnlabelled,
        ("autoencoder", "toy_net"): ToyNet,
        ("discriminator", "toy_judge"): ToyJudge,
    }
    zoo.plugins.append(TOY_PLUGIN)
    zoo.registered += [RegisteredPart(kind, name, TOY_PLUGIN, recipe) for (kind, name), recipe in toys.items()]
    return zoo


def toy_config(zoo: Zoo, file: Path | None = None, *, flags: dict | None = None, **numbers: object) -> RunConfig:
    """A run on toy parts; flags and numbers as a user would give them."""
    return resolve(zoo, file, TOY_FLAGS | (flags or {}), TOY_NUMBERS | numbers)


def edited(file: Path, **values: object) -> None:
    """Change values of a JSON file of a run, and its hash with them: only the values can give it away."""
    write_json(file, {**read_object(file).values, **values})
