"""Codes of whole splits, outside training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mixzoo.data.batches import to_images
from mixzoo.errors import NonFiniteError
from mixzoo.protocols import AutoEncoder, Source

EVALUATION_BATCH = 500  # images at a time; no result depends on it where no layer mixes examples


@contextmanager
def eval_mode(module: Any) -> Iterator[None]:
    """The module in evaluation mode and without gradients inside the block, each part of it as it was after it."""
    was_training = {inside: inside.training for inside in module.modules()}  # a fixed norm is not, amid a net that is
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training[module])  # for a network whose own `train` does more than set the mode
        for inside, mode in was_training.items():
            inside.training = mode


def batches(
    images: Shaped[Tensor, "n channels height width"] | Source, device: str, index: Int[Tensor, " some"] | None = None
) -> Iterator[Float[Tensor, "batch channels height width"]]:
    """The images in order, or those at `index`, as network inputs on the device; no more than a batch is read ahead."""
    for some in torch.arange(len(images)).split(EVALUATION_BATCH) if index is None else index.split(EVALUATION_BATCH):
        stored = images[some] if isinstance(images, Tensor) else images.read(some)
        yield to_images(stored.to(device))


def encode(
    autoencoder: AutoEncoder,
    images: Shaped[Tensor, "n channels height width"] | Source,
    device: str,
    index: Int[Tensor, " some"] | None = None,
) -> Float[Tensor, "coded *latent"]:
    """f(x) of every image, or of those at `index`, on the CPU; raises NonFiniteError if one is NaN or infinite."""
    with eval_mode(autoencoder):
        codes = torch.cat([autoencoder.encode(x).cpu() for x in batches(images, device, index)])
    if not codes.isfinite().all():
        raise NonFiniteError("the code of an image is not finite: training has diverged; try a lower --lr")
    return codes
