"""The variational auto-encoder's terms: a likelihood of the image, and how far the posterior is from the prior.

mean, log_variance  the posterior q(z|x) = N(mean, exp(log_variance)), from the auto-encoder
x_rec               g(z) of one sample z of it, which the engine draws
"""

from dataclasses import dataclass
from math import log, pi
from typing import Annotated, Literal

from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import relu

from mixzoo import Batch, Losses

FLOOR = 1e-6  # a probability below which its logarithm goes on as a straight line
SIGMA = 0.2  # about what the residual of a pixel comes to after a hundred steps on digits; it would be likeliest


@dataclass(frozen=True, kw_only=True)
class VAE:
    """Make x likely, and the posterior close to N(0, 1) (Kingma & Welling 2014; with beta, Higgins et al. 2017).

    auto-encoder:  -log p(x|z) + β KL(q(z|x) ‖ N(0, 1)),   z ~ q(z|x) = N(mean, exp(log_variance))

        KL         = Σ_latent (mean² + exp(log_variance) - log_variance - 1) / 2
        gaussian   -log p = Σ_pixels (x - x_rec)² / (2 sigma²) + log(sigma √(2π))
        bernoulli  -log p = -Σ_pixels t log p + (1 - t) log(1 - p),   t = (x + 1)/2,  p = (x_rec + 1)/2

    Sums over pixels and latent numbers, means over the batch, so β = 1 is the evidence lower bound, in nats an image.
    The code of AMR's authors took the encoder's second half as the scale itself, of either sign, and the KL's mean over
    the latent numbers, so that their β = 100 with 10 of them is β = 10 here.

    Bernoulli needs a decoder that stays in [-1, 1]: `--autoencoder vae:output=tanh`, its default. Below p = 10⁻⁶ log p
    goes on along its tangent, above p = 1 it stays 0: finite for any x_rec, the likelihood itself for p from 10⁻⁶
    to 1 - 10⁻⁶, and a pixel that is wrong is always pulled back, where clamping p would leave it without a gradient.
    """

    beta: Annotated[float, Ge(0), "β, weight of the KL divergence; 1 is the evidence lower bound"] = 1.0
    likelihood: Annotated[Literal["gaussian", "bernoulli"], "of the pixels; bernoulli wants images in [-1, 1]"] = (
        "gaussian"
    )
    sigma: Annotated[float, Gt(0), "gaussian: deviation of a pixel, in [-1, 1] units; 0.2 when not given"] | None = None

    def __post_init__(self) -> None:
        if self.likelihood == "bernoulli" and self.sigma is not None:
            raise ValueError("sigma= has no meaning with likelihood='bernoulli'; leave it out")

    def losses(self, batch: Batch) -> Losses:
        mean, log_variance = batch.posterior(batch.x)
        z = mean + (log_variance / 2).exp() * batch.noise("code", like=mean)  # z ~ q(z|x)
        (x_rec,) = batch.decode(z)
        return Losses(
            {
                "negative_log_likelihood": self.negative_log_likelihood(x_rec, batch.x).mean(),  # -log p(x|z)
                "kl": self.beta * kl_to_standard_normal(mean, log_variance).mean(),  # β KL(q(z|x) ‖ N(0, 1))
            }
        )

    def negative_log_likelihood(self, x_rec: Tensor, x: Tensor) -> Float[Tensor, " batch"]:
        """-log p(x|z) of each image, in nats."""
        if self.likelihood == "bernoulli":
            return bernoulli_nll(x_rec, x)
        return gaussian_nll(x_rec, x, SIGMA if self.sigma is None else self.sigma)


def kl_to_standard_normal(
    mean: Float[Tensor, "batch *latent"], log_variance: Float[Tensor, "batch *latent"]
) -> Float[Tensor, " batch"]:
    """KL(N(m, s²) ‖ N(0, 1)) = Σ (m² + s² - log s² - 1) / 2 over the latent numbers of each example."""
    return ((mean.square() + log_variance.exp() - log_variance - 1) / 2).flatten(1).sum(1)


def gaussian_nll(
    x_rec: Float[Tensor, "batch channels height width"], x: Float[Tensor, "batch channels height width"], sigma: float
) -> Float[Tensor, " batch"]:
    """-log N(x; x_rec, sigma²) of each image, its constant included."""
    return ((x - x_rec).square() / (2 * sigma**2) + log(sigma) + log(2 * pi) / 2).flatten(1).sum(1)


def bernoulli_nll(
    x_rec: Float[Tensor, "batch channels height width"], x: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, " batch"]:
    """The cross-entropy of each image, pixels (x + 1)/2 in [0, 1] as targets and (x_rec + 1)/2 as probabilities."""
    target = (x + 1) / 2
    likely = target * log_probability((1 + x_rec) / 2) + (1 - target) * log_probability((1 - x_rec) / 2)
    return -likely.flatten(1).sum(1)


def log_probability(p: Tensor) -> Tensor:
    """log p where p is a probability; 0 above 1, and below FLOOR the tangent at FLOOR, for one that is none."""
    return p.clamp(FLOOR, 1).log() - relu(FLOOR - p) / FLOOR
