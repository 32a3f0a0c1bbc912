"""The batch that an objective gets at a training step: calls of the run's networks, and the draws of the step."""

from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mixzoo.core.labels import label_vectors, mixed_labels, mixer_labels
from mixzoo.core.mixing import gather_sources
from mixzoo.core.objective import Batch, DiscriminatorOutput, LabelTargets, MixedCodes
from mixzoo.core.parts import AutoEncoder, Discriminator, HasPosterior, Mixed, Mixer
from mixzoo.core.random import StepDraws
from mixzoo.training.gradients import OneBackwardPass, discriminate, discriminate_once
from mixzoo.training.players import Players


class StepBatch(Batch):
    """A `mixzoo.Batch` that calls the networks of a run.

    In a run on several processes, x and labels are this process's shard of the batch ("own" in annotations), but draws
    are those of the whole batch: codes of all processes are mixed, and each process decodes its shard of the mixes.
    Without `update_autoencoder`, f, g and the mixer run without a graph. Intermediate tensors (codes, mixes, images)
    are put into `trace` by name, if it is given.
    """

    def __init__(
        self,
        players: Players,
        x: Float[Tensor, "own channels height width"],
        labels: Int[Tensor, "own *attributes"],
        draws: StepDraws,
        update_autoencoder: bool = True,
        trace: dict[str, Tensor] | None = None,
    ) -> None:
        self.players, self.draws, self.update_autoencoder = players, draws, update_autoencoder
        self._x, self._labels, self._trace = x, labels, trace
        self.code: Tensor | None = None  # the first code of the step, which the probe is trained on
        self.passes: list[OneBackwardPass] = []  # D's pass, if one backward pass gives both players' gradients
        self.logits: dict[str, Tensor] = {}  # of every input of D, for the log

    @property
    def x(self) -> Float[Tensor, "own channels height width"]:
        return self._x

    @property
    def labels(self) -> Int[Tensor, "own *attributes"]:
        return self._labels

    @property
    def autoencoder(self) -> AutoEncoder:
        return self.players.autoencoder

    @property
    def discriminator(self) -> Discriminator:
        uncompiled = self.players.uncompiled_discriminator
        discriminator = self.players.discriminator if uncompiled is None else uncompiled
        assert discriminator is not None  # the stand-in batch has recorded that the objective uses it
        return discriminator

    @property
    def y(self) -> Float[Tensor, "own label"]:
        return label_vectors(self.labels[None], self.players.num_labels)[0] * self.labelled[:, None]

    @property
    def labelled(self) -> Bool[Tensor, " own"]:
        if self.draws.labelled is None:
            return torch.ones(len(self.labels), dtype=torch.bool, device=self.labels.device)
        return self.players.distributed.shard(self.draws.labelled)

    def encode(self, x: Float[Tensor, "some channels height width"]) -> Float[Tensor, "some *latent"]:
        with torch.set_grad_enabled(self.update_autoencoder):
            h = self.players.autoencoder.encode(x)
        self.code = h if self.code is None else self.code
        self._trace_tensor("encode", h)
        return h

    def posterior(self, x: Float[Tensor, "some channels height width"]) -> tuple[Tensor, Tensor]:
        with torch.set_grad_enabled(self.update_autoencoder):
            autoencoder = self.players.autoencoder
            assert isinstance(autoencoder, HasPosterior)  # otherwise the build has raised ConfigError
            mean, log_variance = autoencoder.posterior(x)
        self.code = mean if self.code is None else self.code
        self._trace_tensor("mean", mean)
        self._trace_tensor("log_variance", log_variance)
        return mean, log_variance

    def decode(self, *h: Float[Tensor, "some *latent"]) -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(self.update_autoencoder):
            images = self.players.autoencoder.decode(torch.cat(h) if len(h) > 1 else h[0])
            parts: tuple[Tensor, ...] = images.split([len(one) for one in h])
        for part in parts:
            self._trace_tensor("decode", part)
        return parts

    def mix(self, h: Float[Tensor, "own *latent"], mixer: Mixer | None = None, name: str = "") -> MixedCodes:
        distributed, mixer = self.players.distributed, self.players.mixer if mixer is None else mixer
        partners, draw = self.draws.mix(name)
        with torch.set_grad_enabled(self.update_autoencoder):
            # Partners may be on other processes; all_gather is differentiable, so their codes get gradients too.
            codes = distributed.all_gather(h)
            labels = mixer_labels(self._all_labels, self.draws.labelled, self.players.num_labels)
            mixed = mixer(gather_sources(codes, partners), draw, gather_sources(labels, partners))
            own = Mixed(distributed.shard(mixed.h), distributed.shard(mixed.share, 1))
        self._trace_tensor("mix.h", own.h)
        self._trace_tensor("mix.share", own.share)
        return MixedCodes(own.h, own.share, lambda: self._label_targets(mixed, partners))

    @cached_property
    def _all_labels(self) -> Int[Tensor, "batch *attributes"]:
        """The labels of the whole batch, from all processes."""
        return self.players.distributed.all_gather(self.labels)

    def _label_targets(self, mixed: Mixed, partners: Int[Tensor, "others batch"]) -> LabelTargets:
        """ỹ_mix of this process's mixes, and which of the mixes have only labelled sources."""
        labels, known = self._all_labels, self.draws.labelled
        known = torch.ones(len(labels), dtype=torch.bool, device=labels.device) if known is None else known
        y = label_vectors(labels[None], self.players.num_labels)[0] * known[:, None]
        y_mix, labelled = mixed_labels(mixed, gather_sources(y, partners)), gather_sources(known, partners).all(0)
        targets = LabelTargets(self.players.distributed.shard(y_mix), self.players.distributed.shard(labelled))
        self._trace_tensor("mix.y", targets.y)
        return targets

    def discriminate(self, **inputs: Shaped[Tensor, "some *input"]) -> DiscriminatorOutput:
        assert self.players.discriminator is not None
        if self.players.requirements.one_backward_pass:
            self.passes.append(discriminate_once(self.players.discriminator, inputs))
            output = self.passes[-1].D
        else:
            output = discriminate(self.players.discriminator, inputs)
        self.logits |= output.logits
        return output

    def noise(self, name: str, like: Tensor) -> Tensor:
        return self._drawn(name)

    def uniform(self, name: str, like: Tensor) -> Tensor:
        return self._drawn(name)

    def keep(self, name: str, p: float, like: Tensor) -> Tensor:
        return self._drawn(name)

    def _drawn(self, name: str) -> Tensor:
        own: Tensor = self.players.distributed.shard(self.draws.named[f"noise/{name}"])
        return own

    def _trace_tensor(self, name: str, tensor: Tensor) -> None:
        """Put the detached tensor into the trace, as "name", "name 2", ... in order of calls."""
        if self._trace is None:
            return
        number = sum(key.split(" ")[0] == name for key in self._trace)
        self._trace[f"{name} {number + 1}" if number else name] = tensor.detach()
