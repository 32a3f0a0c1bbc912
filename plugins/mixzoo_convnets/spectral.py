"""Spectral norm of all layers of a network at once: the numbers of torch's, up to rounding, in fewer operations.

Torch's parametrisation (Miyato et al. 2018) makes its power iterations layer by layer, eight small operations for each.
Here the first layer whose weight is read in a pass makes the iterations of all layers, as products of stacked matrices,
and the others take their part of the result when they are read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import _SpectralNorm as TorchSpectralNorm
from torch.nn.utils.parametrize import ParametrizationList

EPS = 1e-12  # the least divisor of a vector that is normalised, as in torch
FILLED = 1 / 4  # of its place in a stack, which is as large as the others', each matrix fills at least so much
GRAM_ROWS = 128  # of the largest matrix W whose W Wᵀ is used; that of a larger one takes a CPU longer than it saves


def join_spectral_norms(network: nn.Module) -> None:
    """Let the layers of a network that are under torch's `spectral_norm` make their power iterations together.

    Weights, singular vectors and their names in a state dict stay as they are. Each training pass in which the weights
    are read makes `n_power_iterations`, also for a layer that this pass leaves out; a second read of a weight begins a
    new pass. In evaluation nothing is iterated. Layers whose number of iterations or `eps` is not that of the first
    one, or whose rows are not the first axis of the weight (transposed convolutions), are left to torch.
    """
    joined: list[tuple[ParametrizationList, TorchSpectralNorm]] = []
    for module in network.modules():
        if isinstance(module, ParametrizationList) and len(module) == 1 and isinstance(module[0], TorchSpectralNorm):
            norm = module[0]
            iterations = getattr(norm, "n_power_iterations", 0)  # torch has none for a weight of one axis
            same = not joined or iterations == joined[0][1].n_power_iterations
            if iterations and same and norm.dim == 0 and norm.eps == EPS:
                joined.append((module, norm))
    if not joined:
        return
    joint = JointPowerIteration([weight for weight, _ in joined], joined[0][1].n_power_iterations)
    for index, (weight, norm) in enumerate(joined):
        weight[0] = SpectralNorm(norm, joint, index)


class SpectralNorm(nn.Module):
    """The parametrisation W / σ of one layer, with σ = uᵀWv and the buffers of torch's own.

    Where iterations of several layers cannot be shared (in a program that is compiled, exported or traced, under
    `torch.func`, in inference mode, or if only some of the layers are in training), they are made as in torch, for the
    weight that is read.
    """

    _u: Float[Tensor, " rows"]
    _v: Float[Tensor, " columns"]

    def __init__(self, norm: TorchSpectralNorm, joint: "JointPowerIteration", index: int) -> None:
        super().__init__()
        self.register_buffer("_u", norm._u)
        self.register_buffer("_v", norm._v)
        self._joint, self._index = joint, index
        self.train(norm.training)

    def forward(self, weight: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *rest"]:
        if self.training and not is_transformed() and not torch.is_inference_mode_enabled():
            found = self._joint.take(self._index, weight)
            if found is not None:
                normalised: Tensor = Divided.apply(weight, *found)
                return normalised
        return self._alone(weight)

    def right_inverse(self, value: Tensor) -> Tensor:
        """The weight before normalisation, if a weight is assigned: that weight itself, as in torch."""
        return value

    def _alone(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        if self.training:
            with torch.no_grad():
                for _ in range(self._joint.iterations):  # in place: the buffers must stay where they are
                    self._u.copy_(F.normalize(torch.mv(matrix, self._v), dim=0, eps=EPS))
                    self._v.copy_(F.normalize(torch.mv(matrix.mT, self._u), dim=0, eps=EPS))
        u, v = self._u.clone(), self._v.clone()  # the next pass changes the buffers, maybe before this one's backward
        return weight / sigma_of(weight, u, v)


class Vectors(NamedTuple):
    """What a pass has found for one layer, without a graph."""

    sigma: Float[Tensor, ""]
    u: Float[Tensor, " rows"]
    v: Float[Tensor, " columns"]


@dataclass(frozen=True)
class Unread:
    """The vectors of a layer that has not been read since they were computed, and what they were computed from."""

    weight: Tensor
    versions: tuple[int, ...]
    vectors: Vectors


class JointPowerIteration:
    """The power iterations of all layers, each a parametrised weight whose one parametrisation is a SpectralNorm."""

    def __init__(self, weights: Sequence[ParametrizationList], iterations: int) -> None:
        self.weights, self.iterations = list(weights), iterations
        self._stacked = stacked([tuple(weight.original.shape) for weight in weights], iterations)
        self._unread: dict[int, Unread] = {}

    def take(self, index: int, weight: Tensor) -> Vectors | None:
        """The vectors of the layer with this index, from the iterations of this pass; None if they cannot be shared."""
        unread = self._unread.pop(index, None)
        if unread is None or unread.weight is not weight or unread.versions != self._versions(index):
            self._unread.clear()
            if self.weights[index].original is not weight or not self._is_uniform(weight):
                return None
            self._iterate()
            unread = self._unread.pop(index)
        return unread.vectors

    def _is_uniform(self, like: Tensor) -> bool:
        """Whether all layers are in training, and their tensors on one device, of one kind and with versions."""
        for weight in self.weights:
            norm: Any = weight[0]
            for tensor in (weight.original, norm._u, norm._v):
                if tensor.device != like.device or tensor.dtype != like.dtype or tensor.is_inference():
                    return False
            if not norm.training:
                return False
        return True

    def _versions(self, index: int) -> tuple[int, ...]:
        norm: Any = self.weights[index][0]
        return self.weights[index].original._version, norm._u._version, norm._v._version

    @torch.no_grad()
    def _iterate(self) -> None:
        weights = [weight.original for weight in self.weights]
        norms: list[Any] = [weight[0] for weight in self.weights]
        u, v = [norm._u for norm in norms], [norm._v for norm in norms]
        found: dict[int, Vectors] = {}
        with full_precision(weights[0].device):
            for part in self._stacked:
                found |= part.iterated(weights, v, self.iterations)
        vectors = [*(one.u for one in found.values()), *(one.v for one in found.values())]
        torch._foreach_copy_([*(u[i] for i in found), *(v[i] for i in found)], vectors)  # a CUDA graph keeps addresses
        self._unread = {i: Unread(weights[i], self._versions(i), vectors) for i, vectors in found.items()}


class View(NamedTuple):
    """A tensor's place in a flat one: the arguments of `as_strided`."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class Stacked:
    """Where the matrices of some layers lie in one flat tensor, padded with zeros, and their power iterations.

    Layers of similar sizes share a stack, so that the padding stays small. What there is one of for each matrix, its
    Gram matrix and the products with its vectors, lies in one tensor for all stacks.
    """

    layers: tuple[int, ...]  # indices of the layers, in the order of the stacks
    shapes: tuple[tuple[int, int], ...]  # rows and columns of each, in that order; so are the next three
    weights: tuple[View, ...]
    stacks: tuple[tuple[slice, View], ...]  # which of the layers are in a stack: [layers, rows, columns]
    left: View  # W v: [layers, rows, 1]
    right: View  # Wᵀu: [layers, 1, columns]
    grams: View | None  # W Wᵀ: [layers, rows, rows]; None if the iterations do not use it
    numbers: int  # in the flat tensor

    @classmethod
    def of(cls, shapes: Mapping[int, tuple[int, ...]], *, gram: bool) -> "Stacked":
        """For the weights of these layers, by their index."""
        matrices = {index: (rows, prod(rest)) for index, (rows, *rest) in shapes.items()}
        layers: list[int] = []
        weights, stacks, numbers = [], [], 0
        for group in grouped(matrices):
            height, width = largest(matrices[i] for i in group)
            part = slice(len(layers), len(layers) + len(group))
            stacks.append((part, View((len(group), height, width), (height * width, width, 1), numbers)))
            for i in group:
                inner = (prod(shapes[i][axis + 1 :]) for axis in range(1, len(shapes[i])))
                weights.append(View(shapes[i], (width, *inner), numbers))
                numbers += height * width
            layers += group
        height, width = largest(matrices.values())
        left = View((len(layers), height, 1), (height, 1, 1), numbers)
        right = View((len(layers), 1, width), (width, width, 1), left.offset + prod(left.size))
        numbers = right.offset + prod(right.size)
        grams = View((len(layers), height, height), (height * height, height, 1), numbers) if gram else None
        numbers += prod(grams.size) if grams else 0
        of_layers = tuple(matrices[i] for i in layers)
        return cls(tuple(layers), of_layers, tuple(weights), tuple(stacks), left, right, grams, numbers)

    def iterated(self, weights: Sequence[Tensor], v: Sequence[Tensor], iterations: int) -> dict[int, Vectors]:
        """The vectors of each layer after so many power iterations from v; `weights` and `v` are those of all layers.

            u ← W v / ‖W v‖, v ← Wᵀu / ‖Wᵀu‖, and so on; σ = uᵀWv

        With Gram matrices only the first u and the last v come from W, and u ← (W Wᵀ) u / ‖(W Wᵀ) u‖ in between.
        """
        flat = weights[self.layers[0]].new_zeros(self.numbers)
        left, right = flat.as_strided(*self.left), flat.as_strided(*self.right)
        starts = [right[at, 0, :columns] for at, (_, columns) in enumerate(self.shapes)]
        places = [*(flat.as_strided(*view) for view in self.weights), *starts]
        torch._foreach_copy_(places, [*(weights[i] for i in self.layers), *(v[i] for i in self.layers)])
        stacks = [(part, flat.as_strided(*view)) for part, view in self.stacks]
        grams = flat.as_strided(*self.grams) if self.grams else None
        if grams is not None:
            for part, stack in stacks:
                rows = stack.shape[1]
                torch.bmm(stack, stack.mT, out=grams[part, :rows, :rows])

        last_u, last_v = left, right
        for iteration in range(iterations):
            if grams is not None and iteration:
                last_u = normalised(torch.bmm(grams, last_u))
            else:
                for part, stack in stacks:
                    torch.bmm(stack, last_v[part, :, : stack.shape[2]].mT, out=left[part, : stack.shape[1]])
                last_u = normalised(left)
            if grams is None or iteration == iterations - 1:
                for part, stack in stacks:
                    torch.bmm(last_u[part, : stack.shape[1]].mT, stack, out=right[part, :, : stack.shape[2]])
                last_v = normalised(right)
        sigma = torch.bmm(right, last_v.mT).view(-1)  # (Wᵀu)ᵀ v

        parts = zip(self.layers, self.shapes, sigma.unbind(), last_u.unbind(), last_v.unbind())
        return {i: Vectors(one, u[:rows, 0], v[0, :columns]) for i, (rows, columns), one, u, v in parts}


