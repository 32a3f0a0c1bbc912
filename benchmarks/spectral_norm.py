"""Operations of a training step with spectral norm of all layers at once, and layer by layer as torch computes it.

    python benchmarks/spectral_norm.py > benchmarks/results/spectral_norm.md

The first table counts steps of step.py's cases (batch of 64, digits at 32x32). A CPU runs some pairs of layers as one
convolution; "as on a GPU" runs them one after another. The second reads all weights of a discriminator once and takes a
gradient through them, and nothing else; the third counts kernels of a compiled discriminator. For the ratio of whole
steps: `python benchmarks/step.py --variants ours "spectral norm layer by layer"`.
"""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.utils.parametrize import is_parametrized

from cases import LAYER_BY_LAYER, METHODS, VARIANTS, Case, ours
from mixzoo import BuildContext
from mixzoo.benchmark.counting import counted
from mixzoo.benchmark.table import machine
from mixzoo.benchmark.timing import interleaved, ratios, spread
from mixzoo.training.engine import WeightsFirst
from mixzoo_convnets.discriminator import AMR
from mixzoo_convnets.dsprites import DSpritesDiscriminator
from mixzoo_convnets.fully_connected import MLPDiscriminator
from plain import Method

R1 = {"AMR k=2, R1": (Method("amr", lam=10), "amr:lam=10,r1=1", "mixup")}
DISCRIMINATORS: dict[str, Callable[[], Any]] = {
    "amr, 32x32": lambda: AMR().build(BuildContext((1, 32, 32), 0, (2, 4, 4))),
    "amr:depth=32, 32x32": lambda: AMR(depth=32).build(BuildContext((1, 32, 32), 0, (2, 4, 4))),
    "amr:power_iterations=1, 32x32": lambda: AMR(power_iterations=1).build(BuildContext((1, 32, 32), 0, (2, 4, 4))),
    "dsprites, 64x64": lambda: DSpritesDiscriminator().build(BuildContext((1, 64, 64), 0, (10,))),
    "mlp:power_iterations=5, 28x28": lambda: MLPDiscriminator(power_iterations=5).build(
        BuildContext((1, 28, 28), 0, (2,))
    ),
}
REPEATS = 41


def operations(method: str, *variants: str) -> int:
    """Operations of the second step with all these variants at once."""
    case = Case(method, 64)
    with ExitStack() as stack:
        for name in variants:
            stack.enter_context(VARIANTS[name].around())
        step = stack.enter_context(ours(case, "ours", case.data()))
        step()
        return counted(step).operations


def counts() -> list[str]:
    lines = [
        "| step | layer by layer | at once | as on a GPU: layer by layer | at once |",
        "|---|---:|---:|---:|---:|",
    ]
    for method in METHODS:
        found = [
            operations(method, *form, *norm)
            for form in ((), ("layers one after another",))
            for norm in ((LAYER_BY_LAYER,), ())
        ]
        lines.append(f"| {method} | {' | '.join(map(str, found))} |")
    return lines


def reading(make: Callable[[], Any]) -> Callable[[], object]:
    """Reads all weights under spectral norm of a new discriminator in training, and takes a gradient through them."""
    torch.manual_seed(0)
    layers = [layer for layer in make().modules() if is_parametrized(layer)]
    originals = [layer.parametrizations.weight.original for layer in layers]

    def read() -> object:
        weights = [layer.weight for layer in layers]
        return torch.autograd.grad(weights, originals, [weight.detach() for weight in weights])

    return read


def reads() -> list[str]:
    lines = [
        "| discriminator | operations, layer by layer | at once | ms, layer by layer | at once | ratio |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, make in DISCRIMINATORS.items():
        with VARIANTS[LAYER_BY_LAYER].around():
            apart = reading(make)
        steps = {"apart": apart, "joint": reading(make)}
        found = [counted(step).operations for step in steps.values()]
        times = interleaved(steps, torch.device("cpu"), repeats=REPEATS)
        ms = [f"{1e3 * spread(times[step].cpu).median:.1f}" for step in steps]
        low, middle, high = ratios(times["joint"].cpu, times["apart"].cpu)
        lines.append(f"| {name} | {' | '.join([*map(str, found), *ms])} | {middle:.2f} [{low:.2f}, {high:.2f}] |")
    return lines


def compiled_kernels(run: Callable[[Any], Any]) -> int:
    """Kernels that torch's compiler writes for the forward and backward pass of a new `amr` on two images, on a CPU."""
    from torch._inductor import metrics

    torch._dynamo.reset()
    metrics.reset()
    discriminator = DISCRIMINATORS["amr, 32x32"]()
    run(discriminator)(torch.rand(2, 1, 32, 32)).logits.square().mean().backward()
    return metrics.generated_kernel_count


def compiled_part() -> list[str]:
    """The kernels of a discriminator that is compiled whole, and of one whose weights are computed first."""
    read = counted(reading(DISCRIMINATORS["amr, 32x32"])).operations
    after = compiled_kernels(lambda D: WeightsFirst(D, torch.compile(D, dynamic=False)))
    whole = compiled_kernels(lambda D: torch.compile(D, dynamic=False))
    return [
        "| compiled | kernels that the compiler writes | operations of the weights before it |",
        "|---|---:|---:|",
        f"| all of D | {whole} | 0 |",
        f"| what comes after its weights, as `--engine compile` and `graph+compile` do | {after} | {read} |",
    ]


def main() -> None:
    torch.set_num_threads(1)
    info = ", ".join(f"{name} {value}" for name, value in machine(torch.device("cpu"), 1).items())
    print(f"# Spectral norm of all layers at once, {datetime.now(UTC):%Y-%m-%d}\n")
    print("Printed by `benchmarks/spectral_norm.py`; operations as `mixzoo bench` counts them. No GPU was available.\n")
    print(f"{info}.\n\n## Operations of a step\n")
    with patch.dict(METHODS, R1):
        print("\n".join(counts()))
    print("\n## All weights of a discriminator once, forward and backward\n")
    print(
        f"CPU time of this process: medians of {REPEATS} repeats in turns, with quartiles of the ratio in brackets.\n"
    )
    print("\n".join(reads()))
    print("\n## A compiled `amr` once, forward and backward\n")
    print("Kernels for a CPU. Calls of libraries, such as convolutions, are not counted: both have the same.\n")
    print("\n".join(compiled_part()))


if __name__ == "__main__":
    main()
