"""Records a network as a `Program`, through torch.export, so that it may be written in any way.

Each operator becomes one step. What depends on weights alone, such as spectral norm, is computed here. An operator that
no step stands for raises `UnknownLayer`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from math import prod
from operator import getitem
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, fx, nn

from mixzoo.core.errors import excerpt, one_line, printable
from mixzoo.runs.report.program import Program, Step, Weights

# Operators whose result has the numbers of their input, in the same order.
SAME = {"view", "reshape", "_unsafe_view", "flatten", "unflatten", "clone", "contiguous", "detach", "alias", "squeeze",
        "unsqueeze", "dropout", "feature_dropout", "_to_copy", "to", "lift_fresh_copy"}  # fmt: skip
SPLITS = ("aten.split.", "aten.chunk.", "aten.split_with_sizes.")
POINTWISE = ("relu", "leaky_relu", "tanh", "sigmoid", "silu", "elu", "softplus", "hardtanh", "relu6", "clamp")
LOWEST = -3.4e38  # less than any number of a network
ARITHMETIC = ("add", "sub", "rsub", "mul", "div")


class UnknownLayer(Exception):
    """The network has a layer that no step stands for; the message names it."""


class _Method(nn.Module):
    """One method of a network as a module."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network, self.method = network, method

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = getattr(self.network, self.method)(x)
        return result


