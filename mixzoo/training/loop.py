"""The loop around the step: logs, evaluations, pictures, checkpoints, signals.

A step depends only on its number, the seed and the state before it, so a run that is stopped after any step and resumed
writes the same metrics and ends with the same weights.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from mixzoo.core.data import Dataset
from mixzoo.core.errors import Interrupted, NonFiniteError
from mixzoo.core.random import StepDraws, seed_for, seed_modules
from mixzoo.data.batches import Batches
from mixzoo.evaluation.probe import ProbeRecord, accuracy
from mixzoo.registry.config import Train
from mixzoo.training.bad_step import BadStep
from mixzoo.training.blocks import Blocks, StepInputs
from mixzoo.training.checkpoint import commit, modules_of, non_finite
from mixzoo.training.checkpoint_manifest import Progress
from mixzoo.training.engine import Engine
from mixzoo.training.learning_rate import is_scheduled, learning_rate, set_learning_rates
from mixzoo.training.logs import LINE_SECONDS, MetricsFile, NullMetricsFile, ProgressDisplay
from mixzoo.training.picture_writer import PictureWriter
from mixzoo.training.players import Players
from mixzoo.training.signals import StopTogether, stop_requested
from mixzoo.training.time_limit import TimeLimit

EVALUATIONS = 0.1  # of the time that a run may take for them before a line says so
ADVICE_SECONDS = 30.0  # of a run before that


@dataclass(frozen=True)
class Loop:
    """What the loop works on."""

    train: Train
    players: Players
    engine: Engine
    data: Dataset
    images: Batches  # of the train split, on the device
    metrics: MetricsFile | NullMetricsFile
    checkpoints: Path
    display: ProgressDisplay
    pictures: PictureWriter
    run_file: str = ""  # the run file, which each checkpoint keeps
    environment: Mapping[str, Any] = field(default_factory=dict)  # as in environment.json, which each keeps, too
    committed: Callable[[], None] = lambda: None  # called after each checkpoint, on process 0
    limit: TimeLimit | None = None

    def run(self, progress: Progress) -> Progress:
        """Train from `progress` to the last step. On a signal, or out of time, commit and raise Interrupted."""
        clock, shared_stop = Clock(self.train, progress.step), StopTogether(self.players.distributed, self.limit)
        # Training reseeds torch's own generators at every step; the caller's state comes back afterwards.
        gpus = [self.images.device] if self.images.device.type == "cuda" else []
        started = progress.step
        self.players.finite.begin(started)
        with torch.random.fork_rng(devices=gpus), stop_requested() as stop, self.pictures, self.blocks() as inputs:
            if started < self.train.steps:
                self.images.start(started)  # before the threads of pictures and draws, since it forks
            for step in range(started, self.train.steps):
                report = self.step(step, inputs.at(step))
                done = step + 1
                logged, last = done % self.train.log_every == 0, done == self.train.steps

                # Reading a report waits for the GPU, so few steps do it: those that are logged or evaluated, the first,
                # and one in ten seconds, so that a person soon sees whether the run is on its way.
                evaluated = done % self.train.evaluate_every == 0 or last
                if logged or evaluated or step == started or self._display_is_due(clock):
                    self.check_finite()
                    self.log(done, report, clock, evaluated=evaluated)
                if evaluated:
                    with clock.evaluation():
                        progress = self._evaluate(done, progress)
                    if advice := clock.advice(done):
                        self.display.note(advice)

                # The last step commits too, and so does the step after which a signal or the time limit stops the run,
                # and one whose weights may be those that the run ends with.
                progress = replace(progress, step=done)
                best = evaluated and self._is_best(progress)
                # Read once: a signal that arrives during the commit takes effect after the next step.
                stopped_by = shared_stop(stop())
                if stopped_by or best or done % self.train.checkpoint_every == 0 or done == self.train.steps:
                    progress = self._commit(progress)
                if stopped_by and done < self.train.steps:
                    run_dir = self.checkpoints.parent
                    raise Interrupted(
                        f"stopped by {stopped_by} after step {done}; `mixzoo resume {run_dir}` continues it"
                    )
        return progress

    def _display_is_due(self, clock: "Clock") -> bool:
        """Whether ten seconds have passed since the last line; never for several processes: they share no clock."""
        return self.players.distributed.world_size == 1 and clock.since_line() >= LINE_SECONDS

    def blocks(self) -> Blocks:
        """What the steps take that is made ahead of them."""
        index = self.images.order.own if self.images.picks_on_device else None
        return Blocks(self.draw, self.images.device, self.train.steps, index)

    def step(self, step: int, inputs: StepInputs) -> dict[str, Tensor]:
        """Take optimisation step number `step`; its report stays on the device.

        Raises NonFiniteError, if reading the device costs nothing, where a number of it is not finite.
        """
        x, labels = self.images.batch(step, inputs.index)
        distributed = self.players.distributed
        purpose = f"torch/{distributed.rank}" if distributed.rank else "torch"
        seed_modules(seed_for(self.train.seed, purpose, step), x.device)
        set_learning_rates(self.train, self.players.optimisers, step)
        report = self.engine(x, labels, inputs.draws, update_autoencoder=step % self.train.d_steps == 0)
        if not self.players.finite.deferred:
            self.check_finite()
        return report

    def check_finite(self) -> None:
        """Raises NonFiniteError, after writing a file about it, if a number of any step so far is not finite.

        Waits for the device.
        """
        if self.players.finite.is_bad:
            raise self._bad_step().error()

    def _bad_step(self, afterwards: str = "") -> BadStep:
        finite = self.players.finite
        step = finite.newest_step
        return BadStep(
            checkpoints=self.checkpoints,
            step=step,
            seed=self.train.seed,
            images=self.images.order.whole(step - 1).tolist(),
            read=self.data.train.read,
            draws=self.draw(step - 1),
            evidence=finite.evidence(),
            gradient_norms=finite.gradient_norms,
            distributed=self.players.distributed,
            taken=finite.good_steps,
            afterwards=afterwards,
        )

    def draw(self, step: int) -> StepDraws:
        """All the randomness of step number `step`, for the whole batch."""
        train = self.train
        return self.players.draw(
            train.seed,
            step,
            batch=train.batch_images,
            progress=step / train.steps,
            labelled=self.images.order.labelled(step),
        )

    def log(self, done: int, report: dict[str, Tensor], clock: "Clock", *, evaluated: bool = False) -> None:
        """Show the log line of a step's report, and write it if one is due; NonFiniteError if a value is not finite."""
        line = self.line(done, report, clock)
        if done % self.train.log_every == 0:
            self.metrics.write(line)
        if evaluated:
            self.display.train_then_evaluate(line)
        else:
            self.display.train(line)

    def line(self, done: int, report: dict[str, Tensor], clock: "Clock") -> dict[str, Any]:
        """The log line of a step's report, read from the device; raises NonFiniteError if a value is not finite."""
        mean = self.players.distributed.mean(torch.stack(list(report.values())))
        values = dict(zip(report, mean.tolist()))  # one read from the device
        bad = [name for name, value in values.items() if value != value or abs(value) == float("inf")]
        if bad:
            raise NonFiniteError(
                f"step {done}: {', '.join(bad)} is not finite; the last checkpoint is from before. "
                "Try a lower --lr or a larger lam"
            )
        # Only of a run with a schedule: the lines of others are as they always were.
        rate = {"lr": learning_rate(self.train, done - 1)} if is_scheduled(self.train) else {}
        return {"kind": "train", "step": done, **values, **rate, **clock.read(done)}

    def _evaluate(self, done: int, progress: Progress) -> Progress:
        if not self.players.distributed.is_main:
            return progress
        device = str(self.images.device)
        players, longer = self.players, None
        if done % self.train.evaluate_every:  # evaluated only because it is the last step; a longer run would not
            longer = self._written(Progress(done, 0, progress.probe))
        record, line = progress.probe, {"kind": "evaluate", "step": done}
        if players.probe is not None:
            try:
                validation = accuracy(players.probe, players.autoencoder, self.data.validation, device)
                test = accuracy(players.probe, players.autoencoder, self.data.test, device)
            except NonFiniteError as err:
                raise NonFiniteError(f"step {done}: {err}") from err
            record = record.after(done, validation, test)
            line |= {
                "validation_accuracy": validation,
                "test_accuracy": test,
                "best_validation_accuracy": record.best_validation,
            }
        self.metrics.write(line)
        self.display.evaluate(line)
        self.pictures.write(done)
        return replace(progress, step=done, probe=record, longer=longer)

    def _is_best(self, progress: Progress) -> bool:
        """Whether the run is to end with its best weights, and these are the best so far."""
        if self.train.select != "best":
            return False
        # Only process 0 evaluates; the others learn it.
        return self.players.distributed.all_reduce_max([progress.probe.best_step == progress.step])[0] > 0

    def _commit(self, progress: Progress) -> Progress:
        self.check_finite()
        if bad := non_finite(self.players):
            raise self._bad_step(afterwards=bad).error()
        distributed = self.players.distributed
        distributed.check_in_sync(modules_of(self.players))
        if distributed.is_main:
            distributed.end_if_lost()
            progress, train = self._written(progress), self.train
            commit(self.checkpoints, self.players, progress, keep=train.keep_checkpoints,
                   keep_best=train.select == "best", run=self.run_file, environment=self.environment,
                   ready=self.pictures.wait)  # fmt: skip
            self.committed()
        distributed.barrier()  # no process goes on before the checkpoint is committed
        return progress

    def _written(self, progress: Progress) -> Progress:
        """The progress with what is in metrics.jsonl now, flushed to the disk."""
        length, sha256 = self.metrics.fsync()
        return replace(progress, metrics_bytes=length, metrics_sha256=sha256)


