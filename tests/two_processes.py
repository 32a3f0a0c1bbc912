"""Runs a function in two processes that torchrun might have started, and what those processes are given to do."""

import os
import signal
import socket
import sys
import tempfile
from dataclasses import replace
from multiprocessing.connection import Connection
from time import perf_counter, sleep

import torch
from safetensors.torch import save_file

import warm
from mixzoo import Losses
from mixzoo.core.errors import MixzooError
from mixzoo.data.placement import LoadedData, train_batches
from mixzoo.registry.config import resolve
from mixzoo.runs.run import resume, start
from mixzoo.training import signals
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import modules_of
from mixzoo.training.distributed import SINGLE_PROCESS, end_process, joined
from mixzoo.training.failure_monitor import LOST_AFTER
from mixzoo.training.loop import Loop
from mixzoo.training.step import train_step
from toys import TOY_FLAGS, toy_config, toy_zoo

signals.SECONDS = 0.0  # ask one another after every step: these runs take no second
STEPS = 20
REAL = {"dataset": "digits", "autoencoder": "amr", "discriminator": "amr"}  # instance norm, spectral norm
CASES = {  # name -> flags in place of the toys'
    "aegan": {"objective": "aegan"},
    "amr, mixup": {"objective": "amr"},
    "amr, bernoulli of three": {"objective": "amr:gan=hinge", "mixer": "bernoulli:k=3"},
    "amr, all its options": {"objective": "amr:beta=0.1,r1=1.0,dropout=0.2", "mixer": "dirichlet:k=3"},
    "acai": {"objective": "acai"},
    "dae": {"objective": "dae"},
    "vae": {"objective": "vae", "dataset": "digits", "autoencoder": "vae"},
    "a mixer that learns": {"objective": "amr", "mixer": "network:k=3"},
    "a mixer that learns from labels": {"objective": "amr", "mixer": "label"},
    "amr_supervised": {"objective": "amr_supervised", "mixer": "label"},
    "amr_supervised, two mixes": {"objective": "amr_supervised:mixer=(bernoulli)", "mixer": "label:k=3"},
    "amr_supervised, attributes": {"objective": "amr_supervised", "dataset": "toy_tagged", "mixer": "label"},
    "the networks of amr": {"objective": "amr", **REAL},
    "amr, clipped": {"objective": "amr:beta=0.1"},
}


