"""One optimisation step: data -> encode -> mix -> decode -> discriminate -> losses -> step.

No reading back from the device, no logging, no checkpoint here: those are the loop's, a level up.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from mixzoo.draws import StepDraws, sent
from mixzoo.evaluation.probe import probe_loss
from mixzoo.protocols import AutoEncoder, Discriminator, Images, Judgement, Mixer, Objective, Terms
from mixzoo.resynthesis import resynthesise


@dataclass(frozen=True)
class Players:
    """All that a run trains, and what moves it."""

    autoencoder: AutoEncoder
    mixer: Mixer
    discriminator: Discriminator | None  # None where the objective needs none
    probe: nn.Linear | None  # None where labels tell nothing apart
    objective: Objective
    optimisers: dict[str, Optimizer]  # "autoencoder" (a learned mixer with it), "discriminator", "probe"
    label_width: int = 0  # numbers of a label as a vector


def train_step(
    players: Players,
    x: Float[Tensor, "batch channels height width"],
    labels: Int[Tensor, "batch *attributes"],
    draws: StepDraws,
    *,
    autoencoder_moves: bool = True,
) -> Terms:
    """One step of each player from the same parameters; the terms and D's mean scores come back for the log.

    Without `autoencoder_moves` it is a step of the discriminator (and the probe) alone: f and g keep no graph, and
    their terms are only for the log.
    """
    draws = sent(draws, x.device)
    with torch.set_grad_enabled(autoencoder_moves):
        r = resynthesise(
            x,
            autoencoder=players.autoencoder,
            mixer=players.mixer,
            partners=draws.partners,
            draw=draws.mix,
            needs=players.objective.needs,
            labels=labels,
            label_width=players.label_width,
            labelled=draws.labelled,
            second=draws.second,
            noise=draws.noise,
        )
    D = judge(players.discriminator, players.objective.judged(r))  # one forward of D for both players

    terms = {
        "autoencoder": players.objective.autoencoder_terms(r, D),
        "discriminator": players.objective.discriminator_terms(r, D) | penalty(players, x),
        "probe": {} if players.probe is None else {"loss": probe_loss(players.probe, r.h, labels)},
    }
    moving = [name for name in terms if terms[name] and (autoencoder_moves or name != "autoencoder")]
    descend(players.optimisers, {name: terms[name] for name in moving})

    report = {f"{player}/{name}": value for player, own in terms.items() for name, value in own.items()}
    report |= {f"D({name})": score.mean() for name, score in D.realness.items()}
    return {name: value.detach() for name, value in report.items()}


def penalty(players: Players, x: Float[Tensor, "batch channels height width"]) -> Terms:
    """The terms of D that need D itself; none for most objectives."""
    if not players.objective.needs.penalty:
        return {}
    terms: Terms = players.objective.discriminator_penalty(x, players.discriminator)  # type: ignore[attr-defined]
    return terms


def judge(discriminator: Discriminator | None, judged: Images) -> Judgement:
    """D's scores of everything judged, from one pass over all of it as one batch."""
    if discriminator is None or not judged:
        return Judgement({})
    sizes = [len(images) for images in judged.values()]
    scores = discriminator(torch.cat(list(judged.values())))
    parts = ({} if said is None else dict(zip(judged, torch.split(said, sizes))) for said in scores)
    return Judgement(*parts)


def descend(optimisers: dict[str, Optimizer], terms: dict[str, Terms]) -> None:
    """Each player's gradient of its own sum, for its own parameters alone, all at the same point; then all step.

    Gradients are asked for by parameter, so D gets none from the auto-encoder's terms and the reverse, and nothing is
    detached.
    """
    gradients = {name: gradient(terms[name], parameters_of(optimisers[name])) for name in terms}
    for name in terms:
        for parameter, grad in zip(parameters_of(optimisers[name]), gradients[name]):
            parameter.grad = grad
        optimisers[name].step()


def gradient(terms: Terms, parameters: list[Parameter]) -> tuple[Tensor | None, ...]:
    """The gradient of the sum of the terms; None for a parameter that no term depends on. The graph is kept."""
    total = torch.stack(list(terms.values())).sum()
    return torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)


def parameters_of(optimiser: Optimizer) -> list[Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def trainable(modules: Iterable[object]) -> list[Parameter]:
    """The parameters of those that are modules, for one optimiser."""
    found = [p for module in modules if isinstance(module, nn.Module) for p in module.parameters()]
    return [parameter for parameter in found if parameter.requires_grad]
