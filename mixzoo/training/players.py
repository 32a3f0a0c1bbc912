"""What a run trains: the networks, the mixer, the objective, the probe and their optimisers."""

from dataclasses import dataclass, field

from jaxtyping import Bool
from torch import Tensor, nn
from torch.optim import Optimizer

from mixzoo.core.objective import Objective
from mixzoo.core.parts import AutoEncoder, Discriminator, Mixer
from mixzoo.core.random import StepDraws, draw_step
from mixzoo.core.requirements import Requirements
from mixzoo.training.distributed import SINGLE_PROCESS, DistributedContext
from mixzoo.training.finite import FiniteCheck


@dataclass(frozen=True)
class Players:
    """Everything a run trains, with the optimisers that train it."""

    autoencoder: AutoEncoder
    mixer: Mixer
    discriminator: Discriminator | None  # None if the objective uses none
    probe: nn.Linear | None  # None if the data has no labels to predict
    objective: Objective
    optimisers: dict[str, Optimizer]  # "autoencoder" (a learned mixer with it), "discriminator", "probe"
    requirements: Requirements = field(default_factory=Requirements)  # what the objective uses at every step
    num_labels: int = 0  # length of a label vector
    distributed: DistributedContext = SINGLE_PROCESS  # the processes that share each batch
    uncompiled_discriminator: Discriminator | None = None  # for gradient penalties; None means `discriminator`
    clip_grad: float = 0.0  # the greatest norm of a player's gradient; 0 for any
    finite: FiniteCheck = None  # type: ignore[assignment]  # of every step; made here, of the networks as they are

    def __post_init__(self) -> None:
        if self.finite is None:
            object.__setattr__(self, "finite", FiniteCheck(self.modules, self.optimisers))

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The parts that hold tensors, by name."""
        parts = {
            "autoencoder": self.autoencoder,
            "discriminator": self.discriminator,
            "mixer": self.mixer,
            "probe": self.probe,
        }
        return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}

    def draw(
        self,
        seed: int,
        step: int,
        *,
        batch: int,
        progress: float = 1.0,
        labelled: Bool[Tensor, " batch"] | None = None,
    ) -> StepDraws:
        """All random draws of the objective at this step, for the whole batch (`mixzoo.core.random.draw_step`)."""
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
