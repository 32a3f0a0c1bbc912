"""Parts of the runs that are killed: tiny, with dropout, norms that have buffers, and two players."""

from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from mixzoo import BuildContext, Scores
from mixzoo.registry.config import RunConfig, resolve
from mixzoo.registry.zoo import RegisteredPart, Zoo
from toys import TOY_PLUGIN, toy_zoo

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
    """One strided convolution each way, batch norm and dropout between; the code is [2, 4, 4]."""

    def build(self, context: BuildContext) -> nn.Module:
        return KillAutoEncoder(context.image_shape[0])


class KillAutoEncoder(nn.Module):
    latent_shape = (2, 4, 4)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(channels, 4, 4, stride=2, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.2),
            nn.Conv2d(4, 2, 1),
        )  # fmt: skip
        self.g = nn.ConvTranspose2d(2, channels, 4, stride=2, padding=1)

    def encode(self, x):
        return self.f(x)

    def decode(self, h):
        return self.g(h)


@dataclass(frozen=True)
class KillJudge:
    """A convolution with spectral norm and a mean, and a head for the label where one is asked for."""

    def build(self, context: BuildContext) -> nn.Module:
        return KillDiscriminator(context.image_shape[0], context.num_labels)


class KillDiscriminator(nn.Module):
    def __init__(self, channels: int, head: int = 0) -> None:
        super().__init__()
        self.net = nn.Sequential(spectral_norm(nn.Conv2d(channels, 4, 3)), nn.Tanh(), nn.Conv2d(4, 1 + head, 3))

    def forward(self, x):
        said = self.net(x).flatten(2).mean(2)
        return Scores(said[:, 0], said[:, 1:] if said.shape[1] > 1 else None)


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
