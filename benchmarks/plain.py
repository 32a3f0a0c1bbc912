"""A plain trainer: the networks and objectives of AMR's authors, written the usual way, as a baseline for mixzoo.

    loader     PIL images, resized, converted and normalised one by one, in worker processes or in this one
    step       E once; D once for each source of images and again for the auto-encoder's loss; updates the auto-encoder,
               then D, then the probe; reads each loss back with .item()
    layers     torch.nn's own, and spectral norm by hand with a power iteration at every pass

It imports nothing from mixzoo, so a faster layer there does not change it. Both players' losses are at the same
parameters: D is given images decoded before the auto-encoder's update, and has not been updated yet. Whatever the
authors' code computes without using it in a loss is computed here too, and a comment says so
(christopher-beckham/amr at 1bd67b9).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, l1_loss, log_softmax, nll_loss, normalize
from torch.utils.data import DataLoader, Dataset

Net: TypeAlias = Callable[[Tensor], Tensor]

SIDE = 32  # pixels
SLOPE = 0.01  # of the leaky ReLU below 0


class SpectralNorm(nn.Module):
    """W / sigma, one power iteration at every pass; u starts as a random unit vector."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.register_buffer("u", normalize(torch.randn(conv.weight.shape[0]), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight.flatten(1)
        with torch.no_grad():
            v = normalize(weight.T @ self.u, dim=0)
            self.u = normalize(weight @ v, dim=0)
        sigma = self.u @ weight @ v
        return nn.functional.conv2d(x, self.conv.weight / sigma, self.conv.bias, padding=1)


def conv(narrow: int, wide: int, spectral: bool = False) -> nn.Module:
    layer = nn.Conv2d(narrow, wide, 3, padding=1)
    return SpectralNorm(layer) if spectral else layer


def block(narrow: int, wide: int, spectral: bool = False) -> list[nn.Module]:
    """Convolution, instance norm (none in D), leaky ReLU."""
    norm = [] if spectral else [nn.InstanceNorm2d(wide, affine=True)]
    return [conv(narrow, wide, spectral), *norm, nn.LeakyReLU(SLOPE)]


def encoder(channels: int, d: int, latent: int, spectral: bool = False) -> nn.Sequential:
    """[channels, 32, 32] -> [latent, 4, 4]; the first convolution pads the image: sides are 34, 17, 8 and 4."""
    return nn.Sequential(
        nn.Conv2d(channels, d, 1, padding=1),
        *block(d, d, spectral), *block(d, d, spectral), nn.AvgPool2d(2),
        *block(d, 2 * d, spectral), *block(2 * d, 2 * d, spectral), nn.AvgPool2d(2),
        *block(2 * d, 4 * d, spectral), *block(4 * d, 4 * d, spectral), nn.AvgPool2d(2),
        *block(4 * d, 8 * d, spectral), conv(8 * d, latent, spectral),
    )  # fmt: skip


def decoder(channels: int, d: int, latent: int) -> nn.Sequential:
    """[latent, 4, 4] -> [channels, 32, 32], with a linear output."""
    return nn.Sequential(
        *block(latent, 4 * d), *block(4 * d, 4 * d), nn.Upsample(scale_factor=2, mode="nearest"),
        *block(4 * d, 2 * d), *block(2 * d, 2 * d), nn.Upsample(scale_factor=2, mode="nearest"),
        *block(2 * d, d), *block(d, d), nn.Upsample(scale_factor=2, mode="nearest"),
        *block(d, d), conv(d, channels),
    )  # fmt: skip


class Discriminator(nn.Module):
    """An encoder's layers without norm, under spectral norm; the mean of the output, as a probability [batch]."""

    def __init__(self, channels: int, d: int, latent: int) -> None:
        super().__init__()
        self.layers = encoder(channels, d, latent, spectral=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(x).flatten(1).mean(1))


class Mix(NamedTuple):
    """One mix of a batch: the weight of each source [k, batch, ...], and the index of every source but the first."""

    share: Tensor
    partners: Tensor  # [k-1, batch]


def draw(k: int, batch: int, device: torch.device | str = "cpu") -> Mix:
    """Weights uniform on the simplex, one point per example, and a permutation of the batch per partner."""
    if k == 2:
        alpha = torch.rand(batch)
        share = torch.stack([alpha, 1 - alpha])
    else:
        share = torch.distributions.Dirichlet(torch.ones(k)).sample((batch,)).T
    partners = torch.stack([torch.randperm(batch) for _ in range(k - 1)])
    return Mix(share[:, :, None, None, None].to(device), partners.to(device))


def mixed(h: Tensor, mix: Mix) -> Tensor:
    """Σᵢ shareᵢ hᵢ."""
    h_mix = mix.share[0] * h
    for share, partner in zip(mix.share[1:], mix.partners):
        h_mix = h_mix + share * h[partner]
    return h_mix


