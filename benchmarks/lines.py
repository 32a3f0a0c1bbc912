"""ACAI's synthetic task: how smoothly each system goes from one line to another (Berthelot et al. 2019, Table 1).

    python benchmarks/lines.py [--steps 2000] [--seeds 0] [--systems ae acai ...] > benchmarks/results/lines.md

Every system has the same data, auto-encoder, steps and seeds (the encoder of the variational one has twice as many
outputs) and a squared error: an absolute error is smallest for a black image, since a line covers few pixels. The
critic of acai has no spectral norm; the discriminator of aegan and amr has it. D separates decoded lines from real ones
within some hundred steps. With the paper's loss (rows "js") its logits then saturate and the gradient of the
auto-encoder never vanishes, so the other rows use least squares, whose gradient vanishes once D is fooled. Distance and
smoothness are those of the metric line_interpolation; lower is better, and 0 is perfect. A second table has both by the
angle between the two ends, with the distance at the middle of the path.
"""

import argparse
import json
import os
import platform
from contextlib import ExitStack
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

from mixzoo.core.metric import FinishedRun
from mixzoo.registry.config import resolve
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import start
from mixzoo_metrics.lines import LineInterpolation, smoothness

SYSTEMS = {  # name: objective
    "ae": "ae",
    "dae": "dae",
    "vae": "vae",
    "aegan": "aegan:recon=l2,lam=50,gan=ls",
    "amr": "amr:recon=l2,lam=50,gan=ls",
    "acai": "acai",
    "amr js": "amr:recon=l2,lam=50",
    "amr js lam=200": "amr:recon=l2,lam=200",
    "amr js r1=10": "amr:recon=l2,lam=50,r1=10",
}
NETWORKS = {  # of --networks: auto-encoder, the same with a posterior, discriminator, critic of acai
    "acai": ("acai", "vae:norm=none,slope=0.2,border=0,output=linear", "amr:border=0", "acai"),
    "dsprites": ("dsprites", "dsprites:variational=true", "dsprites", "dsprites:power_iterations=0"),
}
RANGES = {"to 45°": (0.0, 45.0), "to 90°": (45.0, 90.0), "to 180°": (90.0, 181.0)}  # between the two ends
SCORES = ("line_interpolation.mean_distance", "line_interpolation.smoothness", "reconstruction.l2")


def scores(name: str, networks: str, options: str, numbers: dict[str, object], home: Path) -> dict[str, float]:
    """The scores of one run, which is trained unless it exists already."""
    plain, variational, discriminator, critic = (f"{net}{',' if ':' in net else ':'}" for net in NETWORKS[networks])
    flags = {
        "dataset": "lines",
        "autoencoder": (variational if name == "vae" else plain) + options,
        "discriminator": (critic if name == "acai" else discriminator) + options,
        "objective": SYSTEMS[name],
    }
    zoo = load_zoo()
    if not (home / "results.json").exists():
        start(zoo, resolve(zoo, None, {k: v.rstrip(":,") for k, v in flags.items()}, numbers), home)
    found: dict[str, float] = json.loads((home / "results.json").read_text())["numbers"]
    return found


def by_angle(home: Path) -> dict[str, tuple[float, float]]:
    """Per range of angles between the ends: distance at the middle of the path, and smoothness."""
    opened = open_run(load_zoo(), home)
    players, metric = opened.players, LineInterpolation()
    run = FinishedRun(players.autoencoder, players.mixer, opened.data, opened.config.train.seed, opened.device)
    distances, angles = metric.nearest_along(run)
    smooth, counts = smoothness(angles)
    apart = (angles[:, -1] - angles[:, 0]).rad2deg() % 360
    apart = apart.minimum(360 - apart)
    middle = distances[:, metric.steps // 2 - 1 : metric.steps // 2 + 1].mean(1)
    ranges = {name: counts & (apart >= low) & (apart < high) for name, (low, high) in RANGES.items()}
    return {name: (middle[k].mean().item(), smooth[k].mean().item()) for name, k in ranges.items()}


def angle_table(homes: dict[str, list[Path]]) -> str:
    """A row for each system, the mean over its seeds."""
    heads = [f"{what}, {name}" for what in ("distance", "smoothness") for name in RANGES]
    lines = [f"| system | {' | '.join(heads)} |", "|" + "---|" * (1 + len(heads))]
    for system, runs in homes.items():
        found = [by_angle(home) for home in runs]
        cells = [f"{mean(one[name][i] for one in found):.{4 - i}f}" for i in range(2) for name in RANGES]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(found: list[float | None]) -> str:
    """Mean and standard deviation over the seeds; a dash if a run lacks the score, because no path reached its end."""
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        return "-"
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--networks", choices=NETWORKS, default="acai")
    parser.add_argument("--options", default="depth=8", help="for both auto-encoder and discriminator, such as depth=8")
    parser.add_argument("--keep", type=Path, help="keep the runs here, and use those that exist")
    given = parser.parse_args()
    print(f"# Lines: mean distance and smoothness of interpolations, {date.today()}\n")
    print(f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPU cores; python {platform.python_version()},")
    print(f"torch {version('torch')}, mixzoo {version('mixzoo')}. {given.steps} steps of 64 images, seeds", end=" ")
    print(f"{', '.join(map(str, given.seeds))}. Printed by `benchmarks/lines.py`.")
    plain, variational, discriminator, critic = NETWORKS[given.networks]
    print(f"Auto-encoder `{plain}` (vae: `{variational}`), discriminator `{discriminator}` (acai: `{critic}`), all")
    objectives = ", ".join(f"`{SYSTEMS[name]}`" for name in given.systems)
    print(f"with `{given.options or 'no other options'}`. Objectives: {objectives}.\n")
    print("| system | mean distance | smoothness | reconstruction, mean squared |")
    print("|---|---|---|---|")
    with ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(TemporaryDirectory()))
        homes = {name: [folder / f"{name}-{seed}".replace(" ", "-") for seed in given.seeds] for name in given.systems}
        for name in given.systems:
            runs = []
            for seed, home in zip(given.seeds, homes[name]):
                numbers: dict[str, object] = {"seed": seed, "steps": given.steps, "evaluate_every": given.steps}
                runs.append(scores(name, given.networks, given.options, numbers, home))
            print(
                f"| {name} | " + " | ".join(cell([run.get(score) for run in runs]) for score in SCORES) + " |",
                flush=True,
            )
        print(
            f"\nBy the angle between the two ends, with the distance at the middle of the path:\n\n{angle_table(homes)}"
        )


if __name__ == "__main__":
    main()
