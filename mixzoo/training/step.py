"""One optimisation step: data -> encode -> mix -> decode -> discriminate -> losses -> step.

No reading back from the device, no logging, no checkpoint here: those are the loop's, a level up.
"""

from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from mixzoo.draws import StepDraws, sent
from mixzoo.evaluation.probe import probe_loss
from mixzoo.protocols import AutoEncoder, Discriminator, Mixer, Needs, Objective, Terms
from mixzoo.resynthesis import resynthesise
from mixzoo.training.distributed import ALONE, World
from mixzoo.training.gradients import judge, judge_once, own_gradients, shared_gradients


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
    world: World = ALONE  # the processes that share each batch
    penalised: Discriminator | None = None  # what a penalty of D goes through twice, where that is not `discriminator`


def train_step(
    players: Players,
    x: Float[Tensor, "batch channels height width"],
    labels: Int[Tensor, "batch *attributes"],
    draws: StepDraws,
    *,
    autoencoder_moves: bool = True,
    trace: dict[str, Tensor] | None = None,
) -> Terms:
    """One step of each player from the same parameters; the terms and D's mean scores come back for the log.

    Without `autoencoder_moves` it is a step of the discriminator (and the probe) alone: f and g keep no graph, and
    their terms are only for the log. Where several processes share the batch, x and labels are this one's part, the
    draws are the whole batch's, and every process steps on the mean of their gradients. `trace` is filled with what
    lies between inputs and terms, by name.
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
            batch=players.world,
        )
    if trace is not None:
        trace |= tensors_within("", r)
    judged, discriminator = players.objective.judged(r), players.discriminator
    once = judged and discriminator is not None and one_score(players.objective.needs)
    verdict = judge_once(discriminator, judged) if once else None  # type: ignore[arg-type]
    D = judge(discriminator, judged) if verdict is None else verdict.D

    terms = {
        "autoencoder": players.objective.autoencoder_terms(r, D),
        "discriminator": players.objective.discriminator_terms(r, D) | penalty(players, x),
        "probe": {} if players.probe is None else {"loss": probe_loss(players.probe, r.h, labels)},
    }
    moving = {name: terms[name] for name in players.optimisers if terms[name]}  # a frozen player has no optimiser
    if not autoencoder_moves:
        moving.pop("autoencoder", None)
    parameters = {name: parameters_of(players.optimisers[name]) for name in moving}
    found = own_gradients(moving, parameters) if verdict is None else shared_gradients(moving, parameters, verdict)
    for name, own in found.items():
        gradients = players.world.mean_gradients(own)
        for parameter, gradient in zip(parameters[name], gradients):
            parameter.grad = None if gradient is None else laid_out_as(parameter, gradient)
        players.optimisers[name].step()

    report = {f"{player}/{name}": value for player, own in terms.items() for name, value in own.items()}
    report |= {f"D({name})": score.mean() for name, score in D.realness.items()}
    return {name: value.detach() for name, value in report.items()}


def tensors_within(name: str, part: object) -> dict[str, Tensor]:
    """Every tensor of a forward pass, by where it is in it: 'h', 'mixed.share', 'said.y', ..."""
    if isinstance(part, Tensor):
        return {name.lstrip("."): part.detach()}
    inside: dict[str, object] = {}
    if is_dataclass(part):
        inside = vars(part)
    elif isinstance(part, tuple):
        inside = part._asdict() if hasattr(part, "_asdict") else {str(i): one for i, one in enumerate(part)}
    return {
        key: tensor
        for field, one in inside.items()
        for key, tensor in tensors_within(f"{name}.{field.lstrip('_')}", one).items()
    }


def one_score(needs: Needs) -> bool:
    """Whether both players' terms are functions of one score an image, so that one pass back through D serves both."""
    return not (needs.attributes or needs.redrawn)


def penalty(players: Players, x: Float[Tensor, "batch channels height width"]) -> Terms:
    """The terms of D that need D itself; none for most objectives."""
    if not players.objective.needs.penalty:
        return {}
    D = players.discriminator if players.penalised is None else players.penalised
    terms: Terms = players.objective.discriminator_penalty(x, D)  # type: ignore[attr-defined]
    return terms


def laid_out_as(parameter: Parameter, tensor: Tensor) -> Tensor:
    """The tensor in the memory layout of the parameter: a fused optimiser walks through both without a look at it."""
    if tensor.stride() == parameter.stride():
        return tensor
    return torch.empty_like(parameter, requires_grad=False).copy_(tensor)


def parameters_of(optimiser: Optimizer) -> list[Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def trainable(modules: Iterable[object]) -> list[Parameter]:
    """The parameters of those that are modules, for one optimiser."""
    found = [p for module in modules if isinstance(module, nn.Module) for p in module.parameters()]
    return [parameter for parameter in found if parameter.requires_grad]
