"""What a run trains: the networks, the mixer, the objective, the probe and their optimisers."""

from dataclasses import dataclass, field

from jaxtyping import Bool
from torch import Tensor, nn
from torch.optim import Optimizer

from mixzoo.core.objective import Objective
from mixzoo.core.parts import AutoEncoder, Discriminator, Mixer
from mixzoo.core.random import StepDraws, draw_step
from mixzoo.core.stand_in import Requirements
from mixzoo.training.distributed import SINGLE_PROCESS, DistributedContext


@dataclass(frozen=True)
class Players:
    """All that a run trains, and what moves it."""

    autoencoder: AutoEncoder
    mixer: Mixer
    discriminator: Discriminator | None  # None where the objective needs none
    probe: nn.Linear | None  # None where labels tell nothing apart
    objective: Objective
    optimisers: dict[str, Optimizer]  # "autoencoder" (a learned mixer with it), "discriminator", "probe"
    requirements: Requirements = field(default_factory=Requirements)  # what the objective asks for at every step
    num_labels: int = 0  # numbers of one label as a vector
    distributed: DistributedContext = SINGLE_PROCESS  # the processes that share each batch
    uncompiled_discriminator: Discriminator | None = None  # what a penalty goes through, if it is not `discriminator`

    def draw(
        self,
        seed: int,
        step: int,
        *,
        batch: int,
        progress: float = 1.0,
        labelled: Bool[Tensor, " batch"] | None = None,
    ) -> StepDraws:
        """All that the objective asks for at this step, of the whole batch (`mixzoo.core.random.draw_step`)."""
        return draw_step(
            seed,
            step,
            self.requirements.draws,
            self.mixer,
            batch=batch,
            progress=progress,
            labelled=labelled,
            by_label=self.requirements.labels,
        )
