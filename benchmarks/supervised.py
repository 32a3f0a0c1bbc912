"""Do conditioned mixes have the requested label? Supervised AMR compared with an unconditioned Bernoulli mixer.

    python benchmarks/supervised.py [--data digits:attributes=even+large+loop] [--seeds 0 1 2] [--steps 800] ...

Both are trained for the same steps from the same seeds. A classifier trained on real images alone then labels decoded
mixes of test images (metric conditioned_labels) and decoded codes with a label's vector added (metric
label_arithmetic). `chance` is the accuracy of the sources' own labels.
"""

import argparse
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

SYSTEMS = {
    "label, supervised AMR": {"mixer": "label", "objective": "amr_supervised:mixer=(bernoulli)"},
    "label:sees=mix (the paper's), supervised AMR": {
        "mixer": "label:sees=mix",
        "objective": "amr_supervised:mixer=(bernoulli)",
    },
    "bernoulli, AMR (not conditioned)": {"mixer": "bernoulli", "objective": "amr"},
}
COLUMNS = ("accuracy", "chance_accuracy", "reconstruction_accuracy", "classifier_accuracy")


def scores(flags: dict[str, str], numbers: dict[str, object], home: Path, classifier_steps: int) -> dict[str, float]:
    """The scores of one run, which is trained unless it exists already."""
    zoo = load_zoo()
    if not (home / "results.json").exists():  # an existing run is scored again, not trained
        start(zoo, resolve(zoo, None, flags, numbers), home)
    run = open_run(zoo, home, "auto")
    finished = FinishedRun(run.players.autoencoder, run.players.mixer, run.data, int(str(numbers["seed"])), run.device)
    found = {}
    for metric in ("conditioned_labels", "label_arithmetic"):
        values = zoo.recipe("metric", f"{metric}:steps={classifier_steps}")(finished)
        found |= {f"{metric}.{name}": value for name, value in values.items()}
    return found


def cell(values: list[float]) -> str:
    """Mean and standard deviation over the seeds, in per cent."""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits:attributes=even+large+loop")
    parser.add_argument("--autoencoder")
    parser.add_argument("--discriminator")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--labelled-images", type=int)
    parser.add_argument("--classifier-steps", type=int, default=400)
    parser.add_argument("--only", nargs="+", default=list(SYSTEMS), help="systems, by the start of their names")
    parser.add_argument("--keep", type=Path, help="keep the runs here, and use those that exist")
    given = parser.parse_args()
    nets = {kind: getattr(given, kind) for kind in ("autoencoder", "discriminator") if getattr(given, kind)}
    print(f"## {given.data}, {given.steps} steps, seeds {' '.join(map(str, given.seeds))}, {date.today()}\n")
    print(f"{platform.machine()}, python {platform.python_version()}, torch {version('torch')},")
    extra = f", {given.labelled_images} labelled images" if given.labelled_images else ""
    print(f"mixzoo {version('mixzoo')}. Networks: {nets or 'the default ones'}{extra}. Per cent, mean ± deviation.\n")
    print(
        "| system | mixes with the requested label | chance | reconstructions right | real images right |",
        end="",
    )
    print(" label vector added | before |")
    print("|---|---|---|---|---|---|---|")
    with ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(TemporaryDirectory()))
        for name, flags in SYSTEMS.items():
            if not any(name.startswith(only) for only in given.only):
                continue
            rows = []
            for seed in given.seeds:
                numbers: dict[str, object] = {"seed": seed, "steps": given.steps, "evaluate_every": given.steps}
                if given.labelled_images and "supervised" in flags["objective"]:
                    numbers["labelled_images"] = given.labelled_images
                home = folder / f"{flags['mixer'].replace(':', '-')}-{seed}"
                rows.append(scores({"dataset": given.data} | nets | flags, numbers, home, given.classifier_steps))
            cells = [cell([row[f"conditioned_labels.{column}"] for row in rows]) for column in COLUMNS]
            cells += [
                cell([row[f"label_arithmetic.{column}"] for row in rows]) for column in ("accuracy", "before_accuracy")
            ]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print()


if __name__ == "__main__":
    main()
