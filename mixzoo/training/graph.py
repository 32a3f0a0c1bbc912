"""A whole optimisation step recorded once and replayed: one launch in place of hundreds.

A CUDA graph reads and writes fixed addresses, so a step's inputs are copied into tensors that stay, what it reports
is written to tensors that stay, and weights and optimisers' moments are only ever changed in place. The warm-up steps
before a recording do train, so everything they changed is restored before the first replay.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mixzoo.core.objective import Terms
from mixzoo.core.random import StepDraws, draw_tensors, draws_to_device
from mixzoo.training.players import Players
from mixzoo.training.step import parameters_of, train_step

WARM_UP = 4  # steps before recording, since libraries allocate and tune at first use
MAX_KINDS = 8  # recordings; each has its own static tensors
TRACED = "trace/"  # before the names of a forward pass's tensors, among those of a report
Function = Callable[[], Terms]


@runtime_checkable
class Recorder(Protocol):
    """Records a function without arguments: CUDA graphs, or a stand-in for them in tests."""

    def warm_up(self, function: Function) -> None:
        """Call the function as often as libraries need before a recording."""
        ...

    def record(self, function: Function) -> tuple[Terms, Callable[[], None]]:
        """Return the function's result, in tensors that stay, and a callable that replays it into them."""
        ...


class CUDARecorder:
    """CUDA graphs that share one memory pool and one capture stream: a pool reuses memory only within a stream."""

    def __init__(self) -> None:
        self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    def warm_up(self, function: Function) -> None:
        outer = torch.cuda.current_stream()
        self._stream.wait_stream(outer)
        try:
            with torch.cuda.stream(self._stream):
                function()  # at the first call compilers compile, and they and libraries may wait to take times
                with waiting_is_an_error():
                    for _ in range(WARM_UP - 1):
                        function()
        finally:  # the caller restores, on the outer stream, what these steps changed
            outer.wait_stream(self._stream)

    def record(self, function: Function) -> tuple[Terms, Callable[[], None]]:
        graph, side = torch.cuda.CUDAGraph(), self._stream
        # torch.cuda.graph does not leave the stream if a capture fails, so it is entered here too
        with (
            torch.cuda.stream(side),
            torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"),
        ):
            report = function()
        return report, graph.replay


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    """Make torch raise RuntimeError if the host would wait for the GPU, which a recording cannot repeat."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@dataclass(frozen=True)
class Recorded:
    """One kind of step, recorded."""

    inputs: list[Tensor]
    report: Terms
    trace: dict[str, Tensor]  # what lies between inputs and report, for the check
    replay: Callable[[], None]


class CudaGraphStep:
    """train_step, recorded once for each kind of step and each set of input shapes."""

    def __init__(self, players: Players, recorder: Recorder | None = None) -> None:
        self._players = players
        self._recorder = recorder or CUDARecorder()
        self._recorded: dict[object, Recorded] = {}

    def __call__(self, x: Tensor, labels: Tensor, draws: StepDraws, *, update_autoencoder: bool = True) -> Terms:
        kind = kind_of(x, labels, draws, update_autoencoder)
        return self.replayed(kind, x, labels, draws, update_autoencoder).report

    def replayed(self, kind: object, x: Tensor, labels: Tensor, draws: StepDraws, update_autoencoder: bool) -> Recorded:
        """Replay the recording of this kind of step (`kind_of`) on these inputs, after recording it if need be."""
        if kind not in self._recorded:
            if len(self._recorded) == MAX_KINDS:
                raise RuntimeError(f"inputs of more than {MAX_KINDS} shapes")
            self._recorded[kind] = self._record(x, labels, draws, update_autoencoder)
        recorded = self._recorded[kind]
        for static, one in zip(recorded.inputs, [x, labels, *draw_tensors(draws)]):
            static.copy_(one, non_blocking=True)
        recorded.replay()
        return recorded

    def _record(self, x: Tensor, labels: Tensor, draws: StepDraws, update_autoencoder: bool) -> Recorded:
        check_all_tensors(draws)
        # The recording reads these copies; later inputs are copied into them.
        x, labels, draws = x.clone(), labels.clone(), draws_to_device(draws, x.device).map(torch.clone)

        def function() -> Terms:
            trace: dict[str, Tensor] = {}
            report = train_step(self._players, x, labels, draws, update_autoencoder=update_autoencoder, trace=trace)
            return report | {TRACED + name: tensor for name, tensor in trace.items()}

        # Warm-up steps train, and so does a recorder that runs the function to record it.
        before = Snapshot(self._players, x.device)
        self._recorder.warm_up(function)
        before.restore()
        recorded, replay = self._recorder.record(function)
        before.restore()
        report = {name: value for name, value in recorded.items() if not name.startswith(TRACED)}
        trace = {name.removeprefix(TRACED): recorded[name] for name in recorded if name not in report}
        return Recorded([x, labels, *draw_tensors(draws)], report, trace, replay)


def kind_of(x: Tensor, labels: Tensor, draws: StepDraws, update_autoencoder: bool) -> object:
    """The key of a recording: whether the autoencoder is updated, and shape and dtype of every input."""
    inputs = [x, labels, *draw_tensors(draws)]
    return update_autoencoder, tuple((one.shape, one.dtype) for one in inputs)


def check_all_tensors(draws: StepDraws) -> None:
    """Raise RuntimeError if a draw holds anything but tensors: a recording would keep the value of its first step."""

    def check(part: object) -> None:
        if isinstance(part, Mapping):
            part = tuple(part.values())
        if isinstance(part, tuple):
            for one in part:
                check(one)
        elif part is not None and not isinstance(part, Tensor):
            raise RuntimeError(f"a draw holds a {type(part).__name__}, which a recording would keep as it is")

    check(draws.named)


class Snapshot:
    """A copy of everything a step changes; `restore` writes it back in place, so that addresses stay."""

    def __init__(self, players: Players, device: torch.device) -> None:
        self._players = players
        self._state = {key: value.clone() for key, value in _changing(players).items()}
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._device = device

    def restore(self) -> None:
        """Write every tensor back; a moment that did not exist yet becomes 0, an optimiser's initial value."""
        with torch.no_grad():
            for key, value in _changing(self._players).items():
                value.copy_(self._state[key]) if key in self._state else value.zero_()
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


def _changing(players: Players) -> dict[object, Tensor]:
    """Weights, buffers, optimisers' moments and what is known of bad steps, keyed by owner and name."""
    found: dict[object, Tensor] = {("finite", key): value for key, value in players.finite.tensors().items()}
    for name in ("autoencoder", "discriminator", "mixer", "probe"):
        # hasattr, not isinstance(part, nn.Module): WeightsFirst and Wrapped are no modules but forward to one.
        if hasattr(part := getattr(players, name), "state_dict"):
            found |= {(name, key): value for key, value in part.state_dict().items()}
    for name, optimiser in players.optimisers.items():
        for i, parameter in enumerate(parameters_of(optimiser)):
            moments = optimiser.state.get(parameter, {})
            found |= {(name, i, key): value for key, value in moments.items() if isinstance(value, Tensor)}
    return found
