"""Mixers under torch.compile: one graph, the same mix and gradients. In a fresh interpreter, without shape checks in
the way: the compiler cannot trace what checks them."""

import subprocess
import sys

import pytest

SPECS = [
    "one_of:a=(network:k=3),b=(chain:a=bernoulli,b=label)",
    *("label:k=3", "label:gradient=relaxed", "network:k=3", "network:weight_per=example"),
    *("one_of:a=(dirichlet:k=3),b=bernoulli,c=label", "chain:a=(bernoulli:k=3),b=network"),
    "schedule:a=mixup,b=(chain:a=label,b=mixup)",
]
CODE = """
import sys, torch
from mixzoo import CodeShape, BuildContext
from mixzoo.core.random import rng_for
from mixzoo.registry.zoo import load_zoo
from mixzoo.registry.building import build_part

backend, *specs = sys.argv[1:]
latents = ((6,), (4, 3, 2)) if len(specs) > 1 else ((4, 3, 2),)
zoo = load_zoo()
for spec in specs:
    for latent in latents:
        torch._dynamo.reset()
        mixer = build_part(zoo.recipe("mixer", spec), "mixer", spec, BuildContext((1, 8, 8), 5, latent), 0)
        rng = torch.Generator().manual_seed(1)
        h = torch.randn(mixer.k, 4, *latent, generator=rng, requires_grad=True)
        labels = torch.randint(5, (mixer.k, 4), generator=rng)
        draw = mixer.draw(CodeShape(4, latent), rng_for(0, "mix"))
        found = []
        for mix in (mixer, torch.compile(mixer, fullgraph=True, backend=backend)):
            mixed = mix(h, draw, labels)
            gradients = torch.autograd.grad(mixed.h.square().sum(), [h, *mixer.parameters()])
            found.append([mixed.h, mixed.share, *gradients])
        for eager, compiled in zip(*found):
            torch.testing.assert_close(compiled, eager)
    print(spec)
"""


def compiled(backend, specs):
    run = [sys.executable, "-c", CODE, backend, *specs]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split("\n")[:-1]


def test_a_composite_of_learned_mixers_is_captured_as_one_graph_that_mixes_as_it_does():
    assert compiled("aot_eager", SPECS[:1]) == SPECS[:1]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_composite_and_learned_mixers_compiled_mix_as_they_do(backend):
    assert compiled(backend, SPECS) == SPECS
