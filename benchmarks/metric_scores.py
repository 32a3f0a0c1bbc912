"""Metrics of codes, known factors and mixes on constructed inputs: the score that each must have, and the one it has.

    OMP_NUM_THREADS=1 python benchmarks/metric_scores.py > benchmarks/results/metric_scores.md

Exits with 1 if a score is not as expected. Codes and decoders are functions, so nothing is trained.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from time import process_time

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from mixzoo import BuildContext, CodeShape, Dataset, FinishedRun, LinearMixer, Split, create
from mixzoo.registry.zoo import load_zoo

HEADER = """# Metrics on inputs whose score is known

Printed by `OMP_NUM_THREADS=1 python benchmarks/metric_scores.py`. Codes and decoders are functions of the images, and
nothing is trained.

- **Codes**: 300 train and 300 test points around the three corners of a triangle in 4 dimensions, a class each.
  *rotated*: times a random orthogonal matrix; *dead*: nine more numbers that are 0; *noise*: labels in random order.
- **Factors**: every combination of three factors of 3, 4 and 5 values, twelve times. *permuted*: other order, sign and
  scale; *noisy*: plus a number in ±0.3 that says nothing of the factors; *doubled*: two numbers for each factor;
  *merged*: all factors in one number.
- **Mixes**: bars in one of three places, a class each. *linear*: the code is the image; *place*: the code is the place,
  and g draws the nearest one; *one image*: g draws the middle bar whatever the code; *copies*: a mixer that returns one
  of three sources.
