"""Adam's moments of a player: named for a checkpoint, compared with the parameters that they are of, loaded."""

import re
from collections.abc import Mapping

from torch import Tensor
from torch.optim import Optimizer

from mixzoo.core.errors import CheckpointError, printable
from mixzoo.training.step import laid_out_as, parameters_of

FIELDS = ("step", "exp_avg", "exp_avg_sq")  # of a parameter that has had a gradient
_KEY = re.compile(r"(0|[1-9][0-9]{0,8})\.([a-z_]+)")


def moments_of(optimiser: Optimizer) -> dict[str, Tensor]:
    """Every tensor of the optimiser's state, as "<index of the parameter>.<field>"."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{key}": value for i, own in state.items() for key, value in own.items()}


def non_finite_moment(optimiser: Optimizer, names: Mapping[int, str]) -> str:
    """The first moment with a NaN or an infinity, by its parameter's name (id(parameter) -> name), or ''."""
    for parameter in parameters_of(optimiser):
        for field, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
                return f"{field} of {names.get(id(parameter), 'a parameter')}"
    return ""


def check_moments(found: Mapping[str, Tensor], optimiser: Optimizer, step: int, where: str) -> None:
    """Raises CheckpointError, naming the first few, if saved moments are not those of the optimiser's parameters.

    `step` is that of the run, of which no parameter can have had more.
    """
    parameters, present = parameters_of(optimiser), set[int]()
    problems = []
    for key, value in found.items():
        matched = _KEY.fullmatch(key)
        if not matched or matched[2] not in FIELDS or int(matched[1]) >= len(parameters):
            problems.append(f"{printable(key)[:80]} is no moment of a parameter")
            continue
        parameter = parameters[int(matched[1])]
        present.add(int(matched[1]))
        wanted = ((), "torch.float32") if matched[2] == "step" else (tuple(parameter.shape), str(parameter.dtype))
        if (tuple(value.shape), str(value.dtype)) != wanted:
            problems.append(f"{key} is {value.dtype} {list(value.shape)}, not {wanted[1]} {list(wanted[0])}")
        elif not value.isfinite().all():
            problems.append(f"{key} holds NaN or infinity")
        elif matched[2] == "step" and not (1 <= value.item() <= step and value.item() == int(value.item())):
            problems.append(f"{key} is {value.item():g}, expected a whole number from 1 to {step}")
        elif matched[2] == "exp_avg_sq" and (value < 0).any():
            problems.append(f"{key} holds a number below 0, and it is a mean of squares")
    problems += [f"{i}.{f} is missing" for i in sorted(present) for f in FIELDS if f"{i}.{f}" not in found]
    if step and parameters and not present:
        problems.append("it holds no moments")
    if problems:
        raise CheckpointError(f"{where}: does not fit this network: {'; '.join(problems[:5])}")


def load_moments(found: Mapping[str, Tensor], optimiser: Optimizer) -> None:
    """Put moments that were checked into the optimiser; its rates stay as they are."""
    moments: dict[int, dict[str, Tensor]] = {}
    parameters = parameters_of(optimiser)
    for key, value in found.items():
        index, _, field = key.partition(".")
        parameter = parameters[int(index)]
        moments.setdefault(int(index), {})[field] = value if value.ndim == 0 else laid_out_as(parameter, value)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
