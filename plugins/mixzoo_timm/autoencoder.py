"""An auto-encoder around an encoder of timm: f is timm's up to one feature map, g mirrors it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn

from mixzoo import BuildContext
from mixzoo_timm.backbone import backbone, pretrained_file
from mixzoo_timm.decoder import Decoder
from mixzoo_timm.encoder import Encoder
from mixzoo_timm.norms import Norm


@dataclass(frozen=True, kw_only=True)
class Timm:
    """An encoder of timm up to its feature map `out_index`, 1x1 convolution to `latent` maps, and a matched decoder.

    The code is [latent, height / reduction, width / reduction], with the reduction that timm states for that map; the
    decoder doubles its way back with the feature maps that timm states on the way. Images stay in [-1, 1]: the model's
    own mean and deviation are applied inside, and a grey image is given to all of its channels.

    A batch norm makes the code of an image depend on its batch. `norm` says what becomes of it: `group` normalises
    each image alone, `fixed` keeps the statistics of the pretrained weights as they are, and `batch` is timm's own.
    When not given it is fixed with pretrained weights and group without.
    """

    model: Annotated[str, "any model of timm, such as resnet18 or vit_tiny_patch16_224; see timm.list_models()"] = (
        "resnet18"
    )
    out_index: Annotated[int, Ge(0), "which of the model's feature maps the code is made of, from 0"] = 2
    latent: Annotated[int, Ge(1), "feature maps of the code"] = 32
    pretrained: Annotated[bool, "begin from the weights of timm's hub, which has to be reached once"] = False
    weights: Annotated[str | None, "begin from the weights of this safetensors file, with timm's names"] = None
    freeze: Annotated[bool, "the timm part stays as it begins, statistics of norms too"] = False
    norm: Annotated[Literal["group", "fixed", "batch"] | None, "what becomes of the model's batch norms"] = None
    decoder_width: Annotated[int, Ge(16), "most feature maps of a layer of the decoder"] = 256

    def __post_init__(self) -> None:
        if self.pretrained and self.weights is not None:
            raise ValueError("pretrained=true and weights= both name weights to begin from; give one of them")
        if self.norm == "group" and self.begins_trained:
            raise ValueError("norm=group does not fit pretrained weights, made for batch norm; use norm=fixed or batch")
        if self.norm == "fixed" and not self.begins_trained:
            raise ValueError("norm=fixed needs statistics, and random weights have none; use pretrained=true, weights=")
        if self.norm == "batch" and self.freeze:
            raise ValueError("norm=batch has no effect with freeze=true, which keeps all statistics; leave one out")

    @property
    def begins_trained(self) -> bool:
        return self.pretrained or self.weights is not None

    @property
    def skipped_checks(self) -> Mapping[str, str]:
        reason = "norm=batch keeps timm's batch norms, which take mean and variance over the batch in training"
        return {"images_do_not_meet_in_training": reason} if self.norm == "batch" else {}

    def build(self, context: BuildContext) -> "TimmAutoEncoder":
        return TimmAutoEncoder(self, context)


class TimmAutoEncoder(nn.Module):
    """f and g; g has as many doublings as f has halvings."""

    def __init__(self, options: Timm, context: BuildContext) -> None:
        super().__init__()
        channels, height, width = context.image_shape
        file = None if context.restored else pretrained_file(options.model, options.pretrained, options.weights)
        features = backbone(options.model, options.out_index, context.image_shape, file)
        norm: Norm = options.norm or ("fixed" if options.begins_trained else "group")
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
