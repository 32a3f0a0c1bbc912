"""The probe in unison (AMR section 4.1): a linear classifier of the code that never teaches the encoder.

It trains beside the auto-encoder, on codes cut off from the graph, with an optimiser of its own.
"""

from dataclasses import dataclass, replace
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from mixzoo.evaluation.codes import encode
from mixzoo.protocols import AutoEncoder, Setting, Split


def build_probe(setting: Setting) -> nn.Linear:
    """Logits of the classes from a flattened code."""
    return nn.Linear(prod(setting.latent_shape), setting.classes)


def probe_loss(probe: nn.Linear, h: Float[Tensor, "batch *latent"], labels: Tensor) -> Float[Tensor, ""]:
    """Cross-entropy of the probe's logits; no gradient reaches h."""
    return nn.functional.cross_entropy(probe(h.detach().flatten(1)), labels)


def accuracy(probe: nn.Linear, autoencoder: AutoEncoder, split: Split, device: str) -> float:
    """The part of the split's images, in [0, 1], whose label the probe reads off their code."""
    codes = encode(autoencoder, split.images, device).flatten(1)
    said = nn.functional.linear(codes, probe.weight.detach().cpu(), probe.bias.detach().cpu()).argmax(1)
    return (said == split.labels).double().mean().item()


@dataclass(frozen=True)
class ProbeRecord:
    """Accuracies of the probe in [0, 1] at the best validation so far and at the last evaluation."""

    best_validation: float = -1.0  # the paper's protocol: the highest over the whole run
    best_step: int = 0
    test_at_best: float = 0.0
    last_validation: float = 0.0
    last_test: float = 0.0

    def after(self, step: int, validation: float, test: float) -> "ProbeRecord":
        """The record with one more evaluation; the earliest of equals stays the best."""
        seen = replace(self, last_validation=validation, last_test=test)
        if validation <= self.best_validation:
            return seen
        return replace(seen, best_validation=validation, best_step=step, test_at_best=test)
