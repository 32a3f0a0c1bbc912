"""Scores of a run that has diverged: exit code 6, and neither a number nor a traceback."""

import math

import pytest

from mixzoo import NonFiniteError
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.scoring import score_of
from mixzoo.testing.metrics import MetricCase

ZOO = load_zoo()
QUICK = {
    "fidelity": "fidelity:classifier_steps=2,images=20,fid=false",
    "foreign_class": "foreign_class:steps=2,mixes=20",
    "conditioned_labels": "conditioned_labels:steps=2,mixes=20",
    "label_arithmetic": "label_arithmetic:steps=2",
    "disentanglement": "disentanglement:votes=20",
    "line_interpolation": "line_interpolation:pairs=9,steps=3",
    "mlp_probe": "mlp_probe:epochs=2,width=8",
    "dci": "dci:trees=4",
    "beta_vae": "beta_vae:votes=20,pairs=4",
}
OF_CODES = (  # which decode nothing
    *("logistic_regression", "knn", "mlp_probe", "effective_rank"),
    *("disentanglement", "beta_vae", "mig", "dci", "sap", "infomec"),
)
METRICS = [entry.name for entry in ZOO.of_kind("metric")]


def scored(name, method):
    run = MetricCase(ZOO.recipe("metric", QUICK.get(name, name)), channels=1, images=96, seed=0).run()
    original = getattr(run.autoencoder, method)
    setattr(run.autoencoder, method, lambda given: original(given) * math.nan)
    return score_of(name, ZOO.recipe("metric", QUICK.get(name, name)), run)


@pytest.mark.parametrize("name", METRICS)
def test_codes_that_are_not_finite_are_refused_by_every_metric(name):
    with pytest.raises(NonFiniteError, match="not finite: training has diverged; try a lower --lr"):
        scored(name, "encode")


@pytest.mark.parametrize("name", [name for name in METRICS if name not in OF_CODES])
def test_decoded_images_that_are_not_finite_are_refused_by_every_metric_that_decodes(name):
    with pytest.raises(NonFiniteError, match="not finite: training has diverged; try a lower --lr"):
        scored(name, "decode")
