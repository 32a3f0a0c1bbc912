"""Short seeded runs and their exact numbers, to show that a change of the code changes no result.

    .venv/bin/python benchmarks/same_numbers.py before.json        # in the tree before the change (one minute)
    .venv/bin/python benchmarks/same_numbers.py after.json         # in the tree after it, on the same machine
    python benchmarks/same_numbers.py --compare before.json after.json

What is measured is the mixzoo that the interpreter imports, so one copy of this script serves both trees; it uses only
the command line and the files of a run's directory. Every objective runs with mixup, every mixer with amr, and further
runs have the other settings of a step: 20 steps on digits, seed 1, on the CPU in one thread. Kept of a run are all
numbers of metrics.jsonl but times, its scores, and the SHA-256 of each tensor of the last checkpoint and of the
picture. --compare prints a row for each run, and ends with 1 if any of these differs or if a run failed or is missing
in the second file; a run that only the second file has is named. --only NAME ... takes some of the runs.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported

STEPS = 20
SMALL = ("--autoencoder", "amr:depth=4", "--discriminator", "amr:depth=4")
SETTINGS = ("--seed", "1", "--steps", str(STEPS), "--batch-images", "12", "--device", "cpu", "--threads", "1")
FILES = ("--log-every", "1", "--evaluate-every", str(STEPS), "--checkpoint-every", str(STEPS))
TIMES = ("elapsed_seconds", "images_per_second")

OBJECTIVES: dict[str, tuple[str, ...]] = {
    "ae": SMALL,
    "ae:recon=bce,dropout=0.5": SMALL,
    "dae": SMALL,
    "dae:noise=0.5,dropout=0.2": SMALL,
    "vae": ("--autoencoder", "vae:depth=4"),
    "vae:beta=4,likelihood=bernoulli": ("--autoencoder", "vae:depth=4"),
    "aegan": SMALL,
    "aegan:gan=ls,recon=l2,r1=1,dropout=0.3": SMALL,
    "amr": SMALL,
    "amr:beta=0.5,r1=1": SMALL,
    "amr:gan=hinge,dropout=0.5": SMALL,
    "amr_supervised": SMALL,
    "amr_supervised:mixer=(dirichlet:k=3),beta=0.5,r1=1": SMALL,
    "acai": SMALL,
    "acai:beta=0.5,r1=1": SMALL,
    "acai:variant=amr,lam=20": SMALL,
    "acai:variant=amr,beta=0.5,r1=1": SMALL,
    "gaia": ("--autoencoder", "acai:depth=4", "--discriminator", "autoencoding:depth=4"),
    "gaia:beta=0.5": ("--autoencoder", "acai:depth=4", "--discriminator", "autoencoding:depth=4"),
    "aae": ("--autoencoder", "acai:depth=4", "--discriminator", "codes:hidden=16"),
    "wgangp": SMALL,
    "vqvae": ("--autoencoder", "vq:depth=4,entries=16"),
}
MIXERS = (
    "mixup",
    "mixup:law=gaia",
    "dirichlet",
    "dirichlet:k=5,alpha=0.5",
    "slerp",
    "channel",
    "channel:k=3",
    "spatial",
    "spatial:k=3,alpha=2",
    "bernoulli",
    "bernoulli:k=3,p=0.4",
    "cutmix",
    "cutmix:k=3,border=wrap",
    "dropblock",
    "dropblock:k=3,block=3,p=0.4",
    "fmix",
    "fmix:k=3,decay=2",
    "grid",
    "grid:k=3,cells=3,p=0.4",
    "label",
    "label:k=3,gradient=relaxed,temperature=0.5,sees=mix",
    "network",
    "network:k=3",
    "one_of:a=mixup,b=bernoulli",
    "one_of:a=(dirichlet:k=3),b=slerp,c=label,p=0.2",
    "chain:a=bernoulli,b=mixup",
    "schedule:a=mixup,b=(bernoulli:k=3),start=0.2,end=0.8",
)
FURTHER: dict[str, tuple[str, ...]] = {
    "default networks": (),
    "acai networks, three D-steps": (
        *("--autoencoder", "acai:depth=4", "--discriminator", "acai:depth=4", "--d-steps", "3"),
        *("--mixer", "dirichlet", "--objective", "amr:beta=0.5,r1=1"),
    ),
    "mlp networks": ("--autoencoder", "mlp:latent=6,hidden=16", "--discriminator", "mlp"),
    "few labels": (
        *SMALL,
        *("--labelled-images", "300", "--mixer", "label", "--objective", "amr_supervised:mixer=bernoulli"),
    ),
    "recompute": (*SMALL, "--recompute", "--mixer", "bernoulli", "--objective", "amr:beta=0.5,r1=1"),
    "bf16": (*SMALL, "--precision", "bf16"),
    "supervised by label, one mix": (*SMALL, "--mixer", "label", "--objective", "amr_supervised"),
    "dropout, three D-steps": (*SMALL, "--d-steps", "3", "--objective", "amr:dropout=0.5"),
    "acai, dirichlet of 4": (*SMALL, "--mixer", "dirichlet:k=4", "--objective", "acai:beta=0.1"),
    "gaia, its own law": (
        *("--autoencoder", "acai:depth=4", "--discriminator", "autoencoding:depth=4"),
        *("--mixer", "mixup:law=gaia", "--objective", "gaia"),
    ),
}


def all_runs() -> dict[str, tuple[str, ...]]:
    """The flags of every run by its name."""
    return {
        **{f"{it} x mixup": ("--objective", it, "--mixer", "mixup", *more) for it, more in OBJECTIVES.items()},
        **{f"amr x {it}": ("--objective", "amr", "--mixer", it, *SMALL) for it in MIXERS if it != "mixup"},
        **FURTHER,
    }


def exact(value: Any) -> Any:
    """Floats as hexadecimal text, which has every bit; containers item by item."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return [exact(item) for item in value] if isinstance(value, list) else value


