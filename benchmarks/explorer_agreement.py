"""Does the page of a report compute what torch computes? network.js in node against the networks of the plugins.

python benchmarks/explorer_agreement.py > benchmarks/results/explorer.md
"""

import json
import platform
import subprocess
from datetime import date
from pathlib import Path

import torch

from mixzoo import BuildContext
from mixzoo.runs.report import program
from mixzoo.runs.report.program import Weights
from mixzoo.runs.report.recording import program_of
from mixzoo_convnets.autoencoder import ACAI, AMR
from mixzoo_convnets.dsprites import DSprites
from mixzoo_convnets.fully_connected import MLP
from mixzoo_convnets.variational import VAE
from mixzoo_convnets.vector_quantised import VQ

NETWORK_JS = Path(program.__file__).with_name("network.js")
SCRIPT = """
const network = require(process.argv[1]);
const { program, weights, inputs } = JSON.parse(require("fs").readFileSync(0));
const unpacked = network.unpack(weights), once = (input) => network.run(program, unpacked, Float32Array.from(input));
inputs.slice(0, 5).forEach(once);
const times = [], results = inputs.map((input) => {
  const begin = performance.now(), result = Array.from(once(input));
  times.push(performance.now() - begin);
  return result;
});
console.log(JSON.stringify({ results, milliseconds: times.sort((a, b) => a - b)[Math.floor(times.length / 2)] }));
"""
HEADER = """# The networks of a report's page against torch, {today}

{machine}, torch {torch} on one CPU thread, node {node}. Printed by `python benchmarks/explorer_agreement.py`.

Encoder and decoder of each network with its default options, weights as initialised from seed 0, 32x32 images, on 20
random images and 20 random codes. *float32* is the largest difference to torch with the weights as they are, which is
the error of network.js; *float16* that with the weights of a page (a grey level is 7.8e-03). *ms* is the median of 20
decodes in node, after 5 others. *page* is the length of the weights as base64; above 1,500 kB a page has an atlas.

| network | numbers of a code | image | page, kB | encoder: float32 | float16 | decoder: float32 | float16 | ms |
|---|---:|---|---:|---:|---:|---:|---:|---:|"""
NETWORKS = [
    recipe
    for latent in (2, 16)
    for recipe in (
        AMR(latent=latent),
        ACAI(latent=latent),
        VAE(latent=latent),
        VQ(latent=latent),
        MLP(latent=16 * latent),
        DSprites(latent=16 * latent),
    )
]


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(HEADER.format(today=date.today(), machine=platform.machine(), torch=torch.__version__, node=node))
    for channels in (1, 3):
        for recipe in NETWORKS:
            print(row(recipe, channels), flush=True)


def row(recipe: AMR | ACAI | VAE | VQ | MLP | DSprites, channels: int) -> str:
    """One network in grey or in colours, 32x32."""
    torch.manual_seed(0)
    network = recipe.build(BuildContext((channels, 32, 32), 10)).eval()
    images, codes = torch.rand(20, channels, 32, 32) * 2 - 1, torch.randn(20, *network.latent_shape)
    cells, size, milliseconds = [], 0, 0.0
    for method, x in (("encode", images), ("decode", codes)):
        weights = Weights()
        steps = program_of(network, method, tuple(x.shape[1:]), weights)
        with torch.no_grad():
            expected = getattr(network, method)(x)
        for dtype in ("<f4", "<f2"):
            packed = weights.packed(dtype)
            case = {"program": steps.json, "weights": packed, "inputs": [one.flatten().tolist() for one in x]}
            done = subprocess.run(
                ["node", "-e", SCRIPT, str(NETWORK_JS)],
                input=json.dumps(case),
                capture_output=True,
                text=True,
                check=True,
            )
            found = json.loads(done.stdout)
            cells.append(
                f"{float((torch.tensor(found['results']).reshape(expected.shape) - expected).abs().max()):.1e}"
            )
            milliseconds = found["milliseconds"]
        size += len(packed["numbers"])
    name = type(recipe).__name__.lower()
    image = "grey" if channels == 1 else "RGB"
    numbers = codes[0].numel()
    return f"| {name} | {numbers} | {image} | {size / 1000:.0f} | {' | '.join(cells)} | {milliseconds:.1f} |"


if __name__ == "__main__":
    main()
