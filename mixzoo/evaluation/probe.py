"""The probe in unison (AMR section 4.1): a linear classifier of the code that never teaches the encoder.

It trains beside the auto-encoder, on codes cut off from the graph, with an optimiser of its own.
"""

from dataclasses import dataclass, replace
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from mixzoo.evaluation.codes import encode
from mixzoo.protocols import AutoEncoder, BuildContext, Split


def has_labels(context: BuildContext) -> bool:
    """Whether there is anything for a probe to tell apart: attributes, or two classes at least."""
    return context.attributes > 0 or context.classes > 1


def build_probe(context: BuildContext) -> nn.Linear:
    """Logits of the classes, or of each attribute, from a flattened code."""
    return nn.Linear(prod(context.latent_shape), context.label_width)


def probe_loss(probe: nn.Linear, h: Float[Tensor, "batch *latent"], labels: Tensor) -> Float[Tensor, ""]:
    """Cross-entropy of the probe's logits, over classes or for each attribute; no gradient reaches h."""
    logits = probe(h.detach().flatten(1))
    if labels.ndim > 1:
        return nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return nn.functional.cross_entropy(logits, labels)


def accuracy(probe: nn.Linear, autoencoder: AutoEncoder, split: Split, device: str) -> float:
    """The part of the split's images, in [0, 1], whose label the probe reads off their code; of attributes, the mean
    over all of them."""
    codes = encode(autoencoder, split.images, device).flatten(1)
    logits = nn.functional.linear(codes, probe.weight.detach().cpu(), probe.bias.detach().cpu())
    said = logits > 0 if split.labels.ndim > 1 else logits.argmax(1)
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
