"""A variational auto-encoder with the layout of ACAI and AMR; its encoder ends in a mean and a log-variance."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from mixzoo import BuildContext, Reconstructs
from mixzoo_convnets.layers import Border, Depth, Init, Latent, Norm, Scales, Slope, Style, code_positions, halvings

Output: TypeAlias = Annotated[
    Literal["tanh", "linear"],
    "last layer of the decoder: tanh keeps images in [-1, 1], as a Bernoulli likelihood needs",
]


@dataclass(frozen=True, kw_only=True)
class VAE:
    """Convolutional variational auto-encoder (Kingma & Welling 2014) with the layers of AMR's authors.

    The encoder ends in twice as many maps: the mean of the posterior, which is the code, and its log-variance. The
    decoder ends in tanh by default: images are in [-1, 1], so the mean of a Gaussian loses nothing, and the probability
    of a Bernoulli, (x_rec + 1)/2, has to stay in [0, 1].
    """

    latent: Latent = 2
    depth: Depth = 16
    scales: Scales | None = None
    norm: Norm = "instance"
    slope: Slope = 0.01
    border: Border = 1
    init: Init = "fan_in"
    output: Output = "tanh"

    def build(self, context: BuildContext) -> "VariationalAutoEncoder":
        channels, depth = context.image_shape[0], self.depth
        scales = halvings(context.image_shape, self.scales, self.border)
        positions = code_positions(context.image_shape, scales, self.norm)
        style = Style(self.norm, self.slope, self.init)
        f = style.encoder(channels=channels, depth=depth, latent=2 * self.latent, scales=scales, border=self.border)
        g = style.decoder(channels=channels, depth=depth, latent=self.latent, scales=scales)
        if self.output == "tanh":
            g.append(nn.Tanh())
        return VariationalAutoEncoder(f, g, (self.latent, *positions))


class VariationalAutoEncoder(Reconstructs, nn.Module):
    """f and g; f gives twice the features of a code, the mean of the posterior and then its log-variance."""

    def __init__(self, f: nn.Module, g: nn.Module, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.f, self.g, self.latent_shape = f, g, latent_shape

    def posterior(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch *latent"], Float[Tensor, "batch *latent"]]:
        """The mean and the log-variance of q(z|x)."""
        mean, log_variance = self.f(x).chunk(2, dim=1)
        return mean, log_variance

    def encode(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch *latent"]:
        """The mean of the posterior."""
        return self.posterior(x)[0]

    def decode(self, h: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch channels height width"]:
        image: Tensor = self.g(h)
        return image
