"""The probe (AMR section 4.1): a linear classifier of the code whose gradient does not reach the encoder.

It trains along with the auto-encoder, on detached codes and with its own optimiser.
"""

from dataclasses import dataclass, replace
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from mixzoo.core.data import Split
from mixzoo.core.parts import AutoEncoder, BuildContext
from mixzoo.evaluation.codes import encode


def has_labels(context: BuildContext) -> bool:
    """Whether the data have labels to tell apart: attributes, or at least two classes."""
    return context.attributes > 0 or context.classes > 1


def build_probe(context: BuildContext) -> nn.Linear:
    """A linear layer from a flattened code to logits of the classes, or of each attribute."""
    return nn.Linear(prod(context.latent_shape), context.label_width)


def probe_loss(probe: nn.Linear, h: Float[Tensor, "batch *latent"], labels: Tensor) -> Float[Tensor, ""]:
    """Cross-entropy of the probe's logits, over classes or per attribute; no gradient reaches h."""
    logits = probe(h.detach().flatten(1))
    if labels.ndim > 1:
        return nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return nn.functional.cross_entropy(logits, labels)


def accuracy(probe: nn.Linear, autoencoder: AutoEncoder, split: Split, device: str) -> float:
    """The fraction of the split's images whose label the probe predicts, averaged over attributes if there are any."""
    codes = encode(autoencoder, split.images, device).flatten(1)
    logits = nn.functional.linear(codes, probe.weight.detach().cpu(), probe.bias.detach().cpu())
    predicted = logits > 0 if split.labels.ndim > 1 else logits.argmax(1)
    return (predicted == split.labels).double().mean().item()


@dataclass(frozen=True)
class ProbeRecord:
    """Accuracies of the probe, in [0, 1], at the best validation accuracy so far and at the last evaluation."""

    best_validation: float = -1.0  # the paper's protocol: the highest over the whole run
    best_step: int = 0
    test_at_best: float = 0.0
    last_validation: float = 0.0
    last_test: float = 0.0

    def after(self, step: int, validation: float, test: float) -> "ProbeRecord":
        """The record after another evaluation; of equal validation accuracies the earliest counts as the best."""
        record = replace(self, last_validation=validation, last_test=test)
        if validation <= self.best_validation:
            return record
        return replace(record, best_validation=validation, best_step=step, test_at_best=test)
