"""network.js in node against torch: encoders, decoders, every step, and a mistake planted in each."""

import json
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from mixzoo import BuildContext
from mixzoo.runs.report import recording
from mixzoo.runs.report.program import OPERATIONS, Weights
from mixzoo.runs.report.program import run as run_program
from mixzoo.runs.report.recording import UnknownLayer, program_of
from mixzoo_convnets.autoencoder import ACAI, AMR
from mixzoo_convnets.dsprites import DSprites
from mixzoo_convnets.fully_connected import MLP
from mixzoo_convnets.variational import VAE
from mixzoo_convnets.vector_quantised import VQ

NETWORK_JS = Path(recording.__file__).with_name("network.js")
SCRIPT = """
const network = require(process.argv[1]);
const cases = JSON.parse(require("fs").readFileSync(0));
const results = cases.map(({ program, weights, inputs }) => {
  const unpacked = network.unpack(weights);
  return inputs.map((input) => Array.from(network.run(program, unpacked, Float32Array.from(input))));
});
process.stdout.write(JSON.stringify(results));
"""
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="network.js runs in node, which is not installed")
EXACT = 2e-5  # of the largest number


def in_node(cases, script=SCRIPT):
    """What network.js computes for each case, in one process of node."""
    done = subprocess.run(
        ["node", "-e", script, str(NETWORK_JS)], input=json.dumps(cases), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.replace("null", "NaN"))  # JSON has no NaN


def case_of(network, method, x, dtype="<f4"):
    weights = Weights()
    program = program_of(network, method, tuple(x.shape[1:]), weights)
    inputs = [one.flatten().tolist() for one in x]
    return {"program": program.json, "weights": weights.packed(dtype), "inputs": inputs}, program, weights


def difference(result, expected):
    """The largest difference, as a part of the largest number."""
    found = torch.tensor(result).reshape(expected.shape)
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


@needs_node
def test_encoders_and_decoders_are_those_of_torch():
    """Small and large codes, grey and in colours, on 20 images and 20 codes, in both formats of weights."""
    torch.manual_seed(0)
    cases, expected, names = [], [], []
    for recipe, channels, side in (
        (AMR(latent=2, depth=2), 1, 32),
        (AMR(latent=16, depth=1), 3, 32),
        (ACAI(latent=2, depth=2), 3, 16),
        (VAE(latent=2, depth=2), 1, 16),
        (MLP(latent=256, hidden=8, layers=1, activation="tanh"), 3, 16),
        (DSprites(width=2, hidden=8), 1, 16),
        (VQ(latent=3, depth=1, entries=7), 1, 16),
    ):
        name, images = f"{type(recipe).__name__} {recipe.latent}", torch.rand(20, channels, side, side) * 2 - 1
        network = recipe.build(BuildContext((channels, side, side), 10)).eval()
        for method, x in (("encode", images), ("decode", torch.randn(20, *network.latent_shape))):
            case, program, weights = case_of(network, method, x)
            with torch.no_grad():
                plain = getattr(network, method)(x)
                torch.testing.assert_close(run_program(program, weights, x), plain, rtol=1e-4, atol=1e-4)
                rounded = run_program(program, weights.rounded(), x)
            cases += [case, case | {"weights": weights.packed("<f2")}]
            expected += [plain, rounded]
            names += [f"{name} {method} float32", f"{name} {method} float16"]
    found = [difference(result, want) for result, want in zip(in_node(cases), expected, strict=True)]
    assert max(found) < EXACT, dict(zip(names, found, strict=True))


class Every(nn.Module):
    """A network with the other steps, one after another."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(4, 6, 3, stride=2, padding=1, padding_mode="reflect", groups=2),
            nn.BatchNorm2d(6),
            nn.SiLU(),
            nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2),
            nn.InstanceNorm2d(4, affine=True),
            nn.ELU(0.7),
            nn.MaxPool2d(3, 2, padding=1),
            nn.AvgPool2d(3, 1, padding=1),
            nn.ReplicationPad2d(1),
            nn.Conv2d(4, 4, (1, 5), dilation=(1, 2), padding=(0, 4), bias=False),
            nn.Dropout(),
            nn.Softplus(),
        )
        self.normed = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        self.register_buffer("mean", torch.rand(1, 4, 1, 1))
        nn.init.normal_(self.first[1].running_mean)
        nn.init.uniform_(self.first[1].running_var, 0.5, 2)

    def decode(self, x):
        grey = x[:, :1]
        y = self.first(x - 0.5 * (grey - self.mean))
        first, second = y.chunk(2, dim=1)
        y = torch.cat([second * 2 + first, 1 - first, (first / 3).sigmoid()], 1)
        y = self.normed(y.permute(0, 2, 3, 1)).transpose(1, -1)
        return (y + y.tanh()).clamp(-1.5, 1.5)


@needs_node
def test_the_other_steps_are_those_of_torch():
    torch.manual_seed(0)
    network, x = Every().eval(), torch.randn(3, 4, 8, 8)
    case, program, weights = case_of(network, "decode", x)
    with torch.no_grad():
        expected = network.decode(x)
        torch.testing.assert_close(run_program(program, weights, x), expected, rtol=1e-4, atol=1e-5)
    assert difference(in_node([case])[0], expected) < EXACT
    used = {step["op"] for step in program.steps}
    in_convnets = {"relu", "leaky_relu", "upsample", "avg_pool2d", "linear", "cdist", "argmin", "rows"}
    assert set(OPERATIONS) <= used | in_convnets


@needs_node
def test_a_wrong_layer_is_seen():
    """A mistake planted in one step at a time makes a difference that the other tests would see."""
    torch.manual_seed(0)
    network, x = AMR(depth=2).build(BuildContext((1, 32, 32), 10)).eval(), torch.randn(2, 2, 4, 4)
    case, *_ = case_of(network, "decode", x)
    mistakes = {
        "norm": {"eps": 0.1},
        "leaky_relu": {"slope": 0.2},
        "upsample": {"by": [1, 4]},
        "conv2d": {"stride": [1, 2]},
    }
    wrong = [deepcopy(case) for _ in mistakes]
    for one, (op, change) in zip(wrong, mistakes.items(), strict=True):
        next(step for step in one["program"]["steps"] if step["op"] == op).update(change)
    with torch.no_grad():
        right, *found = (difference(result, network.decode(x)) for result in in_node([case, *wrong]))
    assert right < EXACT
    assert not any(one < 100 * EXACT for one in found), dict(zip(mistakes, found, strict=True))


class Strange(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(4, 4), nn.Hardswish())

    def decode(self, x):
        return self.blocks(x)

    def noisy(self, x):
        return x + torch.randn(1, 4)

    def decides(self, x):
        return x if x.sum() > 0 else -x

    def constant(self, x):
        return self.blocks[0].weight[:1] * 1


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("decode", r"the network's layer blocks\.1 \(Hardswish\) computes hardswish, which a page cannot"),
        ("noisy", "the network computes randn"),
        ("decides", r"torch\.export cannot record the network's decides"),
        ("constant", "the network's constant does not depend on its input"),
    ],
)
def test_a_layer_that_is_not_known_is_named(method, message, capfd):
    with pytest.raises(UnknownLayer, match=message):
        program_of(Strange().eval(), method, (4,), Weights())
    assert capfd.readouterr() == ("", "")
