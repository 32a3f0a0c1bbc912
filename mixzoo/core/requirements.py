"""What an objective needs of a run: draws, a discriminator, labels, a posterior."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mixzoo.core.parts import Mixer
from mixzoo.core.random import DrawRequest


@dataclass(frozen=True)
class Requirements:
    """What an objective needs of a run, as noted during one call on a stand-in batch (`mixzoo.core.stand_in`)."""

    draws: Mapping[str, DrawRequest] = field(default_factory=dict)  # at every step, by purpose
    discriminator: bool = False
    discriminator_passes: int = 0  # calls of `discriminate`
    label_logits: bool = False  # of D
    reconstruction: bool = False  # of its input, by a D that is an auto-encoder
    posterior: bool = False
    labels: bool = False  # or which examples have one
    whole_batch: bool = False  # a term is not a mean over examples

    @property
    def mixes(self) -> bool:
        """Whether it uses the run's own mixer."""
        return any(request.kind == "mix" and request.mixer is None for request in self.draws.values())

    @property
    def other_mixers(self) -> tuple[Mixer, ...]:
        """The objective's own mixers."""
        return tuple(request.mixer for request in self.draws.values() if request.mixer is not None)

    @property
    def one_backward_pass(self) -> bool:
        """Whether both players' terms depend on D through one logit per example of a single pass."""
        return self.discriminator_passes == 1 and not (self.label_logits or self.reconstruction)
