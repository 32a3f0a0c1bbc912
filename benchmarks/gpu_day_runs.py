"""For gpu_day.py: the sizes of a day, and the rows that run whole commands in their own processes."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep

from cases import ZOO, Case
from mixzoo.registry.config import RunConfig, resolve
from mixzoo_launchers.mps import CONTROL
from sweep import compared, seconds

Cell = dict[str, object]
HOME = Path(__file__).parents[1]
NEEDS_GPU = "needs a GPU"


@dataclass(frozen=True)
class Day:
    """The device of the rows, and their sizes."""

    device: str = "cuda"
    quick: bool = False
    root: Path | None = None  # of MNIST; without it the data are `digits`

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def steps(self) -> int:
        return 3 if self.quick else 20

    @property
    def depth(self) -> int:
        return 2 if self.quick else 16

    @property
    def batches(self) -> tuple[int, ...]:
        return (8,) if self.quick else (64, 256, 1024)

    def case(self, method: str, batch: int | None = None) -> Case:
        return Case(method, batch or self.batches[0], self.root, self.depth, device=self.device)

    @property
    def threads(self) -> int:
        return 1 if self.quick else 0

    def config(self, flags: Mapping[str, str], **numbers: object) -> RunConfig:
        """The config of a run, with small networks on a quick day; flags name networks without options."""
        networks = {"autoencoder": "amr", "discriminator": "amr"} | dict(flags)
        recipes = {kind: ZOO.recipe(kind, networks[kind]) for kind in ("autoencoder", "discriminator")}
        sized = {
            kind: f"{networks[kind]}:depth={self.depth}" for kind, recipe in recipes.items() if hasattr(recipe, "depth")
        }
        data = {} if self.root is None else {"dataset": f'mnist:root="{self.root}"'}
        sizes = {"batch_images": self.batches[0], "device": self.device, "threads": self.threads}
        return resolve(ZOO, None, data | networks | sized, sizes | numbers)

    def run_file(self, home: Path, **numbers: object) -> str:
        """The path of a new run file, whose mixer draws at every step and whose final scores are quick to compute."""
        metrics = (("reconstruction", ZOO.recipe("metric", "reconstruction")),)
        config = replace(self.config({"mixer": "dirichlet:k=3"}, **numbers), metrics=metrics)
        path = home / "day.toml"
        path.write_text(config.to_toml())
        return str(path)


def attempted(cell: Cell, work: Callable[[], Cell]) -> Cell:
    """The cell with the results of the work, or with the first line of its error."""
    try:
        return cell | work()
    except Exception as err:  # whatever fails, the next cell has to run
        line = str(err).strip().partition("\n")[0]
        return cell | {"failed": f"{type(err).__name__}: {line}" if line else type(err).__name__}


def readme_command() -> list[str]:
    """The arguments of README's first mixzoo command."""
    text = (HOME / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- start -->\n```sh\n(.*?)```", text, flags=re.DOTALL)
    assert block is not None
    return shlex.split(block.group(1).split("&&")[-1])[1:]


def readme(day: Day) -> Iterator[Cell]:
    """README's first command on this device, or five small steps of it on a quick day."""
    fewer = ["--steps", "5", "--evaluate-every", "5", "--batch-images", "16", "--threads", "1"] if day.quick else []
    command = [*readme_command(), "--device", day.device, *fewer]
    with TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"

        def work() -> Cell:
            took = seconds(*command, "--out", str(run))
            numbers = result_of(run)
            accuracy = 100 * numbers["probe.test_accuracy_at_best_validation"]
            return {"seconds": f"{took:.1f}", "probe, test %": f"{accuracy:.1f}"}

        yield attempted({"command": shlex.join(["mixzoo", *command])}, work)


def result_of(run: Path) -> dict[str, float]:
    numbers: dict[str, float] = json.loads((run / "results.json").read_text())["numbers"]
    return numbers


def resumed(day: Day) -> Iterator[Cell]:
    """A run killed after its first checkpoint and resumed, compared with an uninterrupted one, with --deterministic."""
    for engine in ("auto", "eager") if day.on_gpu else ("auto",):
        with TemporaryDirectory() as temporary:
            yield attempted({"engine": engine}, partial(kill_and_resume, day, engine, Path(temporary)))


def kill_and_resume(day: Day, engine: str, home: Path) -> Cell:
    every, steps = (10, 60) if day.quick else (100, 600)
    numbers = {"log_every": every, "evaluate_every": steps, "checkpoint_every": every}
    file = day.run_file(home, steps=steps, engine=engine, deterministic=True, **numbers)
    seconds("train", "--config", file, "--out", str(home / "whole"))
    step = killed(["train", "--config", file, "--out", str(home / "killed")], home / "killed")
    seconds("resume", str(home / "killed"))
    if differing := compared(home / "whole", home / "killed"):
        raise RuntimeError(f"killed after step {step} and resumed, {differing} differ")
    return {"killed after step": step, "of": steps, "metrics and weights": "equal bit for bit"}


def killed(arguments: list[str], run: Path) -> int:
    """Start the command and kill it as soon as its run has a checkpoint. Returns the newest checkpoint's step."""
    with subprocess.Popen(
        [sys.executable, "-m", "mixzoo", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while process.poll() is None and not list(run.glob("checkpoints/step-*")):
                sleep(0.005)
        finally:
            process.kill()
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the run ended with {process.returncode} before it could be killed")
    return max(int(path.name.removeprefix("step-")) for path in run.glob("checkpoints/step-*"))


def sweep(day: Day) -> Iterator[Cell]:
    """Runs on one GPU: one run alone, four at once, and four at once under NVIDIA's MPS."""
    seeds = "0,1" if day.quick else "0,1,2,3"
    steps = 10 if day.quick else 3000
    several = ["--seeds", seeds, "--jobs", str(len(seeds.split(",")))]
    env = dict(os.environ)
    if day.device == "cuda":  # no index given: only the first GPU that this process may use
        env["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    with TemporaryDirectory() as temporary:
        home = Path(temporary)
        file = day.run_file(home, steps=steps, evaluate_every=steps, checkpoint_every=steps, log_every=min(steps, 100))
        kinds = {
            "one run": [],
            f"{several[-1]} at once": several,
            f"{several[-1]} at once, MPS": [*several, "--on", "local:mps=true"],
        }
        for i, (name, more) in enumerate(kinds.items()):
            if "MPS" in name and not day.on_gpu:
                yield {"runs": name, "seconds": NEEDS_GPU}
            elif "MPS" in name and not shutil.which(CONTROL):
                yield {"runs": name, "seconds": f"{CONTROL} is not installed here"}
            else:
                command = ["train", "--config", file, *more, "--out", str(home / str(i))]
                yield attempted({"runs": name}, partial(timed, env, command))


def timed(env: Mapping[str, str], command: list[str]) -> Cell:
    return {"seconds": f"{seconds(*command, env=env):.1f}"}
