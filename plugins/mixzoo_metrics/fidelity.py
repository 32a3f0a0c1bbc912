"""How real images look, as a feature extractor sees them: FID, KID, precision and recall, density and coverage.

x       images of the test split        x_rec  g(f(x))       x_mix  g(h_mix), mixes of test images
φ       the extractor's features, of real images and of made ones
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mixzoo import (
    Better,
    ConfigError,
    DataError,
    Dataset,
    FinishedRun,
    NonFiniteError,
    batches,
    eval_mode,
    random_mixes,
    rng_for,
    seed_for,
)
from mixzoo_metrics.classifier import WIDTH, ClassifierSteps, check_has_labels, image_features, train_network
from mixzoo_metrics.source_mixes import OtherMixer, mixer_of

Features: TypeAlias = Float[Tensor, "n feature"]
FEATURES = 4 * WIDTH  # of the classifier
BATCH = 256
SUBSET, SUBSETS = 1000, 100  # of torchmetrics' KID: images of a subset, subsets
MANIFOLD_SCORES = ("precision", "recall", "density", "coverage")
NEIGHBOURS = 5  # of the manifolds: Naeem et al. 2020 use 5
TIMM_SIDE = 64  # pixels, to which smaller images are enlarged for a timm model
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation that timm's models expect


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """FID, KID, precision, recall, density and coverage of reconstructions and of mixes.

    FID (Heusel et al. 2017) and KID (Bińkowski et al. 2018, the unbiased squared MMD with a cubic kernel, a mean over
    subsets) are torchmetrics' own, on the features φ. Precision and recall are those of Kynkäänniemi et al. 2019,
    density and coverage those of Naeem et al. 2020, on the 5 nearest neighbours. Real images are those of the test
    split. φ is divided by its root mean square over them, as KID's kernel depends on its scale. `fid_floor` is the FID
    of as many validation images, which are real: no model can be asked to get below it. Under 10,000 images KID is the
    number to read: FID is biased, the more the fewer images there are.

    The extractor is `classifier`, a small network trained on the labels of the train split (its accuracy is stated), or
    `timm`, a model of timm with `weights` from a safetensors file, its published ones if none is given. `mixer` is
    another mixer than the run's.
    """

    features: Annotated[Literal["classifier", "timm"], "what φ is; it is part of each score's name"] = "classifier"
    model: Annotated[str, "timm: the model's name"] = "resnet18"
    weights: Annotated[str | None, "timm: a safetensors file; the published weights when not given"] = None
    mixer: OtherMixer = None
    images: Annotated[int, Ge(20), "test images and mixes, at most"] = 5000
    fid: Annotated[bool, "compute FID too, which needs more images than φ has features"] = True
    classifier_steps: ClassifierSteps = 400

    @property
    def better(self) -> Mapping[str, Better]:
        """Distances less, the rest more; the floor and the accuracy are references."""
        found: dict[str, Better] = {}
        for what in ("reconstructions", "mixes"):
            found |= dict.fromkeys((f"{self._prefix}_{name}_{what}" for name in ("kid", "fid")[: 1 + self.fid]), "less")
            found |= dict.fromkeys((f"{self._prefix}_{name}_{what}" for name in MANIFOLD_SCORES), "more")
        return found

    @property
    def _prefix(self) -> str:
        """How the names of scores begin."""
        return "classifier" if self.features == "classifier" else self.model

    def check_data(self, data: Dataset) -> None:
        """Raises ConfigError if torchmetrics or a model is missing, DataError if labels are or images are few."""
        if find_spec("torchmetrics") is None:
            raise ConfigError("metric 'fidelity' needs torchmetrics; pip install 'mixzoo[metrics]'")
        if self.features == "classifier":
            check_has_labels(data)
        else:
            _timm_model(self.model, self.weights)
        count, width = self._count(data), self._width()
        if self.fid and count <= width:
            raise DataError(
                f"{data.source}: FID needs more images than the extractor's {width} features in the test and in the "
                f"validation split, and there are {count}; use fid=false, KID has no such bound"
            )

    def _count(self, data: Dataset) -> int:
        """Images of each set; FID depends on it, so all sets are of one size."""
        return min(self.images, len(data.test), len(data.validation))

    def _width(self) -> int:
        if self.features == "timm":
            return int(_timm_model(self.model, self.weights).num_features)
        return FEATURES

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        count = self._count(run.data)
        scores: dict[str, float] = {}
        if self.features == "classifier":
            extract, accuracy = _classifier(run, self.classifier_steps)
            scores["classifier_accuracy"] = accuracy
        else:
            extract = _timm_features(_timm_model(self.model, self.weights), run.device)
        name = self._prefix

        # The images are drawn from the splits, which may be in the order of their classes.
        index, others = (
            torch.randperm(len(split), generator=rng_for(run.seed, f"fidelity/{name}"))[:count]
            for name, split in (("test", run.data.test), ("validation", run.data.validation))
        )
        with eval_mode(run.autoencoder):
            real, made = [], []
            for x in batches(run.data.test.images, run.device, index):
                real.append(extract(x))
                made.append(extract(run.autoencoder.decode(run.autoencoder.encode(x))))
            again = [extract(x) for x in batches(run.data.validation.images, run.device, others)]
        mixer = mixer_of(run, self.mixer, "fidelity")
        mixes = random_mixes(run.autoencoder, mixer, run.data.test, count=count, seed=run.seed, device=run.device)
        scale = torch.cat(real).square().mean().sqrt()
        sets = {"real": real, "reconstructions": made, "validation": again,
                "mixes": [extract(x.to(run.device)) for x in mixes.split(BATCH)]}  # fmt: skip
        phi = {what: torch.cat(parts) / scale for what, parts in sets.items()}
        for what, features in phi.items():
            if not features.isfinite().all():
                raise NonFiniteError(f"the features of {what} are not finite: training has diverged; try a lower --lr")

        scores |= {f"{name}_kid_{what}": kid(phi["real"], phi[what], run.seed) for what in ("reconstructions", "mixes")}
        if self.fid:
            scores[f"{name}_fid_floor"] = fid(phi["real"], phi["validation"])
            scores |= {f"{name}_fid_{what}": fid(phi["real"], phi[what]) for what in ("reconstructions", "mixes")}
        for what in ("reconstructions", "mixes"):
            scores |= {f"{name}_{key}_{what}": value for key, value in manifolds(phi["real"], phi[what]).items()}
        return scores


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """PSNR in dB and SSIM of reconstructions of test images, as torchmetrics computes them; higher is nearer.

    PSNR = 10 log₁₀(2² / mean (x_rec - x)²) of images in [-1, 1]; SSIM is that of Wang et al. 2004.
    """

    better: ClassVar[Better] = "more"

    images: Annotated[int, Ge(1), "test images, at most"] = 5000

    def check_data(self, data: Dataset) -> None:
        """Raises ConfigError if torchmetrics is missing, DataError if images are smaller than SSIM's window."""
        if find_spec("torchmetrics") is None:
            raise ConfigError("metric 'similarity' needs torchmetrics; pip install 'mixzoo[metrics]'")
        if min(data.image_shape[1:]) < 11:
            raise DataError(f"{data.source}: images of {data.image_shape[1:]} are smaller than SSIM's window of 11x11")

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

        psnr, ssim = (
            PeakSignalNoiseRatio(data_range=(-1.0, 1.0)),
            StructuralSimilarityIndexMeasure(data_range=(-1.0, 1.0)),
        )
        index = torch.arange(min(self.images, len(run.data.test)))
        with eval_mode(run.autoencoder):
            for x in batches(run.data.test.images, run.device, index):
                x_rec = run.autoencoder.decode(run.autoencoder.encode(x)).clamp(-1, 1).cpu()
                if not x_rec.isfinite().all():
                    raise NonFiniteError("a reconstruction is not finite: training has diverged; try a lower --lr")
                psnr.update(x_rec, x.cpu())
                ssim.update(x_rec, x.cpu())
        return {"psnr": float(psnr.compute()), "ssim": float(ssim.compute())}


