"""How a step is run: as it is written, with compiled networks, captured whole as one CUDA graph, or both.

    eager          train_step, call by call
    compile        the networks through torch.compile, the step around them as it is
    graph          a step of both players, optimisers and probe recorded once as a CUDA graph and replayed on new inputs
    graph+compile  the same with compiled networks: one launch for all, and fewer kernels in it

All compute the same function of (parameters, batch, draws) up to rounding. On a GPU `auto` is graph+compile; where its
steps disagree with eager ones, graph; where these do too, eager. Elsewhere it is eager: on a CPU compiled networks
measured slower (benchmarks/step.py). Several processes that share a batch run eager, since communication between
processes is not recorded.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mixzoo.core.errors import ConfigError
from mixzoo.core.objective import Terms
from mixzoo.core.parts import AutoEncoder, Discriminator, HasPosterior, Scores
from mixzoo.core.random import StepDraws
from mixzoo.evaluation.codes import eval_mode
from mixzoo.registry.config import Train
from mixzoo.training.distributed import SINGLE_PROCESS, DistributedContext
from mixzoo.training.graph import CudaGraphStep, CUDARecorder, Recorder, Snapshot, kind_of
from mixzoo.training.players import Players
from mixzoo.training.step import parameters_of, train_step

Note = Callable[[str], None]
CLOSE = 1e-3  # of a recorded step's terms to those of the step as it is written, relative or of 1
SAME = 0.1  # of a recorded pass's codes, mixes and images to those of the step as it is written, of their spread
ALIKE = 0.5  # of how a recorded step moves a player's weights: Adam's first steps are signs, and rounding turns a few


@runtime_checkable
class Engine(Protocol):
    """One optimisation step, however it is run: train_step without its first argument."""

    def __call__(self, x: Tensor, labels: Tensor, draws: StepDraws, *, update_autoencoder: bool = True) -> Terms: ...


def build_engine(train: Train, players: Players, device: torch.device, note: Note = lambda line: None) -> Engine:
    """The engine that the run asks for. Raises ConfigError if this device or number of processes does not support it.

    `note` is called with the reason if `auto` falls back.
    """
    check_engine(train, device, players.distributed)
    if precision_of(train, device) == "bf16" and players.discriminator is not None:
        low = in_bfloat16(players.discriminator, device.type)
        # A penalty squares D's gradients, most of them small, so those are computed in full precision.
        players = replace(players, discriminator=low, uncompiled_discriminator=players.discriminator)
    if train.recompute:
        players = replace(players, autoencoder=Wrapped(players.autoencoder, recomputed))
    eager = partial(train_step, players)
    if train.engine == "compile":
        return Compiling(partial(train_step, compiled(players)))
    if device.type != "cuda" or train.engine == "eager" or players.distributed.world_size > 1:
        return eager
    return recorded(players, eager, train.engine, note)


def recorded(
    players: Players, eager: Engine, engine: str, note: Note, recorder_of: Callable[[], Recorder] = CUDARecorder
) -> Engine:
    """The steps of `graph`, `graph+compile` or `auto`, each checked against the eager one before it is used.

    Of `auto`, the next one takes over from a step that fails its check: all share the weights.
    """
    automatic, step = engine == "auto", eager
    if engine != "graph+compile":
        mismatch = falls_back(note, "a step at a time in place of a CUDA graph") if automatic else refuses("graph")
        step = VerifiedGraphStep(CudaGraphStep(players, recorder_of()), step, players, mismatch)
    if engine != "graph":
        mismatch = falls_back(note, "a CUDA graph without compiled networks") if automatic else refuses("graph+compile")
        step = VerifiedGraphStep(CudaGraphStep(compiled(players), recorder_of()), step, players, mismatch)
    return step


def falls_back(note: Note, to: str) -> Note:
    """What `auto` does if a recorded step cannot be used: report why, and what is used."""
    return lambda why: note(f"--engine auto: {to} ({why})")


def refuses(engine: str) -> Note:
    """What another engine does in that case: raise ConfigError."""

    def refuse(why: str) -> None:
        raise ConfigError(f"--engine {engine}: the step will not do as a CUDA graph ({why}); use eager or auto")

    return refuse


def check_engine(train: Train, device: torch.device, distributed: DistributedContext = SINGLE_PROCESS) -> None:
    """Raise ConfigError if the engine or the precision does not support this device or several processes."""
    precision_of(train, device)
    graph = train.engine in ("graph", "graph+compile")
    if graph and device.type != "cuda":
        raise ConfigError(
            f"--engine {train.engine} captures CUDA graphs, but the run is on {device}; use eager or auto"
        )
    if graph and distributed.world_size > 1:
        raise ConfigError(
            f"--engine {train.engine} is for one process, and this run has several; use eager, compile or auto"
        )


def precision_of(train: Train, device: torch.device) -> str:
    """The precision that the run asks for. Raises ConfigError if the device does not have it."""
    if train.precision == "auto":
        return "tf32" if device.type == "cuda" else "fp32"
    if train.precision == "tf32" and device.type != "cuda":
        raise ConfigError(f"--precision tf32 needs a GPU, but the run is on {device}; use fp32, bf16 or auto")
    return train.precision


class WeightsFirst:
    """D with its parametrised weights, such as those under spectral norm, computed once and before the rest of a pass.

    So they are computed as written, all at once and in full precision, where the rest is compiled or runs in bfloat16.
    With `if_read_once` this is done only if a pass reads each of them just once: spectral norm iterates at each read,
    so a layer that is used twice, or not at all, would have another norm than in a plain pass.
    """

    def __init__(
        self, discriminator: Discriminator, rest: Callable[[Tensor], Scores], *, if_read_once: bool = False
    ) -> None:
        from torch.nn.utils import parametrize

        self.discriminator, self.rest = discriminator, rest
        modules: Iterable[Any] = discriminator.modules() if isinstance(discriminator, nn.Module) else ()
        parametrised = [module for module in modules if parametrize.is_parametrized(module)]
        self._weights = [(module, name) for module in parametrised for name in module.parametrizations]
        self._first: bool | None = None if if_read_once else True  # None: not known before the first pass

    def __call__(self, x: Tensor) -> Scores:
        from torch.nn.utils import parametrize

        if self._first is None:
            self._first = self._reads_each_once(x)
        if not self._first:
            return self.rest(x)
        with parametrize.cached():
            for module, name in self._weights:
                getattr(module, name)  # torch computes a parametrised weight when its attribute is read
            return self.rest(x)

    def _reads_each_once(self, x: Tensor) -> bool:
        """Whether a pass reads each weight once: tried in evaluation mode, which changes no buffer."""
        lists = [module.parametrizations[name] for module, name in self._weights]
        reads: Counter[nn.Module] = Counter()
        hooks = [found.register_forward_hook(lambda read, *_: reads.update([read])) for found in lists]
        try:
            with eval_mode(self.discriminator):
                self.discriminator(x)
        finally:
            for hook in hooks:
                hook.remove()
        return all(reads[found] == 1 for found in lists)

    def __getattr__(self, name: str) -> Any:  # the rest of D's interface, whatever a plugin adds to it
        if name == "discriminator":  # before __init__ has set it, as in a copy
            raise AttributeError(name)
        return getattr(self.discriminator, name)


def in_bfloat16(discriminator: Discriminator, device: str) -> WeightsFirst:
    """D with its convolutions and products in bfloat16, and spectral norm, losses and weights in full precision.

    Scores come back in full precision. D is most of a step's arithmetic. f and g stay in full precision: their norms
    lose accuracy in bfloat16, and rounding in them reaches the codes.
    """

    def rest(x: Tensor) -> Scores:
        with torch.autocast(device, torch.bfloat16):
            scores = discriminator(x)
        return Scores(*(None if score is None else score.to(x.dtype) for score in scores))  # type: ignore[arg-type]

    return WeightsFirst(discriminator, rest)


class Wrapped:
    """An auto-encoder with `wrap` applied to encode, decode and posterior."""

    def __init__(self, autoencoder: AutoEncoder, wrap: Callable[[Any], Any]) -> None:
        self._plain = autoencoder
        self.latent_shape = autoencoder.latent_shape
        self.encode, self.decode = wrap(autoencoder.encode), wrap(autoencoder.decode)
        if isinstance(autoencoder, HasPosterior):
            self.posterior = wrap(autoencoder.posterior)

    def __getattr__(self, name: str) -> Any:  # the rest of its interface, such as a quantiser's codebook
        return getattr(self._plain, name)


def recomputed(function: Any) -> Any:
    """A forward pass that keeps only its inputs and is computed again in the backward pass."""
    from torch.utils.checkpoint import checkpoint

    return partial(checkpoint, function, use_reentrant=False)


def compiled(players: Players) -> Players:
    """The players with compiled networks, which share the weights; torch compiles at the first call for each shape."""
    autoencoder, plain = Wrapped(players.autoencoder, _compile), players.discriminator
    discriminator = None
    if isinstance(plain, WeightsFirst):
        discriminator = WeightsFirst(plain.discriminator, _compile(plain.rest))
    elif plain is not None:
        discriminator = WeightsFirst(plain, _compile(plain), if_read_once=True)
    uncompiled = plain if players.uncompiled_discriminator is None else players.uncompiled_discriminator
    return replace(players, autoencoder=autoencoder, discriminator=discriminator, uncompiled_discriminator=uncompiled)


def _compile(function: Any) -> Any:
    return torch.compile(function, dynamic=False, options={"fallback_random": True})  # dropout draws as eager does


class Compiling:
    """A step whose networks compile at its first call. Raises ConfigError if the compiler fails."""

    def __init__(self, step: Engine) -> None:
        self._step = step

    def __call__(self, x: Tensor, labels: Tensor, draws: StepDraws, *, update_autoencoder: bool = True) -> Terms:
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._step(x, labels, draws, update_autoencoder=update_autoencoder)
        except TorchDynamoException as err:
            raise ConfigError(f"--engine compile: {_first_line(err)}; use --engine eager") from err


class VerifiedGraphStep:
    """The recorded step, as long as two replays agree with two eager steps; another step after the first mismatch.

    Each kind of step is checked at its first call, on the inputs that it was recorded with, and at its second, on
    others: a recording that keeps an input is right only at the first. `on_mismatch` is called with the reason and may
    raise; all steps until then agreed with the eager ones.
    """

    def __init__(self, graph_step: CudaGraphStep, fallback: Engine, players: Players, on_mismatch: Note) -> None:
        self._graph_step: CudaGraphStep | None = graph_step  # None after a mismatch, which frees its memory
        self._fallback, self._players, self._on_mismatch = fallback, players, on_mismatch
        self._checks: Counter[object] = Counter()  # checks made so far, by kind of step

    def __call__(self, x: Tensor, labels: Tensor, draws: StepDraws, *, update_autoencoder: bool = True) -> Terms:
        if self._graph_step is not None:
            kind = kind_of(x, labels, draws, update_autoencoder)
            why = self._check(self._graph_step, kind, x, labels, draws, update_autoencoder)
            if not why:
                return self._graph_step.replayed(kind, x, labels, draws, update_autoencoder).report
            self._graph_step = None
            self._on_mismatch(why)
        return self._fallback(x, labels, draws, update_autoencoder=update_autoencoder)

    def _check(
        self,
        graph_step: CudaGraphStep,
        kind: object,
        x: Tensor,
        labels: Tensor,
        draws: StepDraws,
        update_autoencoder: bool,
    ) -> str:
        """Why the recorded step cannot be used, or ''. Checks only the first two calls of each kind."""
        if self._checks[kind] == 2:
            return ""
        self._checks[kind] += 1
        why = self._disagreement(graph_step, kind, x, labels, draws, update_autoencoder)
        return why if not why or self._checks[kind] == 1 else f"on inputs other than those recorded, {why}"

    def _disagreement(
        self,
        graph_step: CudaGraphStep,
        kind: object,
        x: Tensor,
        labels: Tensor,
        draws: StepDraws,
        update_autoencoder: bool,
    ) -> str:
        """Why the recorded step cannot be used, or ''. Weights, buffers and moments are restored."""

        def eager() -> tuple[Terms, Terms]:
            trace: dict[str, Tensor] = {}
            return train_step(
                self._players, x, labels, draws, update_autoencoder=update_autoencoder, trace=trace
            ), trace

        def replayed() -> tuple[Terms, Terms]:
            recorded = graph_step.replayed(kind, x, labels, draws, update_autoencoder)
            return recorded.report, recorded.trace

        # Both start from the same state, and the run goes on from it whatever they find.
        before = Snapshot(self._players, x.device)
        try:
            with _uncaptured():
                expected = self._two_steps(eager)
                if self._players.finite.is_bad:  # no numbers to compare; the run is about to end
                    return ""
                before.restore()
                try:
                    found = self._two_steps(replayed)
                except Exception as err:  # a compiler's kernels have errors of their own types
                    # torch's context is the cause: ending a failed capture raises once more
                    return f"it cannot be recorded: {_first_line(err.__context__ or err)}"
        finally:
            before.restore()
        return found.difference(expected)

    def _two_steps(self, step: Callable[[], tuple[Terms, Terms]]) -> "StepTrace":
        """Two steps in a row: the terms of the second depend on how the first changed the weights."""
        optimisers = self._players.optimisers
        before = {name: _weights(optimiser) for name, optimiser in optimisers.items()}
        terms: dict[tuple[int, str], float] = {}
        for i in range(2):
            report, trace = step()
            terms |= {(i, name): value.item() for name, value in report.items()}
            if i == 0:  # from equal weights; a replay fills the same tensors again
                first = {name: tensor.double() for name, tensor in trace.items()}
        moved = {name: _weights(optimiser) - before[name] for name, optimiser in optimisers.items()}
        return StepTrace(terms, first, moved)


@dataclass(frozen=True)
class StepTrace:
    """What two steps reported, what the first made of its inputs, and how both moved each player's weights."""

    terms: dict[tuple[int, str], float]  # (which step, name)
    trace: dict[str, Tensor]
    moved: dict[str, Tensor]

    def difference(self, expected: "StepTrace") -> str:
        """The first difference from what was expected, or ''."""
        for name, tensor in expected.trace.items():
            # relative to the spread over the batch: early in training the codes and images of all examples are close
            spread = (tensor - tensor.mean(0)).norm() + CLOSE * tensor.norm()
            if not ((self.trace[name] - tensor).norm() <= SAME * spread).item():
                return f"{name} is another"
        for (i, name), value in expected.terms.items():
            far = abs(self.terms[i, name] - value)
            if not far <= CLOSE * max(1, abs(value)):
                return f"{name} differs by {far:.1e}"
        for player, change in expected.moved.items():
            far = (self.moved[player] - change).norm().item()
            if not far <= ALIKE * change.norm().item():
                return f"the weights of the {player} change otherwise"
        return ""


def _weights(optimiser: Optimizer) -> Tensor:
    """A flat copy of all the weights that the optimiser updates."""
    return torch.cat([parameter.detach().flatten() for parameter in parameters_of(optimiser)])


@contextmanager
def _uncaptured() -> Iterator[None]:
    """Silence torch's warning about a capturable optimiser that steps outside a graph."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*capturable=True", category=UserWarning)
        yield


def _first_line(err: BaseException) -> str:
    return str(err).strip().partition("\n")[0] or type(err).__name__
