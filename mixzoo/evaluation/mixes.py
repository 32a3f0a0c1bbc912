"""Decoded random mixes of a split, as a run makes them in training."""

import torch
from jaxtyping import Float
from torch import Tensor

from mixzoo.core.data import Split
from mixzoo.core.parts import AutoEncoder, CodeShape, Mixer
from mixzoo.core.random import rng_for, to_device
from mixzoo.data.batches import to_images
from mixzoo.evaluation.codes import EVALUATION_BATCH, eval_mode


def random_mixes(
    autoencoder: AutoEncoder, mixer: Mixer, split: Split, *, count: int, seed: int, device: str
) -> Float[Tensor, "count channels height width"]:
    """g(h_mix) of `count` mixes of random images of the split, on the CPU.

    The sources of a mix are drawn independently, and the mixer's draw is as in training.
    """
    mixes = []
    with eval_mode(autoencoder):
        for start in range(0, count, EVALUATION_BATCH):
            n = min(EVALUATION_BATCH, count - start)
            chosen = torch.randint(len(split), (mixer.k, n), generator=rng_for(seed, "evaluation sources", start))
            sources, labels = split.read(chosen.flatten()), split.labels[chosen].to(device)
            h = autoencoder.encode(to_images(sources.to(device)))
            shape = CodeShape(n, tuple(h.shape[1:]))
            draw = mixer.draw(shape, rng_for(seed, "evaluation mix", start))
            mixed = mixer(h.unflatten(0, (mixer.k, n)), to_device(draw, h.device), labels)
            mixes.append(autoencoder.decode(mixed.h).cpu())
    return torch.cat(mixes)
