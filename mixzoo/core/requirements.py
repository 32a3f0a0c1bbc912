"""What an objective needs from a run: draws, a discriminator, labels, a posterior."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mixzoo.core.parts import Mixer
from mixzoo.core.random import DrawRequest


@dataclass(frozen=True)
class Requirements:
    """What an objective needs from a run, as recorded during one call on a stand-in batch (`mixzoo.core.stand_in`)."""

    draws: Mapping[str, DrawRequest] = field(default_factory=dict)  # of every step, by `DrawRequest.key`
    discriminator: bool = False
    discriminator_passes: int = 0  # calls of `batch.discriminate` in a step
    label_logits: bool = False  # D must classify labels too
    reconstruction: bool = False  # D must be an auto-encoder
    posterior: bool = False  # the auto-encoder must be variational
    labels: bool = False  # it reads labels, or which examples have one
    whole_batch: bool = False  # a term is not a mean over examples

    @property
    def mixes(self) -> bool:
        """Whether the objective uses the run's mixer."""
        return any(request.kind == "mix" and request.mixer is None for request in self.draws.values())

    @property
    def other_mixers(self) -> tuple[Mixer, ...]:
        """The objective's own mixers, in the order in which it uses them."""
        return tuple(request.mixer for request in self.draws.values() if request.mixer is not None)

    @property
    def one_backward_pass(self) -> bool:
        """Whether both players' terms depend on D only through one logit per example of one forward pass."""
        return self.discriminator_passes == 1 and not (self.label_logits or self.reconstruction)