def tensors(checkpoint: Path) -> dict[str, str]:
    """SHA-256 of type, shape and bytes of every tensor, by file and name."""
    found = {}
    for file in sorted(checkpoint.glob("*.safetensors")):
        content = file.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")  # the header's length, then the header
        for name, entry in json.loads(content[8:start]).items():
            if name != "__metadata__":
                first, end = entry["data_offsets"]
                described = f"{entry['dtype']} {entry['shape']}".encode()
                found[f"{file.stem}: {name}"] = hashlib.sha256(
                    described + content[start + first : start + end]
                ).hexdigest()
    return found


def numbers_of(run_dir: Path) -> dict[str, Any]:
    """Everything of a finished run that has to stay the same."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return {
        "metrics": exact([{key: value for key, value in line.items() if key not in TIMES} for line in lines]),
        "scores": exact(json.loads((run_dir / "results.json").read_text())["numbers"]),
        "tensors": tensors(run_dir / "checkpoints" / f"step-{STEPS:08}"),
        "picture": {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(run_dir.glob("pictures/*.png"))
        },
    }


def train(flags: tuple[str, ...], run_dir: Path) -> dict[str, Any]:
    """The numbers of `mixzoo train` with these flags, in this process; of one that fails its last line."""
    from mixzoo.__main__ import main as mixzoo

    before = sys.argv, signal.getsignal(signal.SIGINT)
    sys.argv = ["mixzoo", "train", *SETTINGS, *FILES, *flags, "--out", str(run_dir)]
    printed = [TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    try:
        with redirect_stdout(printed[0]), redirect_stderr(printed[1]):
            mixzoo()
    except SystemExit as end:
        if end.code:
            printed[1].seek(0)
            return {"failed": f"exit code {end.code}: {printed[1].read().strip().splitlines()[-1:]}"}
    finally:
        sys.argv = before[0]
        signal.signal(signal.SIGINT, before[1])
    return numbers_of(run_dir)


def measure(file: Path, only: list[str] | None) -> bool:
    """Write the numbers of the runs to a file; True if none failed."""
    import torch

    import mixzoo

    print(f"mixzoo in {Path(mixzoo.__file__).parent}", file=sys.stderr)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, flags) in enumerate(all_runs().items()):
            if only is None or name in only:
                found[name] = train(flags, Path(folder) / str(number))
                print(f"{name}: {found[name].get('failed', 'done')}", file=sys.stderr)
    machine = {"torch": torch.__version__, "instructions": torch.backends.cpu.get_cpu_capability()}
    file.write_text(json.dumps({"machine": machine, "runs": found}, indent=1) + "\n")
    return not any("failed" in numbers for numbers in found.values())


RENAMED = {  # terms of the log that have another name since, old -> new
    "autoencoder/surprise": "autoencoder/negative_log_likelihood",
    "autoencoder/redraw_fakes": "autoencoder/reconstruct_fakes",
    "discriminator/redraw_real": "discriminator/reconstruct_real",
}


def with_new_names(numbers: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a run with its terms under the names that they have now."""
    lines = [{RENAMED.get(key, key): value for key, value in line.items()} for line in numbers.get("metrics", [])]
    return {**numbers, "metrics": lines} if lines else numbers


def difference(before: Any, after: Any, where: str = "") -> str | None:
    """The first place where two values differ, with both, or None."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            if key not in before or key not in after:
                return f"{where}{key} only {'before' if key in before else 'after'}"
            if found := difference(before[key], after[key], f"{where}{key}: "):
                return found
        return None
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            if found := difference(*pair, f"{where}line {number + 1}: "):
                return found
        return None
    return None if before == after else f"{where}{before} and {after}"


def compare(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Print a table with a row for each run; True if the second file has every run of the first, with its numbers."""
    if before["machine"] != after["machine"]:
        print(f"not the same machine or torch: {before['machine']} and {after['machine']}\n")
    print("| run | numbers | tensors | |\n|---|---|---|---|")
    same = True
    for name, numbers in before["runs"].items():
        other = after["runs"].get(name)
        if other is None:
            verdict = "missing after"
        elif "failed" in numbers or "failed" in other:
            verdict = f"before: {numbers.get('failed', 'done')}; after: {other.get('failed', 'done')}"
        else:
            verdict = difference(with_new_names(numbers), with_new_names(other)) or "the same"
        count = sum(len(line) for line in numbers.get("metrics", [])) + len(numbers.get("scores", ()))
        print(f"| {name} | {count} | {len(numbers.get('tensors', ()))} | {verdict} |")
        same = same and verdict == "the same"
    for name in after["runs"].keys() - before["runs"].keys():
        print(f"| {name} | | | only after |")
    return same


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", type=Path, nargs="?", help="where the numbers go, as JSON")
    what.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of runs, as --compare prints them")
    arguments = parser.parse_args()
    if arguments.compare:
        before, after = (json.loads(file.read_text()) for file in arguments.compare)
        sys.exit(not compare(before, after))
    if unknown := set(arguments.only or ()) - all_runs().keys():
        parser.error(f"no such run: {', '.join(sorted(unknown))}; there are {', '.join(all_runs())}")
    sys.exit(not measure(arguments.file, arguments.only))


if __name__ == "__main__":
    main()