def stacked(shapes: Sequence[tuple[int, ...]], iterations: int) -> list[Stacked]:
    """The layers of few rows by their Gram matrices, and the others; all of them together for one iteration."""
    small = {i: shape for i, shape in enumerate(shapes) if iterations > 1 and shape[0] <= GRAM_ROWS}
    large = {i: shape for i, shape in enumerate(shapes) if i not in small}
    return [Stacked.of(part, gram=gram) for part, gram in ((small, True), (large, False)) if part]


def largest(matrices: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The most rows and the most columns."""
    rows, columns = zip(*matrices)
    return max(rows), max(columns)


def grouped(matrices: Mapping[int, tuple[int, int]]) -> list[list[int]]:
    """Indices of the matrices in groups, most columns first; each fills FILLED of the most rows times most columns."""
    groups: list[list[int]] = []
    for index in sorted(matrices, key=lambda i: matrices[i][::-1], reverse=True):
        joined = [matrices[i] for i in (*(groups[-1] if groups else ()), index)]
        if groups and min(map(prod, joined)) >= FILLED * prod(largest(joined)):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def normalised(vectors: Float[Tensor, "layers rows columns"]) -> Float[Tensor, "layers rows columns"]:
    """Each matrix of a stack, of one row or one column, divided by its norm."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=(1, 2), keepdim=True)
    return vectors / norms.clamp_min(EPS)


class Divided(torch.autograd.Function):
    """W / σ with the gradient of σ = uᵀWv for constant u and v: (G - ⟨G, W / σ⟩ u vᵀ) / σ for a gradient G of W / σ."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor) -> Tensor:
        divided = weight / sigma
        ctx.save_for_backward(weight, divided, sigma, u, v)
        return divided

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, divided, sigma, u, v = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative, σ as a function of W
            sigma = sigma_of(weight, u, v)
            divided = weight / sigma
        along = u * inner(grad, divided)
        outer = along.reshape(-1, *[1] * (grad.ndim - 1)), v.reshape(1, *grad.shape[1:])
        return torch.addcmul(grad, *outer, value=-1) / sigma, None, None, None


def sigma_of(weight: Tensor, u: Tensor, v: Tensor) -> Float[Tensor, ""]:
    """uᵀWv, for the weight as a matrix."""
    return torch.vdot(u, torch.mv(weight.flatten(1), v))


def inner(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """⟨a, b⟩, without copies if both are laid out alike, be it channels last."""
    axes = sorted(range(a.ndim), key=lambda axis: (-a.stride()[axis], axis))
    return torch.dot(a.permute(axes).reshape(-1), b.permute(axes).reshape(-1))


def is_transformed() -> bool:
    """Whether a compiler, an exporter, a tracer or a transform of torch.func runs this pass."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # not in its __all__
        or torch._C._are_functorch_transforms_active()
    )


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Products in the precision of their factors: no autocast and, on a GPU, no TF32."""
    matmul, tf32 = torch.backends.cuda.matmul, device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32
    with torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext():
        if not tf32:
            yield
            return
        matmul.allow_tf32 = False
        try:
            yield
        finally:
            matmul.allow_tf32 = True
