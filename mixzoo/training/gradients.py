"""Each player's gradient of its own terms, all taken at the same parameters.

Where D says one score l of each image, and of that image alone, both players' losses reach D's layers through l: the
gradient at image i is dL/dl_i J_i with the same J_i = dl_i/d(image_i) for both. So one pass back through D serves both:
it carries D's own dL_D/dl, and what comes out at image i, times (dL_A/dl_i) / (dL_D/dl_i), is the auto-encoder's. Where
D says more of an image (its label, the image redrawn) there is no such factor, and each player has a pass of its own.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from mixzoo.protocols import Discriminator, Images, Judgement, Terms

Gradients = tuple[Tensor | None, ...]  # of each parameter of one player; None where no term depends on it


@dataclass(frozen=True)
class Verdict:
    """D's one pass over all that is judged, as one batch."""

    D: Judgement  # what the terms are a function of
    images: Float[Tensor, "judged channels height width"]  # as f and g made them, with their graph
    seen: Float[Tensor, "judged channels height width"]  # the same, a leaf: what D was shown
    said: Float[Tensor, " judged"]  # D's scores of `seen`, with D's graph
    scores: Float[Tensor, " judged"]  # the same, a leaf: what D holds


def judge(discriminator: Discriminator | None, judged: Images) -> Judgement:
    """D's scores of everything judged, from one pass over all of it as one batch."""
    if discriminator is None or not judged:
        return Judgement({})
    scores = discriminator(torch.cat(list(judged.values())))
    sizes = [len(images) for images in judged.values()]
    parts = ({} if said is None else dict(zip(judged, torch.split(said, sizes))) for said in scores)
    return Judgement(*parts)


def judge_once(discriminator: Discriminator, judged: Images) -> Verdict:
    """The same, cut off from the graphs on both sides, for one pass back through D."""
    images = torch.cat(list(judged.values()))
    seen = images.detach().requires_grad_(images.requires_grad)
    said = discriminator(seen).realness
    scores = said.detach().requires_grad_()
    sizes = [len(part) for part in judged.values()]
    return Verdict(Judgement(dict(zip(judged, torch.split(scores, sizes)))), images, seen, said, scores)


def own_gradients(terms: dict[str, Terms], parameters: dict[str, list[Parameter]]) -> dict[str, Gradients]:
    """Each player's gradient by a pass of its own, for its own parameters alone: nothing needs to be detached."""
    return {
        name: torch.autograd.grad(total(terms[name]), parameters[name], retain_graph=True, allow_unused=True)
        for name in terms
    }


def shared_gradients(
    terms: dict[str, Terms], parameters: dict[str, list[Parameter]], verdict: Verdict
) -> dict[str, Gradients]:
    """The same gradients by one pass back through D.

    Where dL_D/dl is 0 or near it, as the hinge's is, `tiny` stands in for it on both sides of the factor: D's gradient
    is off by less than its rounding, the auto-encoder's not at all.
    """
    of_D, of_A = (_of_scores(terms.get(player, {}), verdict.scores) for player in ("discriminator", "autoencoder"))
    tiny = torch.finfo(of_D.dtype).eps ** 2 / len(of_D)
    sent = torch.where(of_D.abs() < tiny, tiny, of_D) if verdict.seen.requires_grad else of_D
    weights = parameters.get("discriminator", [])
    images = [verdict.seen] if verdict.seen.requires_grad else []
    # D's terms beside the scores: a penalty goes through D by itself
    own = _backward([*weights, *images], {verdict.said: sent, **_unit(terms.get("discriminator", {}))})
    found: dict[str, Gradients] = {"discriminator": own[: len(weights)]} if weights else {}
    if "autoencoder" in terms:
        factor = (of_A / sent).reshape(-1, *[1] * (verdict.seen.ndim - 1))
        through = {verdict.images: own[-1] * factor} if images and own[-1] is not None else {}
        found["autoencoder"] = _backward(parameters["autoencoder"], {**_unit(terms["autoencoder"]), **through})
    return found | own_gradients({name: terms[name] for name in terms if name not in found}, parameters)


def _unit(terms: Terms) -> dict[Tensor, Tensor]:
    """The sum of the terms, whose gradient is asked for as it is; nothing where there are none."""
    loss = total(terms) if terms else None
    return {} if loss is None else {loss: torch.ones_like(loss)}


def _backward(parameters: list[Parameter] | list[Tensor], outputs: dict[Tensor, Tensor]) -> Gradients:
    """The gradient of Σ ⟨output, its weight⟩ for each parameter; None for one that no output depends on."""
    found: Gradients = torch.autograd.grad([*outputs], parameters, [*outputs.values()], allow_unused=True)
    return found


def total(terms: Terms) -> Float[Tensor, ""]:
    return torch.stack(list(terms.values())).sum()


def _of_scores(terms: Terms, scores: Float[Tensor, " judged"]) -> Float[Tensor, " judged"]:
    """dL/dl of each score; 0 where no term of the player has any."""
    (found,) = torch.autograd.grad(total(terms), scores, retain_graph=True, allow_unused=True) if terms else (None,)
    return torch.zeros_like(scores) if found is None else found