def program_of(network: nn.Module, method: str, shape: tuple[int, ...], weights: Weights) -> Program:
    """The program of network.method, for inputs [1, *shape] on the CPU; its weights are added to `weights`.

    The network must be in evaluation mode. Raises UnknownLayer.
    """
    try:
        with _quiet():
            exported = torch.export.export(_Method(network, method), (torch.zeros(1, *shape),)).run_decompositions({})
    except Exception as err:  # whatever a stranger's network does while it is recorded
        reason = excerpt((one_line(err) or type(err).__name__).split(". ")[0])
        raise UnknownLayer(f"torch.export cannot record the network's {method} ({reason})") from err
    tensors: dict[str, Any] = {**exported.state_dict, **exported.constants}
    signature = exported.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    held |= signature.inputs_to_lifted_tensor_constants
    recording = _Recording(weights, shape)
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            recording.known[node] = tensors[held[node.name]].detach() if node.name in held else 0
        elif node.op == "call_function":
            recording.record(node)
    (output,) = next(node for node in exported.graph.nodes if node.op == "output").args[0]
    result = recording.known[output]
    if not isinstance(result, int):
        raise UnknownLayer(f"the network's {method} does not depend on its input")
    return Program(shape, recording.steps, result, tuple(output.meta["val"].shape[1:]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch.export prints and logs of a network that it cannot record."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), catch_warnings():
            simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _Recording:
    """The steps so far. `known` has the value of each node: a constant (Tensor or tuple), or the number of a value."""

    def __init__(self, weights: Weights, shape: tuple[int, ...]) -> None:
        self.weights, self.steps = weights, list[Step]()
        self.known: dict[Any, Any] = {}

    def record(self, node: Any) -> None:
        name = "getitem" if node.target is getitem else str(node.target).removeprefix("aten.").split(".")[0].rstrip("_")
        if name.startswith(("_assert", "sym_")):
            return
        if self._folds(node):
            args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda inner: self.known[inner])
            with torch.no_grad():
                self.known[node] = node.target(*args, **kwargs)
            return
        source = node.args[0]
        if str(node.target).startswith(SPLITS):
            self.known[node] = self.known[source]  # `_part` makes the parts
            return
        if name in ("getitem", "slice"):
            self._part(node, name)
            return
        if name in SAME and not (name in ("dropout", "feature_dropout") and node.args[2]):
            self.known[node] = self.known[source]
            return
        maker = STEPS.get(name)
        made = maker(self, node, name) if maker else None
        if made is None:
            raise UnknownLayer(_unknown(node, name))
        self._append(node, made)

    def _append(self, node: Any, made: Step) -> None:
        value = node.meta["val"]
        value = value[0] if isinstance(value, tuple | list) else value
        if value.ndim == 0 or value.shape[0] != 1:
            raise UnknownLayer(_unknown(node, made["op"]))
        read = made.pop("from", [node.args[0]])
        numbers = [inner if isinstance(inner, int) else self.known[inner] for inner in read]
        shape = made.get("input") or list(read[0].meta["val"].shape[1:])
        self.steps.append(made | {"from": numbers, "input": shape, "shape": list(value.shape[1:])})
        self.known[node] = len(self.steps)

    def before(self, node: Any, shape: list[int], made: Step) -> int:
        """A step that prepares this value for the next one; the number of its result."""
        was = list(node.meta["val"].shape[1:])
        self.steps.append(made | {"input": was, "shape": shape, "from": made.get("from", [self.known[node]])})
        return len(self.steps)

    def _folds(self, node: Any) -> bool:
        """Whether the node depends on weights alone, and is the same each time."""
        random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        return not random and not any(isinstance(self.known[inner], int) for inner in node.all_input_nodes)

    def _part(self, node: Any, name: str) -> None:
        """One part of a value that was split, or a slice of it: numbers that follow one another."""
        source = node.args[0]
        value, start = source.meta["val"], _argument(node, 2, 0)
        if name == "getitem" and not str(source.target).startswith(SPLITS):  # an operator with several results
            self.known[node] = self.known[source] if node.args[1] == 0 else None
            return
        if name == "getitem":
            parts, source = value, source.args[0]
            start, dim = sum(part.shape[1] for part in parts[: node.args[1]]), 1
            contiguous = all(part.shape[0] == 1 and part.shape[2:] == parts[0].shape[2:] for part in parts)
        else:
            dim, contiguous = int(_argument(node, 1, 0)), _argument(node, 4, 1) == 1 and isinstance(start, int)
        whole = source.meta["val"]
        if node.meta["val"].shape == whole.shape:
            self.known[node] = self.known[source]
        elif contiguous and dim % whole.ndim == 1 and start >= 0:
            self._append(node, {"op": "slice", "from": [source], "start": start * prod(whole.shape[2:])})
        else:
            raise UnknownLayer(_unknown(node, name))


def _unknown(node: Any, name: str) -> str:
    """The layer in words: where it is, its class, and the operation."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    path = str(path).removeprefix("network.").removeprefix("L__self___network.")
    kind = kind if isinstance(kind, str) else kind.__name__
    where = f"the network's layer {path} ({kind.rsplit('.', 1)[-1]})" if path not in ("", "network") else "the network"
    return printable(f"{where} computes {name}, which a page cannot")


def _argument(node: Any, place: int, default: Any) -> Any:
    """An argument that may be left out, by its place or by its name."""
    if len(node.args) > place:
        return node.args[place]
    schema = getattr(node.target, "_schema", None)
    name = schema.arguments[place].name if schema else ""
    return node.kwargs.get(name, default)


def _two(value: Any) -> list[int]:
    values = [int(one) for one in (value if isinstance(value, list | tuple) else [value])]
    return values * 2 if len(values) == 1 else values


def _constant(recording: _Recording, node: Any) -> Tensor | None:
    found = recording.known.get(node) if isinstance(node, fx.Node) else None
    return found if isinstance(found, Tensor) else None


def _weighted(recording: _Recording, made: Step, weight: Any, bias: Any) -> Step | None:
    """The step with its weights, which must be constants; a missing bias is left out."""
    for key, given in (("weight", weight), ("bias", bias)):
        tensor = _constant(recording, given)
        if tensor is not None:
            made[key] = recording.weights.add(tensor)
        elif given is not None:
            return None
    return made


def _conv(recording: _Recording, node: Any, name: str) -> Step | None:
    turned = name == "conv_transpose2d"
    weight = _constant(recording, node.args[1])
    if weight is None or isinstance(_argument(node, 4, 0), str):
        return None
    made = {
        "op": name,
        "kernel": list(weight.shape[2:]),
        "stride": _two(_argument(node, 3, 1)),
        "padding": _two(_argument(node, 4, 0)),
        "dilation": _two(_argument(node, 7 if turned else 5, 1)),
        "groups": _argument(node, 6, 1),
    }
    if turned:
        made["extra"] = _two(_argument(node, 5, 0))
    return _weighted(recording, made, node.args[1], _argument(node, 2, None))


def _linear(recording: _Recording, node: Any, name: str) -> Step | None:
    return _weighted(recording, {"op": "linear"}, node.args[1], _argument(node, 2, None))


def _group_norm(recording: _Recording, node: Any, name: str) -> Step | None:
    made = {"op": "norm", "groups": node.args[1], "eps": _argument(node, 4, 1e-5)}
    return _weighted(recording, made, _argument(node, 2, None), _argument(node, 3, None))


def _instance_norm(recording: _Recording, node: Any, name: str) -> Step | None:
    if not _argument(node, 5, True):
        return _scaled(recording, node.args[1:5], _argument(node, 7, 1e-5))
    made = {"op": "norm", "groups": node.args[0].meta["val"].shape[1], "eps": _argument(node, 7, 1e-5)}
    return _weighted(recording, made, node.args[1], node.args[2])


def _batch_norm(recording: _Recording, node: Any, name: str) -> Step | None:
    plain = name == "batch_norm"
    trains = plain and _argument(node, 5, False)
    return None if trains else _scaled(recording, node.args[1:5], _argument(node, 7 if plain else 6, 1e-5))


def _scaled(recording: _Recording, statistics: Sequence[Any], eps: float) -> Step | None:
    """A norm by recorded statistics (weight, bias, mean, variance): a factor and a sum for each feature map."""
    weight, bias, mean, variance = statistics
    mu, var = _constant(recording, mean), _constant(recording, variance)
    if mu is None or var is None:
        return None
    w, b = _constant(recording, weight), _constant(recording, bias)
    factor = (torch.ones_like(var) if w is None else w) / (var + eps).sqrt()
    shift = (torch.zeros_like(var) if b is None else b) - mu * factor
    return {"op": "scale", "weight": recording.weights.add(factor), "bias": recording.weights.add(shift)}


def _pointwise(recording: _Recording, node: Any, name: str) -> Step | None:
    options: dict[str, tuple[float, ...]] = {"leaky_relu": (0.01,), "elu": (1.0, 1.0, 1.0), "hardtanh": (-1.0, 1.0)}
    given = [_argument(node, 1 + i, default) for i, default in enumerate(options.get(name, ()))]
    if name == "elu":
        return {"op": "elu", "alpha": given[0]} if given[1] == given[2] == 1 else None
    if name == "leaky_relu":
        return {"op": "leaky_relu", "slope": given[0]}
    if name in ("hardtanh", "relu6", "clamp"):
        low, high = (0.0, 6.0) if name == "relu6" else (_argument(node, 1, -1.0), _argument(node, 2, 1.0))
        return None if low is None or high is None else {"op": "clamp", "low": low, "high": high}
    if name == "softplus":
        return {"op": "softplus"} if _argument(node, 1, 1) == 1 and _argument(node, 2, 20) == 20 else None
    return {"op": name}


def _upsample(recording: _Recording, node: Any, name: str) -> Step | None:
    (*_, height, width), (*_, tall, wide) = node.args[0].meta["val"].shape, node.meta["val"].shape
    if tall % height or wide % width:
        return None
    return {"op": "upsample", "by": [tall // height, wide // width]}


def _pool(recording: _Recording, node: Any, name: str) -> Step | None:
    kernel = _two(node.args[1])
    stride = _two(_argument(node, 2, None) or kernel)
    down, across = _two(_argument(node, 3, 0))
    if name == "max_pool2d":
        plain = _two(_argument(node, 4, 1)) == [1, 1] and not _argument(node, 5, False)
    else:
        plain = not _argument(node, 4, False) and _argument(node, 6, None) is None
        plain = plain and (_argument(node, 5, True) or down == across == 0)
    if not plain:
        return None
    made: Step = {"op": name, "kernel": kernel, "stride": stride}
    if down or across:
        channels, height, width = node.args[0].meta["val"].shape[1:]
        shape = [channels, height + 2 * down, width + 2 * across]
        border: Step = {"op": "pad", "sides": [across, across, down, down], "mode": "constant"}
        border["value"] = LOWEST if name == "max_pool2d" else 0.0
        made |= {"from": [recording.before(node.args[0], shape, border)], "input": shape}
    return made


def _pad(recording: _Recording, node: Any, name: str) -> Step | None:
    sides = [int(side) for side in node.args[1]]
    modes = {"reflection_pad2d": "reflect", "replication_pad2d": "replicate", "constant_pad_nd": "constant"}
    mode = modes.get(name) or _argument(node, 2, "constant")
    value = _argument(node, 3 if name == "pad" else 2, 0.0) if mode == "constant" else 0.0
    if len(sides) != 4 or min(sides) < 0 or mode not in modes.values():
        return None
    return {"op": "pad", "sides": sides, "mode": mode, "value": value or 0.0}


def _arithmetic(recording: _Recording, node: Any, name: str) -> Step | None:
    """Two values of one shape, or a value and numbers, on either side."""
    left, right = node.args[1::-1] if name == "rsub" else node.args[:2]
    name = "sub" if name == "rsub" else name
    if node.kwargs or (len(node.args) > 2 and node.args[2] != 1):
        return None
    shape = node.meta["val"].shape
    values = [side for side in (left, right) if isinstance(recording.known.get(side), int)]
    first: Any = values[0]
    if len(values) == 1 and first.meta["val"].shape == (1, 1, *shape[2:]):  # a grey image less a mean of each colour
        number = recording.known[first]
        first = recording.before(first, list(shape[1:]), {"op": "cat", "from": [number] * shape[1]})
    elif any(side.meta["val"].shape != shape for side in values):
        return None
    if len(values) == 2:
        return {"op": name, "from": [left, right]}
    other = right if values[0] is left else left
    constant = _constant(recording, other)
    tensor = torch.as_tensor(float(other)) if constant is None and isinstance(other, int | float) else constant
    if tensor is None or (values[0] is right and name == "div"):
        return None
    sign = -1.0 if values[0] is right and name == "sub" else 1.0
    numbers = tensor.float() if tensor.numel() == 1 else tensor.float().expand(shape)
    made = {"op": name, "from": [first], "input": list(shape[1:]), "values": recording.weights.add(numbers.flatten())}
    return made | ({"turned": True} if sign < 0 else {})


def _cat(recording: _Recording, node: Any, name: str) -> Step | None:
    dim = int(_argument(node, 1, 0)) % node.meta["val"].ndim
    parts = list(node.args[0])
    return (
        {"op": "cat", "from": parts} if dim == 1 and all(isinstance(recording.known[p], int) for p in parts) else None
    )


def _permute(recording: _Recording, node: Any, name: str) -> Step | None:
    ndim = node.meta["val"].ndim
    axes = list(range(ndim))
    if name == "permute":
        axes = [int(axis) % ndim for axis in node.args[1]]
    else:
        a, b = (int(axis) % ndim for axis in node.args[1:3])
        axes[a], axes[b] = axes[b], axes[a]
    return {"op": "permute", "axes": [axis - 1 for axis in axes[1:]]} if axes[0] == 0 else None


def _cdist(recording: _Recording, node: Any, name: str) -> Step | None:
    made = {"op": "cdist"}
    return _weighted(recording, made, node.args[1], None) if _argument(node, 2, 2.0) == 2 else None


def _argmin(recording: _Recording, node: Any, name: str) -> Step | None:
    last = node.args[0].meta["val"].ndim - 1
    return {"op": "argmin"} if _argument(node, 1, None) in (-1, last) and not _argument(node, 2, False) else None


def _rows(recording: _Recording, node: Any, name: str) -> Step | None:
    """Rows of a constant table at whole numbers that were computed."""
    table, index = (node.args[0], node.args[1]) if name == "index" else (node.args[0], [node.args[1]])
    if not isinstance(index, list | tuple) or len(index) != 1:
        return None
    return _weighted(recording, {"op": "rows", "from": [index[0]]}, table, None)


Maker = Callable[[_Recording, Any, str], Step | None]
STEPS: Mapping[str, Maker] = {
    "conv2d": _conv,
    "conv_transpose2d": _conv,
    "linear": _linear,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "upsample_nearest2d": _upsample,
    "avg_pool2d": _pool,
    "max_pool2d": _pool,
    "pad": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
    "constant_pad_nd": _pad,
    "cat": _cat,
    "permute": _permute,
    "transpose": _permute,
    "cdist": _cdist,
    "argmin": _argmin,
    "index": _rows,
    "embedding": _rows,
    **dict.fromkeys(POINTWISE, _pointwise),
    **dict.fromkeys(ARITHMETIC, _arithmetic),
}
