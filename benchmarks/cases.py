"""What the benchmarks time: methods, variants of their runs in mixzoo, and the plain trainer's step.

A variant is an entry of VARIANTS: its differences from the default run.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agreement import take_weights
from mixzoo.benchmark.steps import Stepper, read, stepper
from mixzoo.data.placement import LoadedData
from mixzoo.registry.config import RunConfig, resolve
from mixzoo.registry.zoo import load_zoo
from mixzoo.training.players import Players
from plain import Method, Trainer, draw, loader

Step = Callable[[], object]
ZOO = load_zoo()
PLAIN = "plain trainer"
METHODS = {
    "AE+GAN": (Method("aegan", lam=5), "aegan:lam=5", "mixup"),
    "AMR k=2": (Method("amr", lam=10), "amr:lam=10", "mixup"),
    "AMR k=3": (Method("amr", k=3, lam=20), "amr:lam=20", "dirichlet:k=3"),
    "AMR k=8": (Method("amr", k=8, lam=10), "amr:lam=10", "dirichlet:k=8"),
    "ACAI": (Method("acai", lam=2), "acai:variant=amr,lam=2", "mixup"),
}


@dataclass(frozen=True)
class Variant:
    """The differences from the default run."""

    flags: Mapping[str, str] = field(default_factory=dict)  # kind of part: its spec
    numbers: Mapping[str, object] = field(default_factory=dict)
    prepare: Callable[[Players], None] = lambda players: None  # called once, after the run is built
    around: Callable[[], AbstractContextManager[object]] = nullcontext  # active while it is built, and at each call


def keep_before_relu(players: Players) -> None:
    """Make leaky ReLUs write to a new tensor, not in place."""
    for network in (players.autoencoder, players.discriminator):
        for layer in network.modules():  # type: ignore[union-attr]
            if isinstance(layer, nn.LeakyReLU):
                layer.inplace = False


def loop_over_weights(players: Players) -> None:
    """Make Adam loop over weights one at a time."""
    for optimiser in players.optimisers.values():
        for group in optimiser.param_groups:
            group.update(fused=False, foreach=False)


def rows_of_maps(players: Players) -> None:
    """Store D's weights, and so its maps, contiguously instead of channels last, as in f and g."""
    players.discriminator.to(memory_format=torch.contiguous_format)  # type: ignore[union-attr]


def instance_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    return F.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=norm.eps)


