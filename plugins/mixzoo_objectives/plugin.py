"""The first objectives, offered through the hook that any plugin uses."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_objectives() -> Mapping[str, type[Any]]:
    from mixzoo_objectives.aae import AAE
    from mixzoo_objectives.acai import ACAI
    from mixzoo_objectives.amr import AE, AEGAN, AMR, DAE
    from mixzoo_objectives.gaia import GAIA
    from mixzoo_objectives.supervised import AMRSupervised
    from mixzoo_objectives.variational import VAE
    from mixzoo_objectives.vector_quantised import VQVAE
    from mixzoo_objectives.wasserstein import WGANGP

    return {
        "ae": AE,
        "dae": DAE,
        "vae": VAE,
        "aegan": AEGAN,
        "amr": AMR,
        "amr_supervised": AMRSupervised,
        "acai": ACAI,
        "gaia": GAIA,
        "aae": AAE,
        "wgangp": WGANGP,
        "vqvae": VQVAE,
    }
