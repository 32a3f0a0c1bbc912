"""The VQ-VAE's terms: reconstruction from the nearest entries of a codebook, which codes and entries move towards."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Gt
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from mixzoo import Batch, BuildContext, ConfigError, Losses
from mixzoo_objectives.losses import Reconstruction, reconstruction


@dataclass(frozen=True, kw_only=True)
class VQVAE:
    """Reconstruct x from the entries e of a codebook nearest to its code (van den Oord et al. 2017, eq. 3).

    auto-encoder:  ‖x - g(e)‖ + ‖sg[f(x)] - e‖² + beta ‖f(x) - sg[e]‖²

    sg stops the gradient, which goes straight through from e to f(x) in the first term. It takes an auto-encoder with a
    codebook, `--autoencoder vq`, whose decoder quantises what it is given. Squared errors are means over all numbers.
    """

    beta: Annotated[float, Gt(0), "weight of the commitment of codes to their entries; the paper has 0.25"] = 0.25
    recon: Reconstruction = "l2"

    skipped_checks: ClassVar[dict[str, str]] = {
        "gradients_agree_with_finite_differences": "each of the two terms stops the gradient at its other side"
    }

    def losses(self, batch: Batch) -> Losses:
        h = batch.encode(batch.x)
        (x_rec,) = batch.decode(h)
        quantise = getattr(batch.autoencoder, "quantise", None)  # a method of its own, which no protocol has
        if quantise is None:
            raise ConfigError("objective 'vqvae' needs an auto-encoder with a codebook; use --autoencoder vq")
        entries, _ = quantise(h)
        return Losses(
            {
                "reconstruct": reconstruction(self.recon, x_rec, batch.x),  # ‖x - g(e)‖
                "codebook": mse_loss(entries, h.detach()),  # ‖sg[f(x)] - e‖²
                "commit": self.beta * mse_loss(h, entries.detach()),  # beta ‖f(x) - sg[e]‖²
            }
        )

    def example_networks(self, context: BuildContext) -> tuple[Any, None]:
        """A codebook of four entries, for the conformance kit."""
        return ExampleCodebook(context.latent_shape[0]), None


class ExampleCodebook(nn.Module):
    """The nearest of four entries at each position of a code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.entries = nn.Parameter(torch.randn(4, channels))

    def quantise(self, h: Float[Tensor, "batch *latent"]) -> tuple[Float[Tensor, "batch *latent"], Int[Tensor, "..."]]:
        entries = self.entries.to(h)
        index = torch.cdist(h.flatten(2).mT if h.ndim > 2 else h[:, None], entries).argmin(-1)  # [batch positions]
        return entries[index].mT.reshape(h.shape), index
