"""How real images look to an extractor: torchmetrics' own numbers, and known scores on constructed features."""

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from mixzoo import ConfigError, DataError, FinishedRun, NonFiniteError, create, seed_for
from mixzoo.registry.zoo import load_zoo
from mixzoo_metrics import fidelity
from mixzoo_metrics.fidelity import Fidelity, Similarity, fid, kid, manifolds
from toys import ToyData, ToyUnlabelled

RNG = torch.Generator().manual_seed(0)
REAL, OTHER = torch.randn(300, 8, generator=RNG), torch.randn(300, 8, generator=RNG)
DIGITS = load_zoo().recipe("dataset", "digits:train_images=200").load(0)


class AsItIs(torch.nn.Module):
    """An auto-encoder whose reconstructions are the images, plus what is asked for."""

    latent_shape = (1, 32, 32)

    def __init__(self, change=lambda x: x):
        super().__init__()
        self.change = change

    def encode(self, x):
        return x

    def decode(self, h):
        return self.change(h)


def finished(change=lambda x: x, mixer="mixup"):
    return FinishedRun(AsItIs(change), create("mixer", mixer), DIGITS, 0, "cpu")


def torchmetrics_fid(real, made):
    metric = FrechetInceptionDistance(feature=fidelity._AsTheyAre(8)).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(made.double(), real=False)
    return metric.compute().item()


@pytest.mark.filterwarnings("ignore:.*will save all extracted features")
def test_fid_and_kid_are_torchmetrics_own_on_the_same_features():
    for made in (OTHER, 2 * OTHER, OTHER + 1):
        assert fid(REAL, made) == torchmetrics_fid(REAL, made)
        metric = KernelInceptionDistance(feature=fidelity._AsTheyAre(8), subsets=100, subset_size=150)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(7, "kid"))
            metric.update(REAL, real=True)
            metric.update(made, real=False)
            expected = metric.compute()[0].item()
        assert kid(REAL, made, 7) == expected


def test_known_distances():
    """FID of Gaussians that differ in their mean alone is the squared distance; equal sets have none."""
    assert fid(REAL, REAL) == pytest.approx(0, abs=1e-6)
    assert fid(REAL, REAL + 2.0) == pytest.approx(8 * 2.0**2, rel=1e-4)
    twice = 2 * REAL.double()  # of A and 3A: |mean of 2A|² + the trace of (2A)'s covariance
    assert fid(REAL, 3 * REAL) == pytest.approx((twice.var(0) + twice.mean(0).square()).sum().item(), rel=1e-3)
    assert abs(kid(REAL, OTHER)) < 0.05 < kid(REAL, OTHER + 1)


def test_known_manifolds():
    same = manifolds(REAL, REAL)
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    far = manifolds(REAL, OTHER + 100)
    assert set(far.values()) == {0}
    collapsed = manifolds(REAL, REAL[:1] + 1e-4 * OTHER)  # one real image over and over
    assert collapsed["precision"] == 1
    assert collapsed["recall"] < 0.05
    assert collapsed["coverage"] < 0.2
    assert manifolds(REAL, OTHER)["density"] == pytest.approx(1, abs=0.15)


def test_perfect_reconstructions_score_as_real_images_and_noise_does_not():
    perfect = Fidelity(classifier_steps=60)(finished())
    assert perfect["classifier_fid_reconstructions"] == pytest.approx(0, abs=1e-4)
    assert abs(perfect["classifier_kid_reconstructions"]) < 0.05
    assert perfect["classifier_precision_reconstructions"] == perfect["classifier_recall_reconstructions"] == 1
    assert perfect["classifier_fid_floor"] > 0
    assert perfect["classifier_accuracy"] > 0.5
    assert perfect.keys() - Fidelity().better.keys() == {"classifier_fid_floor", "classifier_accuracy"}
    assert Fidelity().better.keys() <= perfect.keys()
    noise = Fidelity(classifier_steps=60)(finished(lambda x: torch.rand_like(x) * 2 - 1))
    assert noise["classifier_kid_reconstructions"] > 10 * abs(perfect["classifier_kid_mixes"])
    assert noise["classifier_coverage_mixes"] < 0.1
    assert perfect == Fidelity(classifier_steps=60)(finished())


def test_another_mixer_is_scored_in_place_of_the_runs():
    spec = "fidelity:classifier_steps=20,fid=false,mixer=(cutmix:k=3)"
    scores = load_zoo().recipe("metric", spec)(finished())
    assert "classifier_kid_mixes" in scores
    assert not any("fid" in name.split("_") for name in scores)
    with pytest.raises(ConfigError, match="mixer 'network' learns; only the run's own has weights"):
        load_zoo().recipe("metric", "fidelity:classifier_steps=1,mixer=(network:k=3)")(finished())


def test_what_has_no_number_is_refused_before_training(monkeypatch):
    with pytest.raises(DataError, match="no labels to tell apart"):
        Fidelity().check_data(ToyUnlabelled().load(0))
    with pytest.raises(DataError, match=r"FID needs more images than the extractor's 64 features .* and there are 48"):
        Fidelity().check_data(ToyData().load(0))
    Fidelity(fid=False).check_data(ToyData().load(0))
    with pytest.raises(DataError, match="smaller than SSIM's window"):
        Similarity().check_data(ToyData().load(0))
    monkeypatch.setattr(fidelity, "find_spec", lambda name: None)
    for metric in (Fidelity(), Similarity()):
        with pytest.raises(ConfigError, match=r"needs torchmetrics; pip install 'mixzoo\[metrics\]'"):
            metric.check_data(DIGITS)


def test_weights_are_looked_for_before_training(tmp_path):
    timm = pytest.importorskip("timm")
    with pytest.raises(ConfigError, match="timm has no model 'resnet17'"):
        Fidelity(features="timm", model="resnet17").check_data(DIGITS)
    with pytest.raises(DataError, match=r"the weights of timm's resnet10t are not at hand \(.*\); give weights=FILE"):
        Fidelity(features="timm", model="resnet10t", weights=str(tmp_path / "none.safetensors")).check_data(DIGITS)
    from safetensors.torch import save_file

    model = timm.create_model("resnet10t", pretrained=False, num_classes=0)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    metric = Fidelity(features="timm", model="resnet10t", weights=str(tmp_path / "w.safetensors"), fid=False, images=40)
    metric.check_data(DIGITS)
    scores = metric(finished())
    assert abs(scores["resnet10t_kid_reconstructions"]) < 0.05
    assert "classifier_accuracy" not in scores


def test_images_that_are_not_finite_are_an_error_of_their_own():
    for metric in (Fidelity(classifier_steps=1), Similarity()):
        with pytest.raises(NonFiniteError, match="not finite"):
            metric(finished(lambda x: x * float("nan")))


def test_psnr_and_ssim_are_torchmetrics_own():
    x = torch.cat([DIGITS.test.held]).float() / 127.5 - 1
    scores = Similarity(images=50)(finished(lambda x: 0.9 * x))
    made = 0.9 * x[:50]
    expected = peak_signal_noise_ratio(made, x[:50], data_range=(-1.0, 1.0)).item()
    assert scores["psnr"] == pytest.approx(expected, abs=1e-3)
    expected = structural_similarity_index_measure(made, x[:50], data_range=(-1.0, 1.0)).item()
    assert scores["ssim"] == pytest.approx(expected, abs=1e-4)
