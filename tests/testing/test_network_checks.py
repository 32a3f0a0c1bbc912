"""Each check of auto-encoders and discriminators finds its planted bug, and correct networks pass."""

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
from correct_networks import (
    FrozenDecoder,
    PlainAutoEncoder,
    PlainDiscriminator,
    Recipe,
    Variational,
    WithLabelLogits,
    WithReconstruction,
)
from planted_autoencoders import PLANTED_AUTOENCODERS, HasBatchNorm
from planted_discriminators import PLANTED_DISCRIMINATORS

from mixzoo.registry.zoo import load_zoo
from mixzoo.testing.autoencoders import autoencoder_checks
from mixzoo.testing.discriminators import discriminator_checks
from mixzoo.testing.report import run_check, run_checks

pytestmark = pytest.mark.kit

CHECKS = {"autoencoder": autoencoder_checks, "discriminator": discriminator_checks}
PLANTED = [
    *[("autoencoder", *row) for row in PLANTED_AUTOENCODERS],
    *[("discriminator", *row) for row in PLANTED_DISCRIMINATORS],
]
NARROW = {  # other networks get depth=2; a narrower dsprites would have only dead ReLUs
    "timm": "timm:model=test_resnet,latent=4,decoder_width=16",
    "mlp": "mlp:hidden=8",
    "codes": "codes:hidden=8",
    "dsprites": "dsprites:width=8,hidden=32",
}
FIRST_PARTY = [(entry.kind, entry.name) for kind in CHECKS for entry in load_zoo().of_kind(kind)]


@pytest.mark.parametrize(("kind", "bug", "network", "name", "words"), PLANTED, ids=lambda value: str(value))
def test_a_planted_bug_is_found_by_its_check(kind, bug, network, name, words):
    (check,) = [check for check in CHECKS[kind] if check.name == name]
    outcome = run_check(check, Recipe(network), "low")
    assert outcome.status == "failed", bug
    assert re.search(words, outcome.detail)


def test_every_check_of_networks_has_a_planted_bug():
    tested = {name for _, _, _, name, _ in PLANTED}
    assert {check.name for checks in CHECKS.values() for check in checks} == tested


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        *(("autoencoder", network) for network in (PlainAutoEncoder, FrozenDecoder, Variational)),
        *(("discriminator", network) for network in (PlainDiscriminator, WithLabelLogits, WithReconstruction)),
    ],
)
def test_a_correct_network_passes_everything(kind, network):
    report = run_checks(Recipe(network), kind, CHECKS[kind], effort="low")
    assert [outcome.line for outcome in report.failed] == []
    assert (
        len(report.not_applicable)
        == {
            PlainAutoEncoder: 2,
            FrozenDecoder: 2,
            Variational: 0,
            PlainDiscriminator: 2,
            WithLabelLogits: 1,
            WithReconstruction: 1,
        }[network]
    )


def assert_passes_everything(kind, spec, effort):
    report = run_checks(load_zoo().recipe(kind, spec), kind, CHECKS[kind], effort=effort, name=spec)
    assert [outcome.line for outcome in report.failed] == []
    assert [outcome.check.name for outcome in report.skipped] == ["gradients_reach_every_parameter"] * (
        spec.startswith("vq")  # its codebook learns from a term of the objective
    )
    assert len(report.passed) >= 20


@pytest.mark.parametrize(("kind", "name"), FIRST_PARTY)
def test_every_registered_network_passes_everything(kind, name):
    assert_passes_everything(kind, NARROW.get(name, f"{name}:depth=2"), "low")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), FIRST_PARTY)
def test_every_registered_network_passes_everything_at_its_full_width(kind, name):
    assert_passes_everything(kind, name, "normal")


@dataclass(frozen=True)
class KnownToNormalise(Recipe):
    skipped_checks: ClassVar[dict[str, str]] = {
        "images_do_not_meet_in_training": "batch norm on purpose",
        "evaluation_changes_no_state": "not needed, for the test",
    }


def test_a_network_skips_checks_with_a_reason():
    checks = [check for check in autoencoder_checks if check.name in KnownToNormalise.skipped_checks]
    report = run_checks(KnownToNormalise(HasBatchNorm), "autoencoder", checks, effort="low")
    details = {outcome.check.name: outcome.detail for outcome in report.skipped}
    assert details["images_do_not_meet_in_training"] == "batch norm on purpose"
    assert "is the skip still needed" in details["evaluation_changes_no_state"]
    assert not report.failed
