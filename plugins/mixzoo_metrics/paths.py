"""Whether images change evenly along a straight path between two codes, without labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from mixzoo import AutoEncoder, Better, Dataset, FinishedRun, encode, eval_mode, rng_for
from mixzoo_metrics.novelty import check_can_mix
from mixzoo_metrics.source_mixes import Mixes, OtherMixer, check_finite, decoded, mixer_of, source_mixes

BATCH = 500  # images decoded at a time


@dataclass(frozen=True, kw_only=True)
class PathSmoothness:
    """How straight and even decoded paths are, and whether a decoded mix has the code that it was decoded from.

        x̂_n = g((1 - t_n) h + t_n h'),  t_n = (n - 1) / (N - 1);  the path's energy is (N - 1) Σ_n ‖x̂_{n+1} - x̂_n‖²

    `energy` is the energy of all paths over that of the straight paths in pixels between their ends, Σ ‖x̂_N - x̂_1‖²:
    1 if decoded paths are straight and even, as those of a linear decoder, and N - 1 if each jumps in one step.
    `length` is the same of lengths, Σ_n ‖x̂_{n+1} - x̂_n‖: 1 for straight paths, however uneven. A fade from one image to
    the other has 1 too, so read them along with a score of realism. Both are 1 if the ends of no path differ.

    `relaxation` compares with the best path in codes, not in pixels: the energy of straight paths between codes over
    their energy when the codes between the ends have been moved so as to make it least (a discrete geodesic of the
    decoder: Shao et al. 2018; Laine 2018). 1 if straight paths are the best ones, as far as the search tells (L-BFGS,
    which ends at a local minimum), or if a best path has no energy; more if the decoder bends them. It is left out if
    `relaxed=0` or `steps=2`.

    `mix_error` is the error of re-encoding mixes (AMR section 7.3), and `code_error` the same for codes of images:

        mix_error = mean ‖f(g(h_mix)) - h_mix‖² / mean ‖h - mean h‖²

    The codes h are those of the mixes' sources. 0 is consistent, and 1 is what the mean code in place of f(g(h)) gives.
    """

    better: ClassVar[Better] = "less"

    pairs: Annotated[int, Ge(1), "paths between test images, chosen by the run's seed"] = 200
    steps: Annotated[int, Ge(2), "N, images of a path with both ends"] = 16
    relaxed: Annotated[int, Ge(0), "paths of these to relax, the slow part; 0 for none"] = 20
    relax_steps: Annotated[int, Ge(1), "steps of L-BFGS, each of which may decode all these paths several times"] = 20
    mixes: Mixes = 1000
    mixer: OtherMixer = None

    def check_data(self, data: Dataset) -> None:
        """Raises DataError if there are no two test images to mix."""
        check_can_mix(data)

    def __call__(self, run: FinishedRun) -> Mapping[str, float]:
        self.check_data(run.data)
        with eval_mode(run.autoencoder):
            return self._paths(run) | self._errors(run)

    def _paths(self, run: FinishedRun) -> dict[str, float]:
        """`energy`, `length` and `relaxation`."""
        test = run.data.test
        first = torch.randint(len(test), (self.pairs,), generator=rng_for(run.seed, "path_smoothness/first"))
        ahead = torch.randint(1, len(test), (self.pairs,), generator=rng_for(run.seed, "path_smoothness/second"))
        ends = torch.stack([first, (first + ahead) % len(test)])  # two different images
        h = encode(run.autoencoder, test.images, run.device, ends.flatten()).unflatten(0, ends.shape)
        t = torch.linspace(0, 1, self.steps)
        paths = torch.lerp(h[0][:, None], h[1][:, None], t.reshape(1, -1, *[1] * (h.ndim - 2)))
        each = max(1, BATCH // self.steps)  # paths at a time
        moved = [path_lengths(images_of(run, codes)) for codes in paths.split(each)]
        steps, straight = torch.cat([m[0] for m in moved]), torch.cat([m[1] for m in moved])
        relaxes = self.relaxed > 0 and self.steps > 2
        relaxation = {"relaxation": self._relaxation(run, paths[: self.relaxed])} if relaxes else {}
        if not straight.any():
            return {"energy": 1.0, "length": 1.0} | relaxation
        energy = (self.steps - 1) * steps.square().sum() / straight.square().sum()
        return {"energy": energy.item(), "length": (steps.sum() / straight.sum()).item()} | relaxation

    def _relaxation(self, run: FinishedRun, paths: Float[Tensor, "paths steps *latent"]) -> float:
        """The energy of the paths over what is left of it when all their codes but the ends are free to move."""
        between = paths[:, 1:-1].to(run.device).clone().requires_grad_()
        ends = paths[:, :1].to(run.device), paths[:, -1:].to(run.device)
        search = torch.optim.LBFGS([between], max_iter=self.relax_steps, line_search_fn="strong_wolfe")

        def energy() -> Tensor:
            images = images_of(run, torch.cat([ends[0], between, ends[1]], 1))
            total = images.double().diff(dim=1).square().sum()
            between.grad = torch.zeros_like(between)
            if total.requires_grad:  # as it does not if a decoder rounds its codes
                total.backward(inputs=[between])
            return total

        with torch.enable_grad():  # of the codes alone: the network's weights get none
            straight = search.step(energy).item()
            relaxed = energy().item()
        return straight / relaxed if relaxed else 1.0

    def _errors(self, run: FinishedRun) -> dict[str, float]:
        mixer = mixer_of(run, self.mixer, "path_smoothness")
        mixes, codes, sources = [], [], []
        for batch in source_mixes(run, mixer, self.mixes):
            h = batch.h.flatten(0, 1)
            mixes.append(_squared(encoded(run.autoencoder, batch.x_mix), batch.h_mix))
            codes.append(_squared(encoded(run.autoencoder, decoded(run.autoencoder, h)), h))
            sources.append(h.flatten(1).double().cpu())
        every = torch.cat(sources)
        spread = (every - every.mean(0)).square().sum(1).mean().item()
        return {"mix_error": _relative(mixes, spread), "code_error": _relative(codes, spread)}


def images_of(
    run: FinishedRun, codes: Float[Tensor, "paths steps *latent"]
) -> Float[Tensor, "paths steps channels height width"]:
    """The decoded images of paths. Raises NonFiniteError if they are not finite."""
    images: Tensor = decoded(run.autoencoder, codes.flatten(0, 1).to(run.device))
    return images.reshape(*codes.shape[:2], *images.shape[1:])


def path_lengths(
    images: Float[Tensor, "paths steps channels height width"],
) -> tuple[Float[Tensor, "paths _"], Float[Tensor, " paths"]]:
    """‖x̂_{n+1} - x̂_n‖ and ‖x̂_N - x̂_1‖ of each path."""
    flat = images.double().flatten(2)
    return flat.diff(dim=1).norm(dim=2), (flat[:, -1] - flat[:, 0]).norm(dim=1)


def encoded(
    autoencoder: AutoEncoder, x: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch *latent"]:
    """f(x). Raises NonFiniteError if it is not finite."""
    return check_finite(autoencoder.encode(x), "the code of a decoded image")


def _squared(h: Float[Tensor, "batch *latent"], other: Float[Tensor, "batch *latent"]) -> Float[Tensor, " batch"]:
    """The squared distance of each code to the other."""
    return (h - other).flatten(1).double().square().sum(1).cpu()


def _relative(errors: list[Tensor], spread: float) -> float:
    """The mean error in units of the spread of codes; of codes that are all the same, 0 or 1 as there is any error."""
    error = torch.cat(errors).mean().item()
    return error / spread if spread else float(error > 0)
