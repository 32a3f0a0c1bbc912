"""An auto-encoder around a timm encoder: f is timm's up to one of its feature maps, and g mirrors it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn

from mixzoo import BuildContext, Reconstructs
from mixzoo_timm.backbone import backbone, pretrained_file
from mixzoo_timm.decoder import Decoder
from mixzoo_timm.encoder import Encoder
from mixzoo_timm.norms import Norm


@dataclass(frozen=True, kw_only=True)
class Timm:
    """A timm encoder up to its feature map `out_index`, a 1x1 convolution to `latent` maps, and a matching decoder.

    The code is [latent, height / reduction, width / reduction], with timm's reduction of that map; the decoder doubles
    its maps step by step, with as many channels as timm has at each scale. Images are in [-1, 1]: the model's mean and
    standard deviation are applied inside, and a grey image is copied to all of its channels.

    Batch norm makes the code of an image depend on its batch. `norm` says what replaces it: `group` normalises each
    image alone, `fixed` keeps the statistics of the pretrained weights, and `batch` leaves batch norm in place. The
    default is `fixed` with pretrained weights and `group` without.
    """

    model: Annotated[str, "a timm model, such as resnet18 or vit_tiny_patch16_224; see timm.list_models()"] = "resnet18"
    out_index: Annotated[int, Ge(0), "which of the model's feature maps becomes the code, counted from 0"] = 2
    latent: Annotated[int, Ge(1), "feature maps of the code"] = 32
    pretrained: Annotated[bool, "start from the weights on timm's hub, which are downloaded once"] = False
    weights: Annotated[str | None, "start from the weights in this safetensors file, with timm's names"] = None
    freeze: Annotated[bool, "do not train the timm part, including the statistics of norms"] = False
    norm: Annotated[Literal["group", "fixed", "batch"] | None, "what replaces the model's batch norms"] = None
    decoder_width: Annotated[int, Ge(16), "feature maps in a layer of the decoder, at most"] = 256

    def __post_init__(self) -> None:
        if self.pretrained and self.weights is not None:
            raise ValueError("pretrained=true and weights= both give weights to start from; use one of them")
        if self.norm == "group" and self.is_pretrained:
            raise ValueError("norm=group does not fit weights pretrained with batch norm; use norm=fixed or batch")
        if self.norm == "fixed" and not self.is_pretrained:
            raise ValueError("norm=fixed needs pretrained statistics; use pretrained=true or weights=, or norm=group")
        if self.norm == "batch" and self.freeze:
            raise ValueError("norm=batch has no effect with freeze=true, which keeps all statistics; leave one out")

    @property
    def is_pretrained(self) -> bool:
        return self.pretrained or self.weights is not None

    @property
    def skipped_checks(self) -> Mapping[str, str]:
        reason = "norm=batch keeps timm's batch norms, whose mean and variance are over the batch in training"
        return {"images_do_not_meet_in_training": reason} if self.norm == "batch" else {}

    def build(self, context: BuildContext) -> "TimmAutoEncoder":
        return TimmAutoEncoder(self, context)


class TimmAutoEncoder(Reconstructs, nn.Module):
    """f and g; g doubles its maps as often as f halves them."""

    def __init__(self, options: Timm, context: BuildContext) -> None:
        super().__init__()
        channels, height, width = context.image_shape
        file = None if context.restored else pretrained_file(options.model, options.pretrained, options.weights)
        features = backbone(options.model, options.out_index, context.image_shape, file)
        norm: Norm = options.norm or ("fixed" if options.is_pretrained else "group")
        self.f = Encoder(features, latent=options.latent, norm=norm, freeze=options.freeze, chosen=bool(options.norm))
        self.latent_shape = (options.latent, *features.size)
        self.g = Decoder(options.latent, channels, (height, width), features.widths(options.decoder_width))

    def encode(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch latent code_height code_width"]:
        code: Tensor = self.f(x)
        return code

    def decode(
        self, h: Float[Tensor, "batch latent code_height code_width"]
    ) -> Float[Tensor, "batch channels height width"]:
        image: Tensor = self.g(h)
        return image
