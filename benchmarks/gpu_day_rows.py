"""The rows of gpu_day.py. Each yields its cells one by one; a failed cell says why, and the next one still runs."""

import gc
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import checks as check_script
import draws as draws_script
import step as step_script
from cases import LAYER_BY_LAYER, METHODS, VARIANTS, ZOO, Case
from gpu_day_runs import NEEDS_GPU, Cell, Day, attempted, readme, resumed, sweep
from mixzoo.benchmark.counting import counted
from mixzoo.benchmark.steps import read, stepper
from mixzoo.benchmark.table import machine, measured
from mixzoo.benchmark.timing import interleaved
from mixzoo.data.placement import LoadedData
from mixzoo.evaluation.pictures import views
from mixzoo.evaluation.pictures.grid import save_png
from mixzoo.registry.config import RunConfig
from mixzoo.training.devices import pick_device
from mixzoo.training.learning_rate import SCHEDULED
from mixzoo.training.picture_writer import PictureWriter
from mixzoo.training.step import parameters_of
from mixzoo_launchers.mps import CONTROL
from scaling import NESTED

TOLERANCE = 1e-2  # of a reported term after `Day.steps` steps, relative, or absolute below 1

# Every objective with the parts that it needs, and every mixer; a test compares the names with the installed parts.
OBJECTIVES: dict[str, dict[str, str]] = {
    "ae": {},
    "dae": {},
    "aegan": {},
    "amr": {},
    "amr:gan=ls": {},
    "amr:gan=hinge": {},
    "amr:r1=1": {},
    "amr:beta=0.5": {},
    "amr:dropout=0.1": {},
    "amr_supervised": {"mixer": "label"},
    "acai": {},
    "acai:variant=amr": {},
    "gaia": {"discriminator": "autoencoding"},
    "vae": {"autoencoder": "vae"},
    "vae:likelihood=bernoulli": {"autoencoder": "vae"},
    "aae": {"discriminator": "codes"},
    "wgangp": {},
    "vqvae": {"autoencoder": "vq"},
}
MIXERS = [NESTED.get(entry.name, entry.name) for entry in ZOO.of_kind("mixer")]