def fid(real: Features, made: Features) -> float:
    """torchmetrics' FID of two sets of features."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_AsTheyAre(real.shape[1])).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(made.double(), real=False)
    return float(metric.compute())


def kid(real: Features, made: Features, seed: int = 0) -> float:
    """torchmetrics' KID of two sets of features: a mean over random subsets, drawn from the seed."""
    from torchmetrics.image.kid import KernelInceptionDistance

    subset = min(SUBSET, min(len(real), len(made)) // 2)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*will save all extracted features", UserWarning)
        torch.manual_seed(seed_for(seed, "kid"))
        metric = KernelInceptionDistance(feature=_AsTheyAre(real.shape[1]), subsets=SUBSETS, subset_size=subset)
        metric.update(real.float(), real=True)
        metric.update(made.float(), real=False)
        return float(metric.compute()[0])


def manifolds(real: Features, made: Features, neighbours: int = NEIGHBOURS) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    A set's manifold is the union of balls around its points, each as large as the distance to the k-th nearest other
    point. precision: made points within the real manifold; recall: real points within the made one; density: how many
    real balls hold a made point, over k; coverage: real balls that hold a made point.
    """
    own, others = torch.cdist(real.double(), real.double()), torch.cdist(made.double(), made.double())
    k = min(neighbours, len(real) - 1, len(made) - 1)
    radius_real, radius_made = (
        own.kthvalue(k + 1, 1).values,
        others.kthvalue(k + 1, 1).values,
    )  # the point itself is 1st
    between = torch.cdist(real.double(), made.double())  # [real, made]
    in_real, in_made = between <= radius_real[:, None], between <= radius_made[None]
    return {
        "precision": in_real.any(0).double().mean().item(),
        "recall": in_made.any(1).double().mean().item(),
        "density": in_real.double().sum(0).mean().item() / k,
        "coverage": in_real.any(1).double().mean().item(),
    }


class _AsTheyAre(nn.Module):
    """For torchmetrics: what it is given are features already."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features


def _classifier(run: FinishedRun, steps: int) -> tuple[Callable[[Tensor], Features], float]:
    """φ and its accuracy on the test split."""
    network = train_network(run, steps)

    def extract(x: Tensor) -> Features:
        with eval_mode(network):
            return image_features(network, x).cpu()

    hits = total = 0
    for i, x in zip(torch.arange(len(run.data.test)).split(500), batches(run.data.test.images, run.device)):
        with eval_mode(network):
            logits = network(x).cpu()
        labels = run.data.test.labels[i]
        right = (logits > 0).long() == labels if labels.ndim > 1 else logits.argmax(1) == labels
        hits, total = hits + int(right.sum()), total + right.numel()
    return extract, hits / total


@lru_cache(maxsize=2)
def _timm_model(name: str, weights: str | None) -> Any:
    """The timm model, without its classifier. Raises ConfigError if there is none, DataError if its weights are not."""
    import timm

    if name not in timm.list_models():
        raise ConfigError(f"metric 'fidelity': timm has no model {name!r}")
    try:
        if weights is None:
            return timm.create_model(name, pretrained=True, num_classes=0).eval()
        from safetensors.torch import load_file

        model = timm.create_model(name, pretrained=False, num_classes=0)
        missing = model.load_state_dict(load_file(weights), strict=False).missing_keys
        if missing:
            raise DataError(f"{weights}: not the weights of {name}: {missing[0]} is missing")
        return model.eval()
    except DataError:
        raise
    except Exception as err:  # a library's own kinds: no network, no file, a damaged one
        first = str(err).strip().partition("\n")[0] or type(err).__name__
        raise DataError(
            f"metric 'fidelity': the weights of timm's {name} are not at hand ({first}); give weights=FILE.safetensors"
        ) from err


def _timm_features(model: Any, device: str) -> Callable[[Tensor], Features]:
    model = model.to(device)
    mean, deviation = (torch.tensor(numbers, device=device)[:, None, None] for numbers in IMAGENET)

    def extract(x: Tensor) -> Features:
        x = x.to(device).expand(-1, 3, -1, -1) if x.shape[1] == 1 else x.to(device)[:, :3]
        if min(x.shape[2:]) < TIMM_SIDE:
            x = interpolate(x, size=(TIMM_SIDE, TIMM_SIDE), mode="bilinear", antialias=True)
        with torch.no_grad():
            features: Tensor = model(((x + 1) / 2 - mean) / deviation)
        return features.cpu()

    return extract
