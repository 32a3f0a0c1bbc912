"""Mixers with weights, which are trained with the auto-encoder, on its terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Generator, Tensor, nn

from mixzoo import BuildContext, CodeShape, MaskMixer, Mixed, dirichlet, label_vectors, rng_for
from mixzoo_mixers.options import K

Gradient = Literal["straight_through", "relaxed"]
WeightPer = Annotated[
    Literal["position", "channel", "example"],
    "what has a weight of its own: a position of a feature map, a map, or an example",
]
Hidden = Annotated[
    int, Ge(1), Le(65536), "units of the hidden layer; if not given, as many as feature maps, 16 at least"
]


@dataclass(frozen=True, kw_only=True)
class Label:
    """Each feature map from one of k codes, chosen by a network from the label that the mix should have (AMR eq. 7).

    h_mix[c] = h_i[c], i ~ Categorical(softmax(ℓ[c])), ℓᵢ = embed(y_mix, yᵢ), y_mix = Σᵢ αᵢ yᵢ, α ~ Dirichlet(1, …, 1)

    y is one-hot over classes, or a vector of attributes; embed is an MLP with one hidden layer. For k = 2 the chance of
    the first source is p = sigmoid(ℓ₁ - ℓ₂), and α ~ U(0, 1) (section 2.2, Figure 4). The class mixer in an early
    version of the authors' code never sampled: it weighed with a sigmoid of a ReLU, so that p was at least 1/2.

    sees=mix is the paper's embed(y_mix), which returns the logits of all sources at once. It knows the label that the
    mix should have but not which source has it; since sources come in random order, it is no better than chance unless
    the decoder learns to read patterns of masks (benchmarks/results/supervised.md). With sees=sources, the default, it
    knows.

    gradient=straight_through mixes by the sampled mask, and takes the gradient of the relaxed one,
    softmax((ℓ + Gumbel noise) / temperature); gradient=relaxed mixes by the relaxed mask itself. The first is the
    default: it is the mixer of the paper, and its share is exactly one-hot, so that the decoder and D see in training
    what they see in use, without a temperature to anneal. The second has the exact gradient of its mix.
    """

    skipped_checks: ClassVar[Mapping[str, str]] = {
        "labels_do_not_matter": "it mixes by them",
        "corner_is_that_source": "a point is a label to aim at; a mix with a source's label may be made of others",
        "at_is_a_point_of_the_simplex": "a point is a label to aim at, not a share",
        "mean_share_is_one_over_k": "embed decides the chance of a source from the label",
        "a_larger_batch_has_the_same_law": "the chance of a source depends on the labels, and another batch has others",
    }

    k: K = 2
    gradient: Annotated[Gradient, "gradient through the sampled mask"] = "straight_through"
    temperature: Annotated[float, Gt(0), Le(100), "of the relaxed mask: near 0 almost one-hot, above 1 soft"] = 1.0
    sees: Annotated[Literal["sources", "mix"], "embed's input: y_mix and each source's y, or y_mix alone"] = "sources"
    hidden: Hidden | None = None

    def build(self, context: BuildContext) -> "LabelMixer":
        if not context.label_width:
            raise ValueError("it mixes by label, and the data have none; use data with labels, or bernoulli")
        return LabelMixer(self, _channels(context), context.label_width)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A convex combination of k codes, with weights that a small network computes from all of them (AMR section 1).

    h_mix = Σᵢ sᵢ hᵢ,   s = softmax over i of (log αᵢ + net(h̄ᵢ, Σⱼ h̄ⱼ / k)),   α ~ Dirichlet(1, …, 1)

    net has one hidden layer along the channels and is the same for each source. h̄ is the code averaged over positions,
    for one weight per feature map (weight_per=channel) or per example; with weight_per=position it is the code itself,
    net is 1x1 convolutions, and the mixer costs many times more. net's last layer starts at zero, so that the mixer
    starts as dirichlet. An α of 1 gives that source whatever net returns.
    """

    skipped_checks: ClassVar[Mapping[str, str]] = {
        "gradient_is_share": "the share depends on the codes too",
        "moves_with_shift_and_scale": "the share depends on the codes",
        "at_is_a_point_of_the_simplex": "a point is α, and the network adjusts it",
        "mean_share_is_one_over_k": "the network decides from the codes",
    }

    k: K = 2
    weight_per: WeightPer = "channel"
    hidden: Hidden | None = None

    def build(self, context: BuildContext) -> "NetworkMixer":
        return NetworkMixer(self, _channels(context))


