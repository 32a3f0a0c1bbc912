"""Each player's gradient of its own terms, all taken at the same parameters.

If D gives one logit l for each image, and from that image alone, both players' losses reach D's layers through l: the
gradient at image i is dL/dl_i J_i with the same J_i = dl_i/d(image_i) for both. So one pass back through D serves both:
it carries D's own dL_D/dl, and what comes out at image i, times (dL_A/dl_i) / (dL_D/dl_i), is the auto-encoder's. If
terms read more than that (label logits, a reconstruction) there is no such factor: each player has a pass of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from mixzoo.core.objective import DiscriminatorOutput, Terms
from mixzoo.core.parts import Discriminator

Gradients = tuple[Tensor | None, ...]  # of each parameter of one player; None where no term depends on it


@dataclass(frozen=True)
class OneBackwardPass:
    """D's one pass over all its inputs, cut off from the graphs on both sides."""

    D: DiscriminatorOutput  # what the terms are a function of
    inputs: Float[Tensor, "shown *input"]  # as f and g made them, with their graph
    inputs_leaf: Float[Tensor, "shown *input"]  # the same, a leaf: what D was shown
    logits: Float[Tensor, " shown"]  # D's, of `inputs_leaf`, with D's graph
    logits_leaf: Float[Tensor, " shown"]  # the same, a leaf: what `D` holds


def discriminate(discriminator: Discriminator, inputs: Mapping[str, Tensor]) -> DiscriminatorOutput:
    """What D says of all the named inputs, from one pass over all of them as one batch."""
    scores = discriminator(torch.cat(list(inputs.values())))
    sizes = [len(one) for one in inputs.values()]
    parts = ({} if part is None else dict(zip(inputs, torch.split(part, sizes))) for part in scores)
    return DiscriminatorOutput(*parts)


def discriminate_once(discriminator: Discriminator, named: Mapping[str, Tensor]) -> OneBackwardPass:
    """The same, cut off from the graphs on both sides, for one pass back through D."""
    inputs = torch.cat(list(named.values()))
    inputs_leaf = inputs.detach().requires_grad_(inputs.requires_grad)
    logits = discriminator(inputs_leaf).logits
    logits_leaf = logits.detach().requires_grad_()
    sizes = [len(one) for one in named.values()]
    D = DiscriminatorOutput(dict(zip(named, torch.split(logits_leaf, sizes))))
    return OneBackwardPass(D, inputs, inputs_leaf, logits, logits_leaf)


def own_gradients(terms: dict[str, Terms], parameters: dict[str, list[Parameter]]) -> dict[str, Gradients]:
    """Each player's gradient by a pass of its own, for its own parameters alone: nothing needs to be detached."""
    return {
        name: torch.autograd.grad(total(terms[name]), parameters[name], retain_graph=True, allow_unused=True)
        for name in terms
    }


def shared_gradients(
    terms: dict[str, Terms], parameters: dict[str, list[Parameter]], one: OneBackwardPass
) -> dict[str, Gradients]:
    """The same gradients by one pass back through D.

    Where dL_D/dl is 0 or near it, as the hinge's is, `tiny` stands in for it on both sides of the factor: D's gradient
    is off by less than its rounding, the auto-encoder's not at all.
    """
    # dL/dl of each player at every logit, by a pass through its terms alone.
    of_D, of_A = (_of_logits(terms.get(player, {}), one.logits_leaf) for player in ("discriminator", "autoencoder"))
    tiny = torch.finfo(of_D.dtype).eps ** 2 / len(of_D)
    sent = torch.where(of_D.abs() < tiny, tiny, of_D) if one.inputs_leaf.requires_grad else of_D

    # One pass back through D, with dL_D/dl: D's gradient and what reaches its inputs. A penalty among D's terms does
    # not go by the logits, so it is asked for beside them.
    weights = parameters.get("discriminator", [])
    inputs = [one.inputs_leaf] if one.inputs_leaf.requires_grad else []
    own = _backward([*weights, *inputs], {one.logits: sent, **_unit(terms.get("discriminator", {}))})
    found: dict[str, Gradients] = {"discriminator": own[: len(weights)]} if weights else {}

    # What reached input i, times (dL_A/dl_i) / (dL_D/dl_i), is the auto-encoder's; it goes on through g and f.
    if "autoencoder" in terms:
        factor = (of_A / sent).reshape(-1, *[1] * (one.inputs_leaf.ndim - 1))
        through = {one.inputs: own[-1] * factor} if inputs and own[-1] is not None else {}
        found["autoencoder"] = _backward(parameters["autoencoder"], {**_unit(terms["autoencoder"]), **through})

    # The probe, and whoever else there is, has a pass of its own.
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


def _of_logits(terms: Terms, logits: Float[Tensor, " shown"]) -> Float[Tensor, " shown"]:
    """dL/dl of each logit; 0 if no term of the player depends on any."""
    (found,) = torch.autograd.grad(total(terms), logits, retain_graph=True, allow_unused=True) if terms else (None,)
    return torch.zeros_like(logits) if found is None else found