def in_two(work, *given, seconds=240, lost_after=LOST_AFTER):
    """Exit codes of two processes that call work(distributed, *given)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    shared["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory() as folder:
        listener.bind(f"{folder}/socket")
        listener.listen()
        listener.settimeout(seconds)  # in case a process ends before it asks for its work
        code = f"from {__name__} import _started; _started({folder!r})"
        ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
        processes = [warm.start("-c", code, env={**os.environ, **shared, **rank}) for rank in ranks]
        for _ in processes:
            with Connection(listener.accept()[0].detach()) as connection:
                connection.send((work, given, lost_after))
    return [process.wait(seconds) for process in processes]


def _started(folder):
    """Do the work that is sent through the socket in this folder."""
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(f"{folder}/socket")
    with Connection(asking.detach()) as connection:
        work, given, lost_after = connection.recv()
    code = 0
    try:
        with joined(lost_after) as distributed:
            work(distributed, *given)
    except MixzooError as err:  # as the command line does
        print(f"mixzoo: {err}", file=sys.stderr, flush=True)
        code = err.exit_code
    except SystemExit as err:
        code = err.code
    end_process(code)


def twenty_steps(distributed, name, dtype=torch.float64, batch_images=8, steps=STEPS, clock=None):
    """Gradients of the first step, what every step reports and the weights at the end, by name.

    `clock` gets the time at the end of each step.
    """
    zoo = toy_zoo()
    numbers = {"batch_images": batch_images, "d_steps": 2, "clip_grad": 0.05 if "clipped" in name else 0}
    config = resolve(zoo, None, TOY_FLAGS | CASES[name], numbers)
    data = config.parts["dataset"].load(0)
    players = replace(build_players(zoo, config, data, torch.device("cpu")), distributed=distributed)
    for module in modules_of(players).values():
        module.to(dtype)
    distributed.sync_parameters(modules_of(players))
    images, found = train_batches(LoadedData(data, "device"), config.train, torch.device("cpu"), distributed.shard), {}
    for step in range(steps):
        draws = players.draw(0, step, batch=batch_images, progress=step / steps)
        x, labels = images.batch(step)
        report = train_step(players, x.to(dtype), labels, draws, update_autoencoder=step % 2 == 0)
        for player, optimiser in players.optimisers.items() if step == 0 else ():
            weights = [weight for group in optimiser.param_groups for weight in group["params"]]
            found |= {f"gradient/{player}/{i}": w.grad.clone() for i, w in enumerate(weights) if w.grad is not None}
        if clock is not None:
            clock.append(perf_counter())
        found |= {f"report/{step}/{key}": value for key, value in mean_terms(distributed, report).items()}
    distributed.check_in_sync(modules_of(players))
    for part, module in modules_of(players).items():
        found |= {f"weight/{part}/{key}": value.clone() for key, value in module.state_dict().items()}
    return found


def mean_terms(distributed, report):
    return dict(zip(report, distributed.mean(torch.stack(list(report.values()))).unbind()))


def all_cases(distributed, folder, names):
    for name in names:
        found = twenty_steps(distributed, name)
        if distributed.is_main:
            save_file({key: value.contiguous() for key, value in found.items()}, folder / f"{name}.safetensors")


def alone(name):
    return twenty_steps(SINGLE_PROCESS, name)


def trains(distributed, home, numbers, trouble=None, at=5, flags=None, rank=1):
    """A run on toy parts; with `trouble`, what the process of that rank does once it has taken that many steps."""
    plain = Loop.step

    def step(self, number, inputs):
        report = plain(self, number, inputs)
        if trouble is not None and distributed.rank == rank and number + 1 == at:
            trouble()
        return report

    Loop.step = step
    zoo = toy_zoo()
    start(zoo, toy_config(zoo, flags=flags, **numbers), home, None, distributed)


def trains_where_one_may_not_write(distributed, home, numbers):
    """A run on toy parts; from its first step on process 1 may write nowhere."""
    plain = Loop.run

    def run(self, progress):
        if distributed.rank == 1:  # not before, since it may not read the environment's packages then
            os.seteuid(65534)
        return plain(self, progress)

    Loop.run = run
    trains(distributed, home, numbers)


def sleeps_in_an_evaluation(distributed, home, numbers, seconds):
    """A run on toy parts whose process 0 evaluates for so long."""
    plain = Loop._evaluate

    def evaluate(self, done, progress):
        if distributed.is_main:
            sleep(seconds)
        return plain(self, done, progress)

    Loop._evaluate = evaluate
    trains(distributed, home, numbers)


def meets_a_bad_number(distributed, home, numbers, deferred):
    """A run in which one term is infinite, without a gradient, on process 1 alone, at step 5."""
    plain = Loop.step

    def step(self, number, inputs):
        self.players.finite.deferred = deferred
        if number == 4 and distributed.rank == 1:
            object.__setattr__(self.players, "objective", Infinite(self.players.objective))
        try:
            return plain(self, number, inputs)
        finally:
            (home.parent / f"process {distributed.rank}").write_text(str(self.players.finite.newest_step))

    Loop.step = step
    zoo = toy_zoo()
    start(zoo, toy_config(zoo, **numbers), home, None, distributed)


class Infinite:
    def __init__(self, plain):
        self.plain = plain

    def losses(self, batch):
        found = self.plain.losses(batch)
        return Losses(
            found.autoencoder | {"reconstruct": found.autoencoder["reconstruct"] + torch.inf}, found.discriminator
        )


def goes_on(distributed, home):
    resume(toy_zoo(), home, None, distributed)


def raises():
    raise RuntimeError("the planted error")


def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def is_stopped():
    os.kill(os.getpid(), signal.SIGSTOP)


def is_asked_to_stop():
    os.kill(os.getpid(), signal.SIGTERM)


def begin_differently(distributed):
    distributed.sync_parameters({}, step=distributed.rank)


def drifts(distributed):
    network = torch.nn.Linear(2, 2)
    distributed.sync_parameters({"autoencoder": network})
    distributed.check_in_sync({"autoencoder": network})  # the same on both
    with torch.no_grad():
        network.bias += distributed.rank * 1e-7
    distributed.check_in_sync({"autoencoder": network})
