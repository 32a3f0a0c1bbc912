"""One optimisation step: data -> encode -> mix -> decode -> discriminate -> losses -> step.

Nothing here reads from the device, logs or saves: those belong to the loop, a level up.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from mixzoo.core.objective import Terms
from mixzoo.core.random import StepDraws
from mixzoo.evaluation.probe import probe_loss
from mixzoo.training.batch import StepBatch
from mixzoo.training.gradients import Gradients, own_gradients, shared_gradients
from mixzoo.training.players import Players


def train_step(
    players: Players,
    x: Float[Tensor, "batch channels height width"],
    labels: Int[Tensor, "batch *attributes"],
    draws: StepDraws,
    *,
    update_autoencoder: bool = True,
    trace: dict[str, Tensor] | None = None,
) -> Terms:
    """Update every player from the same parameters; returns the terms and D's mean logits for the log.

    Without `update_autoencoder` only the discriminator (and the probe) is updated: f and g build no graph, and their
    terms are only logged. If several processes share the batch, x and labels are this process's shard, the draws are
    the whole batch's, and every process steps on the mean gradient. `trace` is filled with the intermediate tensors,
    by name.
    """
    batch = StepBatch(players, x, labels, draws, update_autoencoder, trace=trace)
    losses = players.objective.losses(batch)

    # The probe learns on the code as it is; no gradient of its loss reaches f.
    code = batch.code if losses.code is None else losses.code
    probe = {} if players.probe is None or code is None else {"loss": probe_loss(players.probe, code, labels)}
    terms = {"autoencoder": losses.autoencoder, "discriminator": losses.discriminator, "probe": probe}
    moving = {name: terms[name] for name in players.optimisers if terms[name]}  # a frozen player has no optimiser
    if not update_autoencoder:
        moving.pop("autoencoder", None)
    parameters = {name: parameters_of(players.optimisers[name]) for name in moving}

    # Each player descends on its own terms only; one backward pass through D serves both where that is exact.
    passes = batch.passes
    found = shared_gradients(moving, parameters, passes[0]) if passes else own_gradients(moving, parameters)
    report = {f"{player}/{name}": value for player, own in terms.items() for name, value in own.items()}
    report |= {f"D({name})": score.mean() for name, score in batch.logits.items()}
    report = {name: value.detach() for name, value in report.items()}
    if players.distributed.world_size > 1:
        found = with_common_nan(report, found)
    for name, own in found.items():
        for parameter, gradient in zip(parameters[name], players.distributed.mean_gradients(own)):
            parameter.grad = None if gradient is None else laid_out_as(parameter, gradient)

    # No optimiser moves on a number that is not finite. On a GPU nothing is read from the device here: the optimisers
    # ask it themselves, and the loop decides when to wait for it.
    seen = players.finite.look(report, parameters)
    if players.clip_grad:
        for name, norm in seen.norms().items():
            clip(parameters[name], norm, players.clip_grad)
    if players.finite.may_move([players.optimisers[name] for name in found]):
        for name in found:
            players.optimisers[name].step()
    return report


def clip(parameters: Sequence[Parameter], norm: Float[Tensor, ""], at_most: float) -> None:
    """Scale a player's gradient g of that norm to g min(1, at_most / (‖g‖ + 1e-6)), as torch's clip_grad_norm_ does."""
    having = [parameter for parameter in parameters if parameter.grad is not None]
    if having:
        factor = torch.clamp(at_most / (norm + 1e-6), max=1.0)
        # Not in place: one tensor may be the gradient of two weights.
        gradients = [parameter.grad for parameter in having]
        for parameter, scaled in zip(having, torch._foreach_mul(gradients, factor)):  # type: ignore[arg-type]
            parameter.grad = scaled


def with_common_nan(report: Terms, found: dict[str, Gradients]) -> dict[str, Gradients]:
    """The gradients, with a NaN in one of them if a number of the report is not finite on this process.

    Their mean over the processes then has it, and all of them stop at the same step.
    """
    finite = torch.stack(list(report.values())).isfinite().all()
    for name, own in found.items():
        having = [i for i, gradient in enumerate(own) if gradient is not None]
        if having:
            least = min(having, key=lambda i: own[i].numel())  # type: ignore[union-attr]  # the cheapest
            marked = torch.where(finite, own[least], torch.nan)  # type: ignore[arg-type]
            return found | {name: (*own[:least], marked, *own[least + 1 :])}
    return found


def laid_out_as(parameter: Parameter, tensor: Tensor) -> Tensor:
    """The tensor in the memory layout of the parameter: a fused optimiser does not compare strides."""
    if tensor.stride() == parameter.stride():
        return tensor
    return torch.empty_like(parameter, requires_grad=False).copy_(tensor)


def parameters_of(optimiser: Optimizer) -> list[Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def trainable(modules: Iterable[object]) -> list[Parameter]:
    """The parameters that require a gradient, of those that are modules."""
    found = [p for module in modules if isinstance(module, nn.Module) for p in module.parameters()]
    return [parameter for parameter in found if parameter.requires_grad]
