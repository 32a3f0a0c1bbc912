"""Metrics and the probe, on codes whose scores are known."""

import pytest
import torch
from torch import nn

from mixzoo import BuildContext, FinishedRun, Split
from mixzoo.data.batches import to_images
from mixzoo.evaluation.probe import ProbeRecord, accuracy, build_probe, probe_loss
from mixzoo.registry.zoo import load_zoo
from toys import ToyData

ZOO = load_zoo()
DATA = ToyData().load(0)


class Coder(nn.Module):
    """Codes and reconstructions given by functions of the images."""

    latent_shape = (4,)

    def __init__(self, f, g):
        super().__init__()
        self.encode, self.decode = f, g


def finished(f, g=torch.zeros_like):
    return FinishedRun(Coder(f, g), ZOO.recipe("mixer", "mixup"), DATA, seed=0, device="cpu")


def thirds(x):
    """Mean brightness of each third, from which the class follows."""
    return torch.stack([x[:, 0, 2 * i + 1 : 2 * i + 3].mean((1, 2)) for i in range(3)], 1)


def test_logistic_regression_reads_informative_codes():
    assert ZOO.recipe("metric", "logistic_regression")(finished(thirds)) == {
        "test_accuracy": 1.0,
        "test_accuracy_pixels": 1.0,
    }


def test_logistic_regression_is_at_chance_on_uninformative_codes():
    score = ZOO.recipe("metric", "logistic_regression")(finished(lambda x: torch.ones(len(x), 4)))
    assert score["test_accuracy"] == pytest.approx(1 / 3, abs=0.01)


def test_reconstruction_is_the_mean_error_over_all_test_images():
    errors = ZOO.recipe("metric", "reconstruction")(finished(lambda x: x, lambda h: h + 0.25))
    assert errors == {"l1": pytest.approx(0.25, abs=1e-6), "l2": pytest.approx(0.0625, abs=1e-6)}


def test_images_are_scaled_in_the_authors_order():
    stored = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    expected = (stored.double() / 255 - 0.5) / 0.5
    assert to_images(stored).min() == -1
    assert to_images(stored).max() == 1
    torch.testing.assert_close(to_images(stored).double(), expected, rtol=0, atol=2e-7)


def test_the_probe_reads_off_the_class_and_passes_no_gradient_on():
    probe = build_probe(BuildContext((1, 8, 8), classes=3, latent_shape=(3,)))
    with torch.no_grad():
        probe.weight.copy_(torch.eye(3))
        probe.bias.zero_()
    assert accuracy(probe, Coder(thirds, thirds), DATA.test, "cpu") == 1.0
    h = torch.rand(4, 3, requires_grad=True)
    probe_loss(probe, h, torch.tensor([0, 1, 2, 0])).backward()
    assert h.grad is None
    assert probe.weight.grad is not None


def test_accuracy_is_over_images_and_not_over_batches(monkeypatch):
    """The authors' mean of batch means counts the images of a short last batch more."""
    monkeypatch.setattr("mixzoo.evaluation.codes.EVALUATION_BATCH", 5)
    probe = build_probe(BuildContext((1, 8, 8), classes=3, latent_shape=(3,)))
    with torch.no_grad():
        probe.weight.zero_()
        probe.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    labels = torch.tensor([0] * 5 + [1])
    assert accuracy(probe, Coder(thirds, thirds), Split(DATA.test.images[:6], labels), "cpu") == pytest.approx(5 / 6)


def test_the_record_keeps_the_test_accuracy_of_the_best_validation():
    record = ProbeRecord().after(10, 0.5, 0.4).after(20, 0.7, 0.6).after(30, 0.7, 0.9).after(40, 0.6, 0.8)
    assert (record.best_validation, record.best_step, record.test_at_best) == (0.7, 20, 0.6)
    assert (record.last_validation, record.last_test) == (0.6, 0.8)
