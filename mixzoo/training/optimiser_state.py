"""Adam's moments of a player, to and from a checkpoint, and their checks."""

import re
from collections.abc import Mapping

from torch import Tensor
from torch.optim import Optimizer

from mixzoo.core.errors import CheckpointError, printable
from mixzoo.training.step import laid_out_as, parameters_of

FIELDS = ("step", "exp_avg", "exp_avg_sq")  # of each parameter that has had a gradient
_KEY = re.compile(r"(0|[1-9][0-9]{0,8})\.([a-z_]+)")


def moments_of(optimiser: Optimizer) -> dict[str, Tensor]:
    """Every tensor of the optimiser's state, by "<index of the parameter>.<field>"."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{key}": value for i, fields in state.items() for key, value in fields.items()}


def non_finite_moment(optimiser: Optimizer, names: Mapping[int, str]) -> str:
    """The first moment with a NaN or an infinity, such as "exp_avg of g.bias", or ''; `names` is by id(parameter)."""
    for parameter in parameters_of(optimiser):
        for field, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
                return f"{field} of {names.get(id(parameter), 'a parameter')}"
    return ""


def check_moments(moments: Mapping[str, Tensor], optimiser: Optimizer, step: int, where: str) -> None:
    """Raises CheckpointError, with the first few problems, if the moments do not fit the optimiser's parameters.

    `step` is the run's: no parameter can have had more updates. `where` begins the message.
    """
    parameters, present = parameters_of(optimiser), set[int]()
    problems = []
    for key, value in moments.items():
        matched = _KEY.fullmatch(key)
        if not matched or matched[2] not in FIELDS or int(matched[1]) >= len(parameters):
            problems.append(f"{printable(key)[:80]} is not a moment of a parameter")
            continue
        index, field = int(matched[1]), matched[2]
        present.add(index)

        # A checkpoint may come from somebody else, and Adam would turn any of these into wrong weights silently.
        parameter = parameters[index]
        expected = ((), "torch.float32") if field == "step" else (tuple(parameter.shape), str(parameter.dtype))
        if (tuple(value.shape), str(value.dtype)) != expected:
            problems.append(f"{key} is {value.dtype} {list(value.shape)}, not {expected[1]} {list(expected[0])}")
        elif not value.isfinite().all():
            problems.append(f"{key} contains NaN or infinity")
        elif field == "step" and not (1 <= value.item() <= step and value.item() == int(value.item())):
            problems.append(f"{key} is {value.item():g}, expected a whole number from 1 to {step}")
        elif field == "exp_avg_sq" and (value < 0).any():
            problems.append(f"{key} contains a number below 0, but is a mean of squares")

    # A parameter without a gradient has no moments, so only a part of its fields, or no moments at all, is an error.
    problems += [
        f"{i}.{field} is missing" for i in sorted(present) for field in FIELDS if f"{i}.{field}" not in moments
    ]
    if step and parameters and not present:
        problems.append("it has no moments")
    if problems:
        raise CheckpointError(f"{where}: does not fit this network: {'; '.join(problems[:5])}")


def load_moments(moments: Mapping[str, Tensor], optimiser: Optimizer) -> None:
    """Load moments that `check_moments` has accepted. The optimiser keeps its learning rates."""
    state: dict[int, dict[str, Tensor]] = {}
    parameters = parameters_of(optimiser)
    for key, value in moments.items():
        index, _, field = key.partition(".")
        parameter = parameters[int(index)]
        state.setdefault(int(index), {})[field] = value if value.ndim == 0 else laid_out_as(parameter, value)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