class LabelMixer(nn.Module):
    """Mixes by label: the call needs the sources' labels, classes or attributes, and returns y_mix as `labels`."""

    needs_map = False

    def __init__(self, options: Label, channels: int, classes: int) -> None:
        super().__init__()
        self.skipped_checks = options.skipped_checks
        self.k, self.channels, self.classes = options.k, channels, classes
        self.gradient, self.temperature, self.sees = options.gradient, options.temperature, options.sees
        hidden = options.hidden or max(channels, 16)  # a code may have 2 maps: too few units for ten classes
        inputs, outputs = (3 * classes, channels) if self.sees == "sources" else (classes, options.k * channels)
        self.embed = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))

    def draw(self, shape: CodeShape, rng: Generator) -> dict[str, Tensor]:
        return {
            "alpha": dirichlet((self.k, shape.batch), 1.0, rng),
            "gumbel": gumbel((self.k, shape.batch, shape.channels), rng),
        }

    def forward(
        self, h: Float[Tensor, "k batch *latent"], draw: Mapping[str, Tensor], labels: Tensor | None = None
    ) -> Mixed:
        if labels is None:
            raise ValueError(
                "the label mixer got no labels: pass labels=, [k batch] classes or [k batch attributes], "
                "or use a mixer that reads none, such as bernoulli"
            )
        y = label_vectors(labels, self.classes)
        y_mix = (draw["alpha"][..., None] * y).sum(0)
        noisy = CodeShape(h.shape[1], tuple(h.shape[2:])).broadcast(self.logits(y_mix, y) + draw["gumbel"])
        soft = (noisy / self.temperature).softmax(0)
        if self.gradient == "relaxed":
            share = soft.to(h.dtype)
            return Mixed((share * h).sum(0), share, y_mix)
        return picked_straight_through(h, noisy, soft.to(h.dtype))._replace(labels=y_mix)

    def logits(
        self, y_mix: Float[Tensor, "batch classes"], y: Float[Tensor, "k batch classes"]
    ) -> Float[Tensor, "k batch channels"]:
        """ℓ, whose softmax over k is the chance of each source at each feature map."""
        if self.sees == "sources":
            agreed = y_mix * y + (1 - y_mix) * (1 - y)  # how far the source agrees with y_mix, for each label
            inputs = torch.cat([y_mix.expand_as(y), y, agreed], -1)
        else:
            inputs = y_mix
        with torch.autocast(y_mix.device.type, enabled=False):  # which source is picked must not depend on rounding
            logits: Tensor = self.embed(inputs.to(next(self.embed.parameters()).dtype))
        return logits if self.sees == "sources" else logits.reshape(-1, self.k, self.channels).movedim(1, 0)

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> dict[str, Tensor]:
        """α at the point, with one fixed Gumbel noise for all examples. It aims at a label: a corner is a mix that
        should have that source's label, and may take its feature maps from others."""
        noise = gumbel((self.k, 1, shape.channels), rng_for(0, "label.at")).expand(-1, shape.batch, -1)
        return {"alpha": point[:, None].expand(-1, shape.batch), "gumbel": noise.to(point.device)}


class NetworkMixer(nn.Module):
    """A convex combination with learned weights, equivariant to a permutation of sources together with their α."""

    needs_map = False

    def __init__(self, options: Network, channels: int) -> None:
        super().__init__()
        self.skipped_checks = options.skipped_checks
        self.k, self.weight_per = options.k, options.weight_per
        hidden = options.hidden or max(channels, 16)
        last = nn.Linear(hidden, channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Linear(2 * channels, hidden), nn.SiLU(), last)

    def draw(self, shape: CodeShape, rng: Generator) -> Float[Tensor, "k batch *ones"]:
        return shape.broadcast(dirichlet((self.k, shape.batch), 1.0, rng))

    def forward(
        self, h: Float[Tensor, "k batch *latent"], draw: Float[Tensor, "k batch *ones"], labels: Tensor | None = None
    ) -> Mixed:
        share = (draw.log() + self._logits(h)).softmax(0).to(h.dtype)  # log 0 = -∞: weight 0, gradient 0
        return Mixed((share * h).sum(0), share)

    def at(self, point: Float[Tensor, " k"], shape: CodeShape) -> Float[Tensor, "k batch *ones"]:
        return shape.broadcast(point[:, None].expand(-1, shape.batch))

    def _logits(self, h: Float[Tensor, "k batch *latent"]) -> Float[Tensor, "k batch *latent_or_ones"]:
        space = tuple(range(3, h.ndim))
        inputs = h.mean(space, keepdim=True) if space and self.weight_per != "position" else h
        last = inputs.to(next(self.net.parameters()).dtype).movedim(2, -1)  # [k batch *space_or_ones channels]
        logits: Tensor = self.net(torch.cat([last, last.mean(0, keepdim=True).expand_as(last)], -1))
        logits = logits.movedim(-1, 2)
        return logits.mean(2, keepdim=True) if self.weight_per == "example" else logits


def picked_straight_through(
    h: Float[Tensor, "k batch *latent"],
    noisy: Float[Tensor, "k batch channels *ones"],
    soft: Float[Tensor, "k batch channels *ones"],
) -> Mixed:
    """Each feature map from the source with the largest `noisy`, with the gradient of the weights `soft`.

    The source that is picked is copied bit for bit, whatever the others are, and the share is exactly one-hot: the
    gradient is carried by x - x, which is +0 for every finite x, and subtracting +0 changes no number, not even -0. The
    gradient of a source is its share; `soft` gets that of Σᵢ softᵢ hᵢ, where a NaN or an infinity of h counts as 0.
    """
    mask = noisy.argmax(0) == torch.arange(len(h), device=h.device).reshape(-1, *[1] * (noisy.ndim - 1))
    hard = MaskMixer()(h, mask)
    relaxed = (soft * h.detach().nan_to_num(0.0, 0.0, 0.0)).sum(0)
    return Mixed(hard.h - (relaxed.detach() - relaxed), hard.share - (soft.detach() - soft))


def gumbel(shape: tuple[int, ...], rng: Generator) -> Float[Tensor, "..."]:
    """Gumbel noise: the argmax of ℓ + noise is a draw from Categorical(softmax(ℓ)). Always finite."""
    uniform = torch.rand(shape, dtype=torch.float64, generator=rng).clamp(1e-12, 1 - 1e-12)
    return -(-uniform.log()).log().float()


def _channels(context: BuildContext) -> int:
    if not context.latent_shape:
        raise ValueError("it has weights for each feature map, so it needs the shape of the code: pass latent_shape=")
    return context.latent_shape[0]
