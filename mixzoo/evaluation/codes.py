"""Codes of whole splits, in evaluation mode."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mixzoo.core.data import Source
from mixzoo.core.errors import NonFiniteError
from mixzoo.core.parts import AutoEncoder
from mixzoo.data.batches import to_images

EVALUATION_BATCH = 500  # images at a time; results do not depend on it unless a layer mixes examples


@contextmanager
def eval_mode(module: Any) -> Iterator[None]:
    """Evaluation mode without gradients within the block; afterwards every submodule is in its former mode again."""
    was_training = {inside: inside.training for inside in module.modules()}  # a fixed norm may differ from the rest
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training[module])  # in case the network's own `train` does more than set the mode
        for inside, mode in was_training.items():
            inside.training = mode


def batches(
    images: Shaped[Tensor, "n channels height width"] | Source, device: str, index: Int[Tensor, " some"] | None = None
) -> Iterator[Float[Tensor, "batch channels height width"]]:
    """Batches of all images, or of those at `index`, in order, as network inputs on the device.

    Only one batch is in memory at a time.
    """
    wanted = torch.arange(len(images)) if index is None else index
    for part in wanted.split(EVALUATION_BATCH):
        stored = images[part] if isinstance(images, Tensor) else images.read(part)
        yield to_images(stored.to(device))


def encode(
    autoencoder: AutoEncoder,
    images: Shaped[Tensor, "n channels height width"] | Source,
    device: str,
    index: Int[Tensor, " some"] | None = None,
) -> Float[Tensor, "coded *latent"]:
    """f(x) of all images, or of those at `index`, on the CPU. Raises NonFiniteError if a code has NaN or infinity."""
    with eval_mode(autoencoder):
        codes = torch.cat([autoencoder.encode(x).cpu() for x in batches(images, device, index)])
    if not codes.isfinite().all():
        raise NonFiniteError("the code of an image is not finite: training has diverged; try a lower --lr")
    return codes
