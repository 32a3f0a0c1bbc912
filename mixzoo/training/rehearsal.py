"""A step on a stand-in batch before a run begins: a part that breaks its contract is one line, not a traceback later.

The networks are copies and the numbers a function of the run's seed, so nothing of the run is changed. The parts are
wrapped: the forward pass itself is the one that every step takes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from mixzoo.core.data import Dataset
from mixzoo.core.errors import ConfigError, PluginError, one_line
from mixzoo.core.objective import Losses, Terms
from mixzoo.core.parts import CodeShape
from mixzoo.core.random import draws_to_device, rng_for, to_device
from mixzoo.data.batches import to_images
from mixzoo.evaluation.pictures.mixes import points
from mixzoo.registry.config import RunConfig
from mixzoo.registry.contract import Contract, described
from mixzoo.registry.recipes import input_shape
from mixzoo.registry.zoo import Zoo
from mixzoo.training.batch import StepBatch
from mixzoo.training.distributed import SINGLE_PROCESS
from mixzoo.training.gradients import OneBackwardPass, own_gradients, shared_gradients, total
from mixzoo.training.players import Players
from mixzoo.training.step import trainable
from mixzoo.training.watched import WatchedAutoEncoder, WatchedDiscriminator, WatchedMixer

FEW = 2  # images of the stand-in batch
REACH = 10.0  # codes are made this much larger, in both directions, to see how far a decoder's pixels reach


def rehearse(zoo: Zoo, config: RunConfig, players: Players, data: Dataset, device: torch.device) -> list[str]:
    """Warnings about the run's parts, from one step of copies of them on a stand-in batch.

    Raises PluginError, which names the part that breaks its contract, with the expected signature, and ConfigError
    if the parts fail only on a batch of one image.
    """
    own = max(1, config.train.batch_images // players.distributed.world_size)
    try:
        return _rehearsed(zoo, config, players, data, device, min(FEW, own))
    except (torch.OutOfMemoryError, MemoryError):
        return []  # the first step will run out too, and the run says so where it is recorded
    except _Uncopied as err:
        return [f"note: no step was tried before the run, as a part cannot be copied ({one_line(err)})"]
    except PluginError as err:
        try:  # a part may need more examples than it was given, such as the five nearest
            found = _rehearsed(zoo, config, players, data, device, max(FEW, own))
        except (torch.OutOfMemoryError, MemoryError):
            return []
        except PluginError:
            raise err from None
        if own > 1:
            return found
        raise ConfigError(
            f"--batch-images {config.train.batch_images}: a batch of one image fails and one of two does not, as with "
            f"batch norm; use --batch-images 2 or more, or a network without it ({err})"
        ) from err


class _Uncopied(Exception):
    """A part cannot be copied, so a trial step would change the run."""


def _rehearsed(
    zoo: Zoo, config: RunConfig, players: Players, data: Dataset, device: torch.device, images: int
) -> list[str]:
    # Zero labels are valid for every data set, and the images have the range of real ones.
    context = data.build_context(tuple(players.autoencoder.latent_shape))
    x = torch.rand(images, *context.image_shape, generator=rng_for(0, "rehearsal")).to(device) * 2 - 1
    labels = torch.zeros(images, *[context.attributes] * (context.attributes > 0), dtype=torch.int64, device=device)
    known = None if config.train.labelled_images is None else torch.ones(images, dtype=torch.bool)

    # Copies, wrapped in checks of their contracts: the step below may write to anything it reaches.
    networks = (players.autoencoder, players.mixer, players.discriminator, players.objective)
    try:
        autoencoder, mixer, discriminator, objective = deepcopy(networks)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as err:  # a lock, a file, a weight that is computed: sound parts may hold what has no copy
        raise _Uncopied(err) from err
    contracts = {kind: Contract(kind, config.names[kind], zoo.plugin_of(kind, config.names[kind]))
                 for kind in ("autoencoder", "discriminator", "mixer", "objective")}  # fmt: skip
    watched_f = WatchedAutoEncoder(autoencoder, contracts["autoencoder"], context.image_shape)
    watched_mixer = WatchedMixer(mixer, contracts["mixer"], context.label_width)
    watched_d = (
        None
        if discriminator is None
        else WatchedDiscriminator(
            discriminator,
            contracts["discriminator"],
            input_shape(config.parts["discriminator"], context),
            config.names["objective"],
        )
    )

    # A single process: a rehearsal exchanges nothing with the others.
    copies = replace(
        players,
        autoencoder=watched_f,
        mixer=watched_mixer,
        discriminator=watched_d,
        uncompiled_discriminator=discriminator,
        objective=objective,
        distributed=SINGLE_PROCESS,
    )

    # A method that is a closure is copied with the network that it holds, so it may write to the original's buffers.
    with _as_they_were(networks), torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(0)
        draws = copies.draw(config.train.seed, 0, batch=images, progress=0.0, labelled=known)
        batch = StepBatch(copies, x, labels, draws_to_device(draws, device))
        losses = contracts["objective"].call("losses", objective.losses, batch)
        terms = _checked_terms(losses, contracts["objective"])
        _check_gradients(terms, contracts["objective"], players, batch.passes, {
            "autoencoder": [autoencoder, mixer] if players.requirements.mixes else [autoencoder],
            "discriminator": [discriminator],
        })  # fmt: skip
        _mix_as_pictures_do(watched_f, watched_mixer, x, labels)
        code = batch.code if losses.code is None else losses.code
        return [] if code is None else _narrow_decoder(watched_f, code, data)


def _mix_as_pictures_do(autoencoder: WatchedAutoEncoder, mixer: WatchedMixer, x: Tensor, labels: Tensor) -> None:
    """Mix at given points of the simplex, which a step does not."""
    with torch.no_grad():
        h = autoencoder.encode(x)
        sources, all_labels = (torch.stack([t.roll(-j, 0) for j in range(mixer.k)]) for t in (h, labels))
        for point in points(mixer.k):
            mixer(sources, to_device(mixer.at(point, CodeShape(len(h), tuple(h.shape[1:]))), h.device), all_labels)


@contextmanager
def _as_they_were(parts: Iterable[object]) -> Iterator[None]:
    """What a pass may write to, buffers and weights that no optimiser moves, is as before when the block ends."""
    modules = [part for part in parts if isinstance(part, torch.nn.Module)]
    written = [t for m in modules for t in (*m.buffers(), *m.parameters()) if not t.requires_grad]
    before = [tensor.detach().clone() for tensor in written]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, was in zip(written, before):
                if not torch.equal(tensor, was):
                    tensor.copy_(was)


def _checked_terms(losses: Any, contract: Contract) -> dict[str, Terms]:
    """Both players' terms, each a named number."""
    if not isinstance(losses, Losses):
        raise contract.broken("losses", f"losses returned {described(losses)}")
    found = {"autoencoder": losses.autoencoder, "discriminator": losses.discriminator}
    for player, terms in found.items():
        if not isinstance(terms, Mapping):
            raise contract.broken("losses", f"the {player}'s terms are {described(terms)}")
        for name, term in terms.items():
            if not isinstance(name, str):
                raise contract.broken("losses", f"the {player} has a term called {name!r}, which is not text")
            if not isinstance(term, Tensor) or term.shape != ():
                raise contract.broken("losses", f"the {player}'s term {name!r} is {described(term)}")
    if not any(found.values()):
        raise contract.broken("losses", "losses returned no term for any player")
    return found


