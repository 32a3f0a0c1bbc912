"""Registers the convolutional networks of ACAI and AMR, and fully connected ones, through the hooks of any plugin."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_autoencoders() -> Mapping[str, type[Any]]:
    from mixzoo_convnets.autoencoder import ACAI, AMR
    from mixzoo_convnets.dsprites import DSprites
    from mixzoo_convnets.fully_connected import MLP
    from mixzoo_convnets.variational import VAE
    from mixzoo_convnets.vector_quantised import VQ

    return {"acai": ACAI, "amr": AMR, "vae": VAE, "dsprites": DSprites, "mlp": MLP, "vq": VQ}


@hookimpl
def mixzoo_discriminators() -> Mapping[str, type[Any]]:
    from mixzoo_convnets.autoencoding import Autoencoding
    from mixzoo_convnets.codes import CodeDiscriminator
    from mixzoo_convnets.discriminator import ACAI, AMR
    from mixzoo_convnets.dsprites import DSpritesDiscriminator
    from mixzoo_convnets.fully_connected import MLPDiscriminator

    return {
        "acai": ACAI,
        "amr": AMR,
        "dsprites": DSpritesDiscriminator,
        "mlp": MLPDiscriminator,
        "autoencoding": Autoencoding,
        "codes": CodeDiscriminator,
    }
