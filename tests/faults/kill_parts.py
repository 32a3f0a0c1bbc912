"""Parts of the runs that are killed: tiny, with dropout, norms that have buffers, and two players."""

from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from mixzoo import BuildContext
from mixzoo.registry.config import RunConfig, resolve
from mixzoo.registry.zoo import RegisteredPart, Zoo
from toys import TOY_PLUGIN, ToyAutoEncoder, ToyDiscriminator, toy_zoo

NUMBERS = {
    "steps": 60,
    "batch_images": 16,
    "log_every": 1,
    "evaluate_every": 5,
    "checkpoint_every": 2,
    "keep_checkpoints": 2,
    "d_steps": 2,
    "threads": 1,
    "device": "cpu",
}
PARTS = {"dataset": "toy_data", "autoencoder": "kill_net", "discriminator": "kill_judge", "objective": "amr:beta=0.1"}
CASES = {  # name -> flags, numbers
    "dirichlet": ({"mixer": "dirichlet:k=3"}, {}),
    "cutmix, best": ({"mixer": "cutmix"}, {"select": "best"}),
    "learned": ({"mixer": "network:k=3"}, {}),
    "label, best": ({"mixer": "label", "objective": "amr_supervised"}, {"select": "best"}),
}


@dataclass(frozen=True)
class KillNet:
    """The toys' auto-encoder with batch norm and dropout in its encoder; the code is [2, 4, 4]."""

    def build(self, context: BuildContext) -> nn.Module:
        return KillAutoEncoder(context.image_shape[0])


class KillAutoEncoder(ToyAutoEncoder):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, 0.2)
        self.f.insert(1, nn.BatchNorm2d(2))
        self.f.append(nn.Conv2d(2, 2, 1))


@dataclass(frozen=True)
class KillJudge:
    """The toys' discriminator with spectral norm on its first convolution."""

    def build(self, context: BuildContext) -> nn.Module:
        return KillDiscriminator(context.image_shape[0], context.num_labels)


class KillDiscriminator(ToyDiscriminator):
    def __init__(self, channels: int, head: int = 0) -> None:
        super().__init__(channels, head)
        spectral_norm(self.net[0])


def kill_zoo() -> Zoo:
    """The installed plugins, the toys and the parts above."""
    zoo = toy_zoo()
    zoo.registered += [
        RegisteredPart("autoencoder", "kill_net", TOY_PLUGIN, KillNet),
        RegisteredPart("discriminator", "kill_judge", TOY_PLUGIN, KillJudge),
    ]
    return zoo


def kill_config(zoo: Zoo, case: str = "dirichlet", **numbers: object) -> RunConfig:
    """The run of this case, without metrics that take longer than its steps."""
    flags, own = CASES[case]
    return resolve(zoo, None, PARTS | flags, NUMBERS | own | numbers, ["reconstruction"])