def _check_gradients(
    terms: dict[str, Terms],
    contract: Contract,
    players: Players,
    passes: Sequence[OneBackwardPass],
    modules: Mapping[str, list[Any]],
) -> None:
    """Each player that has weights has a gradient of its terms, or the optimiser would fail at the first step."""
    learning = {player: own for player, own in terms.items() if own and player in players.optimisers}
    weights: dict[str, list[Parameter]] = {}
    for player, own in learning.items():
        loss = contract.call("losses", total, own)
        if not loss.requires_grad:
            raise contract.broken(
                "losses",
                f"no term of the {player} ({', '.join(own)}) depends on a weight; detach nothing, the engine does that",
            )
        weights[player] = trainable(modules[player])
    if passes:  # the terms end at D's logits, which have a graph of their own
        contract.call("losses", shared_gradients, learning, weights, passes[0])
    else:
        contract.call("losses", own_gradients, learning, weights)


def _narrow_decoder(autoencoder: WatchedAutoEncoder, h: Tensor, data: Dataset) -> list[str]:
    """A warning if no code makes a pixel below 0, as of a decoder that ends in a sigmoid, while data go below.

    The codes of images, the same turned round, and both far larger ones: a decoder that could reach below would.
    """
    with torch.no_grad():
        h = h.detach()
        pixels = torch.cat([autoencoder.decode(scale * h) for scale in (1.0, -1.0, REACH, -REACH)])
    low, high = torch.aminmax(pixels)
    if not low >= 0:
        return []
    images = data.train.read(torch.arange(min(FEW, len(data.train))))
    if bool((to_images(images) >= 0).all()):
        return []
    return [
        f"warning: {autoencoder.contract} makes no pixel below 0 (they are from {low:.2g} to {high:.2g}), and images "
        "are in [-1, 1]: is there a sigmoid or a relu at its end? End in tanh, or in nothing"
    ]