class Played(NamedTuple):
    """The auto-encoder's phase: its loss, the decoded images, and the logged values."""

    loss: Tensor
    x_rec: Tensor
    x_mix: Tensor
    log: dict[str, Tensor]


@dataclass(frozen=True)
class Method:
    """The losses of both players."""

    objective: Literal["aegan", "amr", "acai"]
    k: int = 2
    lam: float = 10.0  # weight of reconstruction

    def autoencoder(self, f: Net, g: Net, D: Net, x: Tensor, h: Tensor, mix: Mix) -> Played:
        """The phase of f and g; h = f(x)."""
        h_mix = mixed(h, mix)
        x_rec, x_mix = g(h), g(h_mix)
        log = {"recon": l1_loss(x_rec, x)}
        if self.objective == "acai":
            log["fool_mix"] = bce(D(x_mix), 0.0)
            # `acai_f3` computes the consistency loss and its gradient at beta = 0
            log["consistency"] = l1_loss(f(x_mix), h_mix)
            fool = log["fool_mix"] + 0.0 * log["consistency"]
        else:
            log["fool_rec"] = bce(D(x_rec), 1.0)
            # AE+GAN is the same class with `disable_mix`: the mix is decoded and given to D only for the log
            log["fool_mix"] = bce(D(x_mix), 1.0)
            fool = log["fool_rec"] + (log["fool_mix"] if self.objective == "amr" else 0.0)
        return Played(self.lam * log["recon"] + fool, x_rec, x_mix, log)

    def discriminator(self, D: Net, x: Tensor, x_rec: Tensor, x_mix: Tensor, mix: Mix) -> Tensor:
        """D's loss, with a pass for each source of images; x_rec and x_mix are detached."""
        if self.objective == "acai":
            alpha = mix.share[0].flatten()
            target = 2 * torch.minimum(alpha, 1 - alpha).to(x.dtype)
            return bce(D(x_rec), 0.0) + bce(D(x), 0.0) + bce(D(x_mix), target)
        loss = bce(D(x), 1.0) + bce(D(x_rec), 0.0)
        return loss + bce(D(x_mix), 0.0) if self.objective == "amr" else loss


def bce(probability: Tensor, target: float | Tensor) -> Tensor:
    return binary_cross_entropy(probability, target * torch.ones_like(probability))


class Trainer:
    """The networks, an Adam for each player, and their step."""

    def __init__(
        self,
        method: Method,
        *,
        channels: int = 1,
        depth: int = 16,
        latent: int = 2,
        classes: int = 10,
        lr: float = 1e-4,
    ) -> None:
        self.method = method
        self.f, self.g = encoder(channels, depth, latent), decoder(channels, depth, latent)
        self.D = Discriminator(channels, depth, latent)
        self.probe = nn.Linear(latent * 4 * 4, classes)
        self.modules = nn.ModuleList([self.f, self.g, self.D, self.probe])
        players = {"autoencoder": [*self.f.parameters(), *self.g.parameters()], "D": list(self.D.parameters())}
        players["probe"] = list(self.probe.parameters())
        # a loop over parameters, as in torch at that time; on a GPU the default is now one multi-tensor loop
        self.adams = {
            name: torch.optim.Adam(own, lr=lr, betas=(0.5, 0.99), weight_decay=1e-5, foreach=False)
            for name, own in players.items()
        }

    def step(self, x: Tensor, labels: Tensor, mix: Mix, *, update_autoencoder: bool = True) -> dict[str, float]:
        """One step of each player; returns the logged values. The auto-encoder can be left out (`update_g_every`)."""
        self.modules.train()
        for adam in self.adams.values():
            adam.zero_grad()
        h = self.f(x)
        played = self.method.autoencoder(self.f, self.g, self.D, x, h, mix)
        if update_autoencoder:
            played.loss.backward()  # also computes gradients of D, which are discarded
            self.adams["autoencoder"].step()
        self.adams["D"].zero_grad()
        d_loss = self.method.discriminator(self.D, x, played.x_rec.detach(), played.x_mix.detach(), mix)
        d_loss.backward()
        self.adams["D"].step()

        log_p = log_softmax(self.probe(h.detach().flatten(1)), dim=1)
        probe = nll_loss(log_p, labels)
        probe.backward()
        self.adams["probe"].step()
        hits = (log_p.argmax(1) == labels).float().mean()
        log = {**played.log, "D": d_loss, "probe": probe, "accuracy": hits}
        return {name: value.item() for name, value in log.items()}


class OneByOne(Dataset[tuple[Tensor, int]]):
    """Images as stored, uint8 [n, height, width] or [n, height, width, channels], each transformed on access."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[i]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).reshape(SIDE, SIDE, -1).permute(2, 0, 1)
        return (pixels.contiguous().float() / 255 - 0.5) / 0.5, int(self.labels[i])


def loader(images: np.ndarray, labels: np.ndarray, batch: int, workers: int = 4) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches in [-1, 1], shuffled every epoch, the last one smaller; the authors used four workers."""
    return DataLoader(
        OneByOne(images, labels), batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