@contextmanager
def rounding(products: bool, convolutions: bool) -> Iterator[None]:
    """Set whether a GPU may round to TF32, a setting of the whole process, inside the context."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    for backend, allowed in zip(backends, (products, convolutions)):
        backend.allow_tf32 = allowed
    try:
        yield
    finally:
        for backend, was in zip(backends, before):
            backend.allow_tf32 = was


as_torch_is = partial(rounding, products=False, convolutions=True)


def in_place_of(**functions: Callable[..., Tensor]) -> Callable[[], AbstractContextManager[object]]:
    """Replace functions of mixzoo_convnets.stack by the plain layers that they optimise."""
    return lambda: patch.multiple("mixzoo_convnets.stack", **functions)


@contextmanager
def spectral_norm_layer_by_layer() -> Iterator[None]:
    """Leave spectral norm to torch in networks that are built inside the context."""
    with ExitStack() as stack:
        for module in ("layers", "dsprites", "fully_connected"):
            stack.enter_context(patch(f"mixzoo_convnets.{module}.join_spectral_norms", lambda network: None))
        yield


LAYER_BY_LAYER = "spectral norm layer by layer"
APART = {
    "fused_first": lambda x, first, conv: conv(first(x)),
    "fused_upsample": lambda x, conv: conv(F.interpolate(x, scale_factor=2, mode="nearest")),
    "conv_by_taps": lambda x, conv: F.conv2d(x, conv.weight, conv.bias, padding=1),
}
VARIANTS: dict[str, Variant] = (
    {
        "ours": Variant(),
        "bf16": Variant(numbers={"precision": "bf16"}),
        "recompute": Variant(numbers={"recompute": True}),
        "bf16, recompute": Variant(numbers={"precision": "bf16", "recompute": True}),
        "two passes back through D": Variant(
            around=lambda: patch("mixzoo.core.stand_in.Requirements.one_backward_pass", False)
        ),
        LAYER_BY_LAYER: Variant(around=spectral_norm_layer_by_layer),
        "one power iteration": Variant(flags={"discriminator": "amr:power_iterations=1"}),
        "instance norm": Variant(around=lambda: patch.object(nn.GroupNorm, "forward", instance_norm)),
        "first two convolutions apart": Variant(around=in_place_of(fused_first=APART["fused_first"])),
        "upsampling apart": Variant(around=in_place_of(fused_upsample=APART["fused_upsample"])),
        "last convolution whole": Variant(around=in_place_of(conv_by_taps=APART["conv_by_taps"])),
        "layers one after another": Variant(around=in_place_of(**APART)),
        "D not channels last": Variant(prepare=rows_of_maps),
        "leaky ReLU not in place": Variant(prepare=keep_before_relu),
        "Adam weight by weight": Variant(prepare=loop_over_weights),
    }
    | {
        f"{engine} {precision}": Variant(
            numbers={"engine": engine, "precision": precision},
            around=partial(rounding, products=precision != "fp32", convolutions=precision != "fp32"),
        )
        for engine in ("eager", "compile", "graph", "graph+compile")
        for precision in ("fp32", "tf32", "bf16")
    }
    | {
        f"{engine} fp32, {LAYER_BY_LAYER}": Variant(
            numbers={"engine": engine, "precision": "fp32"}, around=spectral_norm_layer_by_layer
        )
        for engine in ("eager", "graph")
    }
)


@dataclass(frozen=True)
class Case:
    """What is timed: a method with a batch size, a depth of the networks, and data."""

    method: str
    batch: int
    root: Path | None = None
    depth: int = 16
    threads: int = 1
    device: str = "cpu"

    def config(self, variant: Variant) -> RunConfig:
        _, objective, mixer = METHODS[self.method]
        flags = {"objective": objective, "mixer": mixer}
        for part in ("autoencoder", "discriminator"):
            spec = variant.flags.get(part, "amr")
            flags[part] = f"{spec}{',' if ':' in spec else ':'}depth={self.depth}"
        if self.root is not None:
            flags["dataset"] = f'mnist:root="{self.root}"'
        numbers = {"batch_images": self.batch, "lr": 1e-4, "probe_lr": 1e-4, "device": self.device}
        return resolve(ZOO, None, flags, {**numbers, "threads": self.threads, **variant.numbers})

    def data(self) -> LoadedData:
        return read(self.config(VARIANTS["ours"]), torch.device(self.device))

    def plain(self) -> Trainer:
        torch.manual_seed(0)
        return Trainer(METHODS[self.method][0], depth=self.depth)


@contextmanager
def ours(case: Case, name: str, data: LoadedData) -> Iterator[Stepper]:
    """The run of the case in a variant; its steps need `wrapped` with the same variant."""
    variant = VARIANTS[name]
    with ExitStack() as stack:
        with variant.around():
            step = stack.enter_context(stepper(ZOO, case.config(variant), data))
        variant.prepare(step.players)
        yield step


def wrapped(step: Step, around: Callable[[], AbstractContextManager[object]]) -> Step:
    """The step with its variant active during each call only."""

    def called() -> None:
        with around():
            step()

    return called if around is not nullcontext else step


def plain_step(case: Case, start: Stepper, workers: int | None) -> Step:
    """The plain trainer's step, from the weights of `start`: on one fixed batch, or on batches of its loader."""
    trainer = case.plain()
    take_weights(trainer, start.players)
    trainer.modules.to(start.device)
    k = trainer.method.k
    if workers is None:
        x, labels = start.loop.images.batch(0)
        return lambda: trainer.step(x, labels, draw(k, case.batch, start.device))
    batches = endless(loader(*originals(case.root), case.batch, workers))

    def step() -> None:
        x, labels = (tensor.to(start.device) for tensor in next(batches))
        trainer.step(x, labels, draw(k, len(x), start.device))

    return step


def endless(batches: Any) -> Iterator[Any]:
    while True:
        yield from batches


def originals(root: Path | None) -> tuple[Any, Any]:
    """The train images as stored, before resizing, and their labels."""
    if root is None:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        return (bunch.images * (255 / 16)).round().astype("uint8"), bunch.target
    from mixzoo_datasets.idx import read_idx

    raw = root / "MNIST" / "raw"
    images, labels = (
        read_idx(raw / "train-images-idx3-ubyte", axes=3),
        read_idx(raw / "train-labels-idx1-ubyte", axes=1),
    )
    return images[:50_000].numpy(), labels[:50_000].numpy()