"""


@dataclass(frozen=True)
class Expected:
    """A score of a metric, and the range that it must be in."""

    metric: str  # a spec
    score: str
    of: str  # the input's name
    low: float
    high: float

    def __str__(self) -> str:
        if self.high - self.low < 1e-3:
            return f"{(self.low + self.high) / 2:.3g}"
        return f"{self.low:.3g} to {self.high:.3g}"


def exactly(metric: str, score: str, of: str, value: float, tolerance: float = 1e-4) -> Expected:
    return Expected(metric, score, of, value - tolerance, value + tolerance)


@dataclass(frozen=True)
class Copies(LinearMixer):
    """The code of one source, at random."""

    k: int = 3

    def draw(self, shape: CodeShape, rng: torch.Generator) -> Tensor:
        source = torch.randint(self.k, (shape.batch,), generator=rng)
        return shape.broadcast(one_hot(source, self.k).T.float())


@dataclass(frozen=True)
class Halves(LinearMixer):
    """The middle of two codes."""

    k: int = 2

    def draw(self, shape: CodeShape, rng: torch.Generator) -> Tensor:
        return shape.broadcast(torch.full((2, shape.batch), 0.5))


class Functions(nn.Module):
    """An auto-encoder of two functions."""

    def __init__(self, f: Callable[[Tensor], Tensor], g: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.latent_shape: tuple[int, ...] = (1,)
        self.encode, self.decode = f, g


@dataclass(frozen=True)
class Input:
    """A run that was never trained."""

    data: Dataset
    f: Callable[[Tensor], Tensor] = lambda x: x.flatten(1)
    g: Callable[[Tensor], Tensor] = lambda h: h[:, :, None, None]
    mixer: LinearMixer = Halves()

    def run(self) -> FinishedRun:
        return FinishedRun(Functions(self.f, self.g), self.mixer, self.data, 0, "cpu", lambda: Functions(flat, self.g))


def flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def random_turn(size: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(3))).Q


def shuffled(split: Split, seed: int) -> Split:
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    return replace(split, labels=split.labels[order])


def triangle() -> Dataset:
    """Points around the corners of a triangle."""
    rng = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        labels = torch.arange(count) % 3
        points = torch.eye(4)[labels] + 0.05 * torch.randn(count, 4, generator=rng)
        return Split(points.reshape(count, 1, 2, 2), labels)

    return Dataset(split(300), split(30), split(300), ("a", "b", "c"), source="triangle")


def grid() -> Dataset:
    """Every combination of the values of three factors, which the images hold."""
    factors = torch.cartesian_prod(*[torch.arange(n).float() for n in (3, 4, 5)]).repeat(12, 1)
    factors = factors[torch.randperm(len(factors), generator=torch.Generator().manual_seed(0))]
    points = (factors / torch.tensor([2.0, 3.0, 4.0]))[:, :, None, None]
    parts = zip(points.split(240), factors.split(240), strict=True)
    train, validation, test = (Split(p, torch.zeros(len(p), dtype=torch.int64), f) for p, f in parts)
    return Dataset(train, validation, test, class_names=(), source="grid", factor_names=("a", "b", "c"))


def bars() -> Dataset:
    """Images of a bar in one of three places."""

    def split(count: int) -> Split:
        labels = torch.arange(count) % 3
        return Split(drawn(labels[:, None].float() - 1), labels)

    return Dataset(split(96), split(48), split(48), ("top", "middle", "bottom"), source="bars")


def drawn(h: Tensor) -> Tensor:
    """A bar at the place nearest to the code, which is -1, 0 or 1."""
    places = one_hot((h[:, 0].round() + 1).long().clamp(0, 2), 3).repeat_interleave(3, 1)
    return (1.4 * places.float() - 0.75)[:, None, :, None].expand(-1, 1, -1, 8).contiguous()


def place(x: Tensor) -> Tensor:
    return x[:, 0, ::3, 0].argmax(1, keepdim=True).float() - 1


def unrelated(x: Tensor) -> Tensor:
    """Three numbers in ±1 that say nothing of three factors; equal images have equal ones."""
    phase = torch.sin(12345.678 * (flat(x) @ torch.tensor([1.0, 2.3, 3.7])))
    return torch.stack([torch.sin((n + 2) * 777 * phase) for n in range(3)], 1)


def inputs() -> Mapping[str, Input]:
    """By name: `codes ...`, `factors ...`, `mixes ...`."""
    points, combinations, images, order = triangle(), grid(), bars(), [2, 0, 1]
    noise = replace(points, train=shuffled(points.train, 1), test=shuffled(points.test, 2))
    of_codes: dict[str, Callable[[Tensor], Tensor]] = {
        "perfect": flat,
        "permuted": lambda x: flat(x)[:, [2, 0, 3, 1]],
        "rotated": lambda x: flat(x) @ random_turn(4),
        "dead": lambda x: torch.cat([flat(x), torch.zeros(len(x), 9)], 1),
        "constant": lambda x: torch.ones(len(x), 4),
    }
    of_factors: dict[str, Callable[[Tensor], Tensor]] = {
        "perfect": flat,
        "permuted": lambda x: flat(x)[:, order] * torch.tensor([-100.0, 1.0, 3.0]),
        "rotated": lambda x: (flat(x) - 0.5) @ random_turn(3),
        "noisy": lambda x: flat(x) + 0.3 * unrelated(x),
        "dead": lambda x: torch.cat([flat(x), torch.zeros(len(x), 3)], 1),
        "constant": lambda x: torch.full((len(x), 3), 0.7),
        "doubled": lambda x: torch.cat([flat(x), flat(x).exp()], 1),
        "merged": lambda x: (flat(x) @ torch.tensor([3.0, 1.0, 0.5]))[:, None],
    }
    pixels = {"f": flat, "g": lambda h: h.reshape(-1, 1, 9, 8)}
    return {
        **{f"codes {name}": Input(points, f) for name, f in of_codes.items()},
        "codes noise": Input(noise),
        **{f"factors {name}": Input(combinations, f) for name, f in of_factors.items()},
        "mixes linear": Input(images, **pixels, mixer=create("mixer", "mixup")),
        "mixes linear, copies": Input(images, **pixels, mixer=Copies()),
        "mixes place": Input(images, place, drawn),
        "mixes place, copies": Input(images, place, drawn, Copies()),
        "mixes one image": Input(images, place, lambda h: drawn(0 * h)),
    }


def expectations() -> Iterator[Expected]:
    """What each score must be."""
    # Labels read off codes, and directions that codes use.
    for metric in ("logistic_regression", "knn", "knn:distance=euclidean", "mlp_probe"):
        for name in ("perfect", "permuted", "rotated", "dead"):
            yield exactly(metric, "test_accuracy", f"codes {name}", 1)
        yield Expected(metric, "test_accuracy", "codes noise", 1 / 3 - 0.1, 1 / 3 + 0.1)
        yield exactly(metric, "test_accuracy", "codes constant", 1 / 3)
        yield exactly(metric, "test_accuracy_untrained", "codes constant", 1)
        yield exactly(metric, "test_accuracy_pixels", "codes constant", 1)
    for name in ("perfect", "permuted", "rotated", "dead"):
        yield Expected("effective_rank", "rank", f"codes {name}", 3, 4)
    yield exactly("effective_rank", "rank", "codes constant", 1)
    yield exactly("effective_rank:centred=true", "rank", "codes constant", 0)

    # Disentanglement of known factors.
    for metric, score, low in (
        ("disentanglement", "factorvae", 0.99),
        ("beta_vae", "accuracy", 0.99),
        ("mig", "score", 0.999),
        ("dci", "disentanglement", 0.98),
        ("dci", "completeness", 0.98),
        ("dci", "informativeness", 0.98),
        ("sap", "r2", 0.98),
        ("infomec", "modularity", 0.9),
        ("infomec", "explicitness", 0.9),
        ("infomec", "compactness", 0.9),
    ):
        for name in ("perfect", "permuted", "dead"):
            yield Expected(metric, score, f"factors {name}", low, 1.0001)
        lowest = 1 / 3 if metric in ("disentanglement", "beta_vae") else 0
        yield exactly(metric, score, "factors constant", lowest, 2e-2 if lowest else 1e-4)
    yield Expected("sap", "svm", "factors perfect", 0.1, 0.7)
    for metric, score, high in (
        ("mig", "score", 0.4),
        ("dci", "disentanglement", 0.7),
        ("dci", "completeness", 0.7),
        ("sap", "r2", 0.6),
        ("infomec", "modularity", 0.6),
        ("infomec", "compactness", 0.6),
    ):
        yield Expected(metric, score, "factors rotated", 0, high)
    yield Expected("dci", "informativeness", "factors rotated", 0.85, 1)
    yield Expected("infomec", "explicitness", "factors rotated", 0.9, 1)
    for metric, score in (("mig", "score"), ("dci", "disentanglement"), ("sap", "r2"), ("infomec", "explicitness")):
        yield Expected(metric, score, "factors noisy", 0.05, 0.97)
    yield exactly("mig", "score", "factors doubled", 0)
    yield Expected("infomec", "modularity", "factors doubled", 0.9, 1)
    yield Expected("infomec", "compactness", "factors doubled", 0, 0.6)
    yield Expected("dci", "disentanglement", "factors merged", 0, 0.3)
    yield Expected("infomec", "modularity", "factors merged", 0, 0.6)
    yield exactly("infomec", "compactness", "factors merged", 1)

    # Mixes.
    yield Expected("foreign_class", "mixes", "mixes place", 2 / 9 - 0.03, 2 / 9 + 0.03)
    yield exactly("foreign_class", "mixes", "mixes place, copies", 0)
    yield Expected("foreign_class", "mixes", "mixes one image", 4 / 9 - 0.03, 4 / 9 + 0.03)
    yield exactly("foreign_class", "reconstructions", "mixes one image", 2 / 3)
    yield exactly("foreign_class", "real", "mixes place", 0)
    yield Expected("mix_copies", "nearest_source", "mixes linear", 0.24, 0.26)
    yield Expected("mix_copies", "copies", "mixes linear", 0.18, 0.22)
    yield exactly("mix_copies", "nearest_source", "mixes linear, copies", 0)
    yield exactly("mix_copies", "copies", "mixes linear, copies", 1)
    yield exactly("mix_copies", "copies", "mixes one image", 1)
    for score, value in (("energy", 1), ("length", 1), ("relaxation", 1), ("mix_error", 0), ("code_error", 0)):
        yield exactly("path_smoothness", score, "mixes linear", value)
    yield Expected("path_smoothness", "length", "mixes place", 1.1, 2)
    yield exactly("path_smoothness", "energy", "mixes one image", 1)
    yield exactly("path_smoothness", "length", "mixes one image", 1)
    yield exactly("reconstruction", "l1", "mixes linear", 0)
    yield exactly("reconstruction", "l1", "mixes one image", 2 / 3 * 2 / 3 * 1.4)


@cache
def scores_of(metric: str, of: str) -> Mapping[str, float]:
    scores: Mapping[str, float] = create("metric", metric)(ALL[of].run())
    return scores


def seconds(data_spec: str, autoencoder: str, metrics: list[str]) -> Iterator[str]:
    """A row for each metric: how long it takes on these data with a network that is not trained."""
    data = create("dataset", data_spec).load(0)
    context: BuildContext = data.build_context()

    def build() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network: nn.Module = load_zoo().recipe("autoencoder", autoencoder).build(context)
        return network

    network, images = build(), f"{len(data.train):,} train images"
    numbers = torch.Size(network.latent_shape).numel()
    for metric in metrics:
        run = FinishedRun(network, create("mixer", "mixup"), data, 0, "cpu", build)
        began = process_time()
        create("metric", metric)(run)
        yield f"| `{metric}` | {data_spec}, {images} | {numbers} | {process_time() - began:.1f} |"


ALL = inputs()


def main() -> None:
    print(HEADER)
    print("| metric | score | input | expected | got | |\n|---|---|---|---|---|---|")
    failed = 0
    for row in expectations():
        value = scores_of(row.metric, row.of)[row.score]
        holds = row.low <= value <= row.high
        failed += not holds
        print(f"| `{row.metric}` | {row.score} | {row.of} | {row} | {value:.3f} | {'ok' if holds else '**not so**'} |")

    print("\n## Seconds\n\nOf one CPU core, a network that is not trained, baselines included.\n")
    print("| metric | data | numbers of the code | seconds |\n|---|---|---|---|")
    of_codes = ["logistic_regression", "knn", "mlp_probe", "effective_rank"]
    of_mixes = ["foreign_class", "mix_copies", "path_smoothness"]
    of_factors = ["disentanglement", "beta_vae", "mig", "dci", "sap", "infomec"]
    print("\n".join(seconds("digits", "amr", [*of_codes, *of_mixes])))
    print("\n".join(seconds("sprites:images=20000", "dsprites", of_factors)))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
