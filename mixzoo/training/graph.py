"""A whole optimisation step recorded once and replayed: one launch in place of hundreds.

A CUDA graph reads and writes fixed addresses, so a step's inputs are copied into tensors that stay, what it reports
comes out in tensors that stay, and weights and optimisers' moments are only ever changed in place. Recording takes a
few steps to warm up, which train; all that they changed is put back before the first replay.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mixzoo.draws import StepDraws, sent, tensors_of
from mixzoo.protocols import Terms
from mixzoo.training.step import Players, parameters_of, train_step

WARM_UP = 3  # steps before recording, for what libraries set up at first use
Function = Callable[[], Terms]


@runtime_checkable
class Recorder(Protocol):
    """Records a function of no arguments; CUDA's, or a stand-in for it."""

    def warm_up(self, function: Function) -> None:
        """Call it as often as libraries need."""
        ...

    def record(self, function: Function) -> tuple[Terms, Callable[[], None]]:
        """What it returns, in tensors that stay, and what runs it again to fill them."""
        ...


class CUDARecorder:
    """CUDA graphs that share one pool of memory."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, function: Function) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                function()
        torch.cuda.current_stream().wait_stream(side)

    def record(self, function: Function) -> tuple[Terms, Callable[[], None]]:
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        # the stream is entered here too, as a capture that fails does not leave it
        with (
            torch.cuda.stream(side),
            torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"),
        ):
            report = function()
        return report, graph.replay


@dataclass(frozen=True)
class Recorded:
    """One kind of step, recorded."""

    inputs: list[Tensor]
    report: Terms
    replay: Callable[[], None]


class Graphed:
    """train_step, recorded for each kind of step and each shape of inputs that come."""

    def __init__(self, players: Players, recorder: Recorder | None = None) -> None:
        self._players = players
        self._recorder = recorder or CUDARecorder()
        self._recorded: dict[object, Recorded] = {}

    def __call__(self, x: Tensor, labels: Tensor, draws: StepDraws, *, autoencoder_moves: bool = True) -> Terms:
        new = [x, labels, *tensors_of(draws)]
        kind = (autoencoder_moves, tuple((one.shape, one.dtype) for one in new))
        if kind not in self._recorded:
            self._recorded[kind] = self._record(x, labels, draws, autoencoder_moves)
        recorded = self._recorded[kind]
        for static, one in zip(recorded.inputs, new):
            static.copy_(one, non_blocking=True)
        recorded.replay()
        return recorded.report

    def _record(self, x: Tensor, labels: Tensor, draws: StepDraws, moves: bool) -> Recorded:
        x, labels, draws = x.clone(), labels.clone(), sent(draws, x.device).map(torch.clone)

        def function() -> Terms:
            return train_step(self._players, x, labels, draws, autoencoder_moves=moves)

        before = Snapshot(self._players, x.device)
        self._recorder.warm_up(function)
        before.put_back()
        report, replay = self._recorder.record(function)
        before.put_back()
        return Recorded([x, labels, *tensors_of(draws)], report, replay)


class Snapshot:
    """All that a step changes, as it was; put back in place, so that addresses stay."""

    def __init__(self, players: Players, device: torch.device) -> None:
        self._players = players
        self._state = {key: value.clone() for key, value in _changing(players).items()}
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._device = device

    def put_back(self) -> None:
        """Every tensor as it was; a moment that there was none of yet is 0, as an optimiser begins."""
        with torch.no_grad():
            for key, value in _changing(self._players).items():
                value.copy_(self._state[key]) if key in self._state else value.zero_()
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


def _changing(players: Players) -> dict[object, Tensor]:
    """Weights, buffers and optimisers' moments, by what they belong to."""
    found: dict[object, Tensor] = {}
    for name in ("autoencoder", "discriminator", "mixer", "probe"):
        if hasattr(part := getattr(players, name), "state_dict"):
            found |= {(name, key): value for key, value in part.state_dict().items()}
    for name, optimiser in players.optimisers.items():
        for i, parameter in enumerate(parameters_of(optimiser)):
            moments = optimiser.state.get(parameter, {})
            found |= {(name, i, key): value for key, value in moments.items() if isinstance(value, Tensor)}
    return found