class Clock:
    """Seconds and images/s since this process started training; only these fields differ between equal runs."""

    def __init__(self, train: Train, start: int) -> None:
        self._began = monotonic()
        self._start = start
        self._batch = train.batch_images
        self._last_line = self._began
        self._steps, self._evaluations, self._evaluating = train.steps, 0, 0.0
        self._advised = False

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Counts the time of the block as that of an evaluation. No step may still run on the device."""
        began = monotonic()
        yield
        self._evaluations += 1
        self._evaluating += monotonic() - began

    def advice(self, done: int) -> str:
        """A line if evaluations take more than EVALUATIONS of the time, and at which spacing they would take that.

        At most once, after ADVICE_SECONDS. The spacing itself is never changed: it decides at which step a run is best,
        so that it must not depend on how fast a machine is.
        """
        elapsed, steps = monotonic() - self._began, done - self._start
        share = self._evaluating / max(elapsed, 1e-9)
        if self._advised or elapsed < ADVICE_SECONDS or share <= EVALUATIONS:
            return ""
        self._advised = True
        each, of_step = self._evaluating / self._evaluations, (elapsed - self._evaluating) / steps
        spacing = (1 / EVALUATIONS - 1) * each / max(of_step, 1e-9)
        digit = 10 ** max(0, len(str(int(spacing))) - 1)
        every = ceil(spacing / digit) * digit
        if every >= self._steps or done == self._steps:  # it would change nothing
            return ""
        less = f"with --evaluate-every {every} they would take about {EVALUATIONS:.0%}"
        return f"evaluations take {share:.0%} of the time; {less}"

    def since_line(self) -> float:
        """Seconds since the last reading."""
        return monotonic() - self._last_line

    def read(self, done: int) -> dict[str, float]:
        self._last_line = monotonic()
        elapsed = self._last_line - self._began
        return {
            "elapsed_seconds": round(elapsed, 3),
            "images_per_second": round((done - self._start) * self._batch / max(elapsed, 1e-9), 1),
        }


def fresh() -> Progress:
    """The progress of a run that has not started."""
    return Progress(step=0, metrics_bytes=0, probe=ProbeRecord())