def device_and_versions(day: Day) -> Iterator[Cell]:
    """The device and the installed software, one cell each."""
    device = pick_device(day.device)
    found = machine(device, torch.get_num_threads())
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        found |= {"capability": f"{gpu.major}.{gpu.minor}", "memory": f"{gpu.total_memory / 1e9:.0f} GB"}
        found |= {"CUDA of torch": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
        found["bf16"] = torch.cuda.is_bf16_supported()
    found[CONTROL] = shutil.which(CONTROL) is not None
    for name, value in found.items():
        yield {"what": name, "value": str(value)}


def objectives(day: Day) -> Iterator[Cell]:
    """Every objective: twenty steps of the graph engine compared with the eager one."""
    yield from agreements(day, [{"objective": spec, "mixer": "mixup"} | flags for spec, flags in OBJECTIVES.items()])


def mixers(day: Day) -> Iterator[Cell]:
    """Every mixer, with the objective `amr`."""
    yield from agreements(day, [{"objective": "amr", "mixer": spec} for spec in MIXERS])


def agreements(day: Day, several: list[dict[str, str]]) -> Iterator[Cell]:
    """How far the graph engine is from the eager one, and for scale how far the eager one is from itself."""
    placed = read(day.config({}), pick_device(day.device))
    for flags in several:
        cell: Cell = {name: flags[name] for name in ("objective", "mixer")}
        yield attempted(cell, partial(agreement, day, flags, placed))


def agreement(day: Day, flags: Mapping[str, str], placed: LoadedData) -> Cell:
    """The largest difference of a reported term. Raises RuntimeError if it exceeds TOLERANCE."""
    eager = reports(day.config(flags, engine="eager", precision="fp32"), placed, day.steps)
    again = furthest(reports(day.config(flags, engine="eager", precision="fp32"), placed, day.steps), eager)
    found: Cell = {"eager again": f"{again:.1e}", "graph": NEEDS_GPU, "tolerance": f"{TOLERANCE:.0e}"}
    differences = [again]
    if day.on_gpu:
        far = furthest(reports(day.config(flags, engine="graph", precision="fp32"), placed, day.steps), eager)
        found["graph"] = f"{far:.1e}"
        differences.append(far)
    if not all(far <= TOLERANCE for far in differences):  # a NaN fails too
        raise RuntimeError(f"after {day.steps} steps: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    return found


def reports(config: RunConfig, placed: LoadedData, steps: int) -> list[dict[str, float]]:
    """The terms that each step reports, and the norm of each player's weights after it."""
    with stepper(ZOO, config, placed) as step:
        found = []
        for _ in range(steps):
            found.append({name: value.item() for name, value in step().items()})
            for player, optimiser in step.players.optimisers.items():
                weights = torch.cat([p.detach().flatten() for p in parameters_of(optimiser)])
                found[-1][f"weights of {player}"] = weights.norm().item()
        return found


def furthest(found: list[dict[str, float]], expected: list[dict[str, float]]) -> float:
    """The largest difference, relative, or absolute below 1; NaN if any value is NaN."""
    differences = [
        abs(one[name] - value) / max(1.0, abs(value))
        for one, own in zip(found, expected)
        for name, value in own.items()
    ]
    return max(differences, key=lambda value: float("inf") if value != value else value)


def step_times(method: str, engines: tuple[str, ...], day: Day) -> Iterator[Cell]:
    """Times of a step of the method by engine and precision, each interleaved with the plain trainer."""
    data = None
    for batch in day.batches:
        case = day.case(method, batch)
        data = data or case.data()
        for engine in engines:
            for precision in ("fp32", "tf32", "bf16"):
                cell: Cell = {"method": method, "batch": batch, "engine": engine, "precision": precision}
                if not day.on_gpu and (engine.startswith("graph") or precision == "tf32"):
                    yield cell | {"of the plain trainer": NEEDS_GPU}
                else:
                    yield attempted(cell, partial(against_plain, day, case, f"{engine} {precision}", data))


def against_plain(day: Day, case: Case, variant: str, data: LoadedData) -> Cell:
    repeats, each = (2, 1) if day.quick else (5, 4)
    device = pick_device(day.device)
    times = step_script.times_of(case, [variant], data, repeats, None, each=each)
    plain, found = step_script.rows_of(case, times, device)
    return {
        "of the plain trainer": step_script.three(found["of_plain"], 2),
        "ms": step_script.three(found["wall_ms"], 2),
        "plain, ms": f"{plain['wall_ms'][1]:.2f}",
        "images/s": f"{found['images_per_second']:.0f}",
    }


def finite_checks(day: Day) -> Iterator[Cell]:
    """The check of each step: what it and clipping cost, and that no weight moves after a number that is not finite."""
    for engine in ("eager", "graph"):
        cell: Cell = {"engine": engine}
        if engine == "graph" and not day.on_gpu:
            yield cell | {"the check": NEEDS_GPU}
        else:
            yield attempted(cell, partial(finite_check, day, engine))


def finite_check(day: Day, engine: str) -> Cell:
    repeats, each = (2, 1) if day.quick else (20, 8)
    size = list(check_script.SIZES)[-1 if day.quick else 0]
    row = check_script.measured(size, day.device, engine, repeats, each)
    cost = {name: check_script.three(spread, 4) for name, spread in row.of_unchecked.items()}
    return {"networks": size, **cost, "stops at step": stopped_at(day, engine)}


def stopped_at(day: Day, engine: str) -> int:
    """The step at which a run stops whose fifth step finds a NaN. Raises RuntimeError if a weight moves after it."""
    with stepper(ZOO, day.config({"objective": "amr"}, engine=engine)) as step:
        check = step.players.finite
        check.deferred = True  # as it is on a GPU
        for _ in range(4):
            step()
        with torch.no_grad():
            next(step.players.autoencoder.parameters()).view(-1)[0] = torch.nan  # type: ignore[attr-defined]
        before = [p.detach().clone() for o in step.players.optimisers.values() for p in parameters_of(o)]
        for _ in range(3):
            step()
        after = [p.detach() for o in step.players.optimisers.values() for p in parameters_of(o)]
        if not all(torch.equal(one.nan_to_num(), two.nan_to_num()) for one, two in zip(before, after)):
            raise RuntimeError("weights moved after a number that is not finite")
        if not check.is_bad or check.newest_step != 5:
            raise RuntimeError(f"a NaN in the fifth step was found in step {check.newest_step}")
        return check.newest_step


def spectral_norms(day: Day) -> Iterator[Cell]:
    """A step with spectral norm of all layers at once, and layer by layer, each interleaved with the plain trainer."""
    case = day.case("AMR k=2")
    data = case.data()
    for engine in ("eager", "graph"):
        for how, variant in {"at once": f"{engine} fp32", LAYER_BY_LAYER: f"{engine} fp32, {LAYER_BY_LAYER}"}.items():
            cell: Cell = {"engine": engine, "spectral norm": how.removeprefix("spectral norm ")}
            if engine == "graph" and not day.on_gpu:
                yield cell | {"of the plain trainer": NEEDS_GPU}
            else:
                yield attempted(cell, partial(against_plain, day, case, variant, data))


def draws(day: Day) -> Iterator[Cell]:
    """Draws made in the training thread, and ahead of it in another one."""
    engine = "graph" if day.on_gpu else "eager"
    for mixer in ("mixup", "channel:k=3"):
        yield attempted({"mixer": mixer, "engine": engine}, partial(drawn, day, mixer, engine))


def drawn(day: Day, mixer: str, engine: str) -> Cell:
    steps, repeats = (4, 2) if day.quick else (200, 5)
    with stepper(ZOO, day.config({"objective": "amr", "mixer": mixer}, engine=engine)) as step:
        return dict(draws_script.columns(draws_script.turns_of(step, steps), repeats))


def pictures(day: Day) -> Iterator[Cell]:
    """Steps with a picture, drawn before them or, in another thread, beside them, relative to steps without one."""
    yield attempted({"engine": "graph" if day.on_gpu else "eager"}, partial(pictured, day))


def pictured(day: Day) -> Cell:
    steps, repeats = (2, 2) if day.quick else (50, 9)
    config = day.config({"objective": "amr"}, engine="graph" if day.on_gpu else "eager")
    with stepper(ZOO, config) as step, TemporaryDirectory() as folder:
        split, players = step.loop.data.test, step.players

        def decode(number: int) -> Callable[[], None]:
            draw = views.mixes_to_draw(players.autoencoder, players.mixer, split, str(step.device))

            def write() -> None:
                save_png(draw(), Path(folder) / "picture.png")

            return write

        def a_picture_and_steps(writer: PictureWriter | None) -> None:
            if writer is not None:
                writer.write(step.done)
            for _ in range(steps):
                step()
            if writer is not None:
                writer.wait()

        with (
            PictureWriter(step.device, decode, beside=False) as between,
            PictureWriter(step.device, decode, beside=True) as beside,
        ):
            writers = {"no picture": None, "between the steps": between, "beside them": beside}
            ways = {name: partial(a_picture_and_steps, writer) for name, writer in writers.items()}
            times = interleaved(ways, step.device, repeats=repeats)
        bare = times.pop("no picture").wall
        cell: Cell = {f"ms of {steps} steps": draws_script.three([1e3 * seconds for seconds in bare])}
        for name, found in times.items():
            cell[name] = draws_script.three([one / other for one, other in zip(found.wall, bare)], 2)
        return cell


def rates(day: Day) -> Iterator[Cell]:
    """A learning rate that rises: whether the weights of a recorded step move as far as those of the eager one."""
    engines = ("eager", "graph") if day.on_gpu else ("eager",)
    eager: list[float] = []
    for engine in engines:
        yield attempted({"engine": engine}, partial(rate_check, day, engine, eager))
    if not day.on_gpu:
        yield {"engine": "graph", "of the eager step's move": NEEDS_GPU}


def rate_check(day: Day, engine: str, eager: list[float]) -> Cell:
    """How far weights move in steps of a warm-up, of those of the first call, which `eager` keeps.

    Raises RuntimeError if they do not follow the rate.
    """
    steps, moves = 8, list[float]()
    config = day.config({"objective": "amr"}, engine=engine, precision="fp32", warmup=steps)
    with stepper(ZOO, config) as step:
        followers = [step.players.optimisers[name] for name in SCHEDULED]
        for _ in range(steps):
            before = [p.detach().clone() for optimiser in followers for p in parameters_of(optimiser)]
            step()
            after = [p.detach() for optimiser in followers for p in parameters_of(optimiser)]
            moves.append(torch.stack([(one - two).norm() for one, two in zip(before, after)]).norm().item())
    if engine != "eager" and not eager:
        raise RuntimeError("there is no eager step to compare with")
    eager[:] = eager or moves
    of_eager = [here / there for here, there in zip(moves, eager)]
    found: Cell = {"of the eager step's move": f"{min(of_eager):.3f} to {max(of_eager):.3f}"}
    found["last of first"] = f"{moves[-1] / moves[0]:.1f}"
    if not (max(abs(ratio - 1) for ratio in of_eager) < 0.1 and moves[-1] > 2 * moves[0]):
        raise RuntimeError(f"the rate is not followed: {', '.join(f'{name} {value}' for name, value in found.items())}")
    return found


def kernels(day: Day) -> Iterator[Cell]:
    """Kernels of a step, and its time relative to the least possible on the device."""
    engines = ("eager", "graph") if day.on_gpu else ("eager",)
    for method in ["AMR k=2"] if day.quick else METHODS:
        for engine in engines:
            numbers: dict[str, object] = {"engine": engine}
            config = day.case(method).config(replace(VARIANTS["ours"], numbers=numbers))
            yield attempted({"method": method, "engine": engine}, partial(kernels_of, day, config))
    if not day.on_gpu:
        yield {"method": "AMR k=2", "engine": "graph", "launched": NEEDS_GPU}


def kernels_of(day: Day, config: RunConfig) -> Cell:
    (row,) = measured(ZOO, [("", config)], repeats=2 if day.quick else 3)
    return {
        "launched": f"{row.launched} {'kernels' if day.on_gpu else 'operations'}",
        "ms": f"{row.wall_ms.median:.2f}",
        "floor, ms": f"{row.floor_ms:.2f} ({row.floor_limit})",
        "of the floor": f"{row.of_floor:.2f}",
        "GFLOP/s": f"{row.gflop_per_second:.0f}",
    }


def recompute(day: Day) -> Iterator[Cell]:
    """Peak memory of a step with --recompute and without."""
    without: dict[str, float] = {}
    for variant in ("ours", "recompute"):

        def work(variant: str = variant) -> Cell:
            peak = without.setdefault("peak", peak_mb(day, variant)) if variant == "ours" else peak_mb(day, variant)
            return {"peak, MB": f"{peak:.1f}", "of without": f"{peak / without['peak']:.2f}"}

        yield attempted({"engine": "eager", "--recompute": "on" if variant == "recompute" else "off"}, work)


def peak_mb(day: Day, variant: str) -> float:
    """The most MB that the allocator held, weights and data included; on a CPU, of the tensors of one step.

    Steps are eager: a captured step is first checked, and the peak would be that of the check.
    """
    case = day.case("AMR k=2", None if day.quick else 256)
    config = case.config(replace(VARIANTS[variant], numbers=VARIANTS[variant].numbers | {"engine": "eager"}))
    if not day.on_gpu:
        with stepper(ZOO, config) as step:
            step()
            return counted(step).peak_bytes / 1e6
    pick_device(day.device)  # the allocator has no statistics before a device is used
    gc.collect()  # reference cycles left by the previous cell
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with stepper(ZOO, config) as step:
        for _ in range(5):
            step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / 1e6


@dataclass(frozen=True)
class Row:
    """One table of the day; `least` is the least time it takes on a GPU: with less time left it is not started."""

    name: str
    title: str
    cells: Callable[[Day], Iterator[Cell]]
    least: float = 10.0  # seconds
    limit: float = 120.0  # seconds, after which it is stopped
    quick: bool = True  # whether a quick day includes it


def slug(method: str) -> str:
    return re.sub(r"[^a-z0-9]", "", method.lower())


def times_row(method: str) -> Row:
    cells, title = partial(step_times, method, ("eager", "graph")), f"Step times: {method}"
    return Row(f"steps-{slug(method)}", title, cells, quick=method != "AMR k=3")  # k=2 and k=8 cover it


def compile_row(method: str) -> Row:
    """Compiling takes most of a minute per precision and batch size (several on a CPU), hence the limit."""
    cells = partial(step_times, method, ("graph+compile", "compile"))
    title = f"Step times, compiled: {method}"
    return Row(f"compile-{slug(method)}", title, cells, least=30, limit=600, quick=False)


ROWS = [  # most important first
    Row("device", "Device and versions", device_and_versions, least=3, limit=60),
    Row("readme", "README's first command", readme),
    Row("objectives", "Graph against eager: objectives", objectives),
    Row("mixers", "Graph against eager: mixers", mixers),
    Row("resume", "Killed and resumed under --deterministic", resumed, limit=150),
    *(times_row(method) for method in ("AMR k=2", "AE+GAN", "ACAI")),
    Row("finite", "The check of numbers, and clipping, of a step without", finite_checks),
    Row("spectral", "Spectral norm of all layers at once, and layer by layer", spectral_norms),
    Row("draws", "Draws in the training thread, and made ahead", draws),
    Row("pictures", "Steps with a picture, drawn between or beside them, relative to steps without", pictures),
    Row("rates", "A learning rate that rises, in eight steps of a warm-up", rates),
    Row("kernels", "Kernels of a step, and the floor", kernels),
    Row("recompute", "--recompute's memory", recompute),
    Row("sweep", "Runs at once on one device", sweep, least=30),
    *(times_row(method) for method in ("AMR k=3", "AMR k=8")),
    *(compile_row(method) for method in ("AMR k=2", "AE+GAN", "ACAI", "AMR k=3", "AMR k=8")),
]
