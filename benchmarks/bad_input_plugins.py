"""Rows of bad_input.py: parts of a plugin that break their contract, in a run and in `mixzoo check`."""

from collections.abc import Callable
from pathlib import Path

from bad_input import TINY, Finished, Row, mixzoo

HEAD = """
from dataclasses import dataclass
import torch
from torch import nn
from mixzoo import Dataset, LinearMixer, Losses, Mixed, Scores, Split, hookimpl
"""
MIXER = """
@dataclass(frozen=True)
class Own:
    "The middle of two."
    k: int = 2
    needs_map = False
    def draw(self, shape, rng):
        return shape.broadcast(torch.full((2, shape.batch), 0.5))
    at = LinearMixer.at
    {call}
"""
NETWORK = """
class Net(nn.Module):
    def __init__(self, channels, side):
        super().__init__()
        self.latent_shape = (2, side // 4, side // 4)
        self.f = nn.Conv2d(channels, 2, 4, stride=4)
        self.g = nn.ConvTranspose2d(2, channels, 4, stride=4)
        {init}
    def encode(self, x):
        return {encode}
    def decode(self, h):
        return {decode}

@dataclass(frozen=True)
class Own:
    "A convolution each way."
    def build(self, context):
        return Net(context.image_shape[0], context.image_shape[1])
"""
OBJECTIVE = """
@dataclass(frozen=True)
class Own:
    "Reconstruct, and pass for real."
    def losses(self, batch):
        x = batch.x
        (x_rec,) = batch.decode(batch.encode(x))
        D = batch.discriminate(real=x, rec=x_rec)
        return Losses({terms}, {{"both": (D["rec"] - D["real"]).mean()}})
"""
METRIC = """
@dataclass(frozen=True)
class Own:
    "A number."
    def __call__(self, {arguments}):
        {body}
"""
DATA = """
@dataclass(frozen=True)
class Own:
    "Noise."
    def load(self, {arguments}):
        images = torch.randint(0, 256, (64, 1, 32, 32), dtype=torch.uint8)
        split = Split(images, {labels})
        return {result}
"""


def plugin(folder: Path, kind: str, text: str) -> Path:
    """The file of a plugin that registers `own`."""
    file = folder / "own.py"
    hook = f"\n@hookimpl\ndef mixzoo_{kind}s():\n    return {{'own': Own}}\n"
    file.write_text(HEAD + text + hook)
    return file


def trained(kind: str, text: str, *flags: str) -> Callable[[Path], Finished]:
    """The result of a run with the part."""
    flag = {"dataset": "--data"}.get(kind, f"--{kind}")

    def run(folder: Path) -> Finished:
        return mixzoo(folder, "train", *TINY, "--plugin", plugin(folder, kind, text), flag, "own", *flags)

    return run


def scored(arguments: str, body: str) -> Callable[[Path], Finished]:
    """The result of a run with the metric."""

    def run(folder: Path) -> Finished:
        file = plugin(folder, "metric", METRIC.format(arguments=arguments, body=body))
        (folder / "run.toml").write_text('metrics = ["own"]\n')
        return mixzoo(folder, "train", *TINY, "--plugin", file, "--config", "run.toml")

    return run


def net(encode: str = "self.f(x)", decode: str = "self.g(h)", init: str = "pass") -> str:
    return NETWORK.format(encode=encode, decode=decode, init=init)


def data(arguments: str = "seed", labels: str = "torch.arange(64) % 4", result: str = "") -> str:
    whole = "Dataset(split, split, split, ('a', 'b', 'c', 'd'))"
    return DATA.format(arguments=arguments, labels=labels, result=result or whole)


CALL = "expected __call__(h, draw, labels=None) -> Mixed(h, share)"
ROWS = [
    Row("a mixer without __call__, trained", trained("mixer", MIXER.format(call="")), 9, CALL),
    Row(
        "a mixer whose __call__ takes the codes alone",
        trained("mixer", MIXER.format(call="def __call__(self, h): return Mixed(h[0], h[:, :, :1])")),
        9,
        CALL,
    ),
    Row(
        "a mixer that returns codes alone",
        trained("mixer", MIXER.format(call="def __call__(self, h, draw, labels): return h.mean(0)")),
        9,
        "must `return Mixed(h, share)`",
    ),
    Row(
        "an encoder in float64",
        trained("autoencoder", net("self.f(x).double()")),
        9,
        "expected encode(x) -> Tensor [batch, *latent_shape], of the type of x",
    ),
    Row(
        "a decoder of images of another size",
        trained("autoencoder", net(decode="self.g(h)[:, :, 1:]")),
        9,
        "expected decode(h) -> Tensor [batch, channels, height, width]",
    ),
    Row(
        "a decoder that ends in a sigmoid",
        trained("autoencoder", net(decode="self.g(h).sigmoid()")),
        0,
        "makes no pixel below 0",
    ),
    Row(
        "batch norm of one image",
        trained(
            "autoencoder",
            net("self.norm(self.f(x).flatten(1)).reshape(-1, *self.latent_shape)",
                init="self.norm = nn.BatchNorm1d(2 * (side // 4) ** 2)"),
            "--batch-images", "1",
        ),
        2,
        "--batch-images 1: a batch of one image fails",
    ),
    Row(
        "an objective whose term is a float",
        trained("objective", OBJECTIVE.format(terms="{'reconstruct': (x_rec - x).abs().mean().item()}")),
        9,
        "expected losses(batch) -> Losses(autoencoder={name: a Tensor of one number}",
    ),
    Row(
        "an objective whose terms reach no weight",
        trained("objective", OBJECTIVE.format(terms="{'size': x.square().mean()}")),
        9,
        "depends on a weight",
    ),
    Row("a metric that returns nothing", scored("run", "pass"), 9, "expected __call__(run) -> {name: float}"),
    Row("a metric of two arguments", scored("run, data", "return {}"), 9, "cannot be called with only a run"),
    Row(
        "data that load as a tuple",
        trained("dataset", data(result="(split, split, split)")),
        9,
        "which is not a mixzoo.Dataset",
    ),
    Row("data whose load takes no seed", trained("dataset", data(arguments="")), 9, "expected load(seed) -> Dataset"),
    Row("labels from 1", trained("dataset", data(labels="torch.arange(64) % 4 + 1")), 9, "count classes from 0"),
]  # fmt: skip
