"""A run file for each picture of faces and shoes in AMR (Figures 5, 7 to 11, 13): the folder figures of zoo_configs.

    python benchmarks/figure_presets.py            write the files anew
    python benchmarks/figure_presets.py --table    print the table of figures for zoo_configs/README.md

The paper states little of these runs: λ and β of Figure 13, the attributes of Figure 5, and the optimiser of all. The
rest is chosen here, and the header of each file says so.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mixzoo.registry.config import RunConfig, resolve
from mixzoo.registry.zoo import Zoo, load_zoo

HOME = Path(__file__).parents[1] / "zoo_configs" / "figures"
STEPS = 2**24 // 64  # of 64 images, the budget of ACAI's authors (Berthelot et al. 2019) for photos of this size
SHOES = "data/ut-zap50k-images-square"  # as the archive of UT-Zappos50K unpacks

CELEBA = "celeba:size=64,attributes=Male+Heavy_Makeup+Wearing_Lipstick"
ZAPPOS = f'folder:path="{SHOES}",size=64,mode=rgb'
ZAPPOS_HQ = f'folder:path="{SHOES}",size=128,mode=rgb'


@dataclass(frozen=True)
class Preset:
    """A run of one or more figures."""

    name: str
    figures: str  # that show it
    title: str
    dataset: str
    mixer: str
    objective: str
    depth: int = 64  # ACAI's authors took 64 feature maps for CelebA; the paper's network for it is not published


PRESETS = [
    Preset(
        "celeba_label",
        "5",
        "supervised AMR",
        CELEBA,
        "label",
        "amr_supervised:lam=50,recon=l2,mixer=mixup",
    ),
    *(
        preset
        for data, spec, mixup, bernoulli in (("zappos", ZAPPOS, "7", "8"), ("celeba", CELEBA, "9", "10"))
        for preset in (
            Preset(f"{data}_aegan", f"{mixup}, {bernoulli}", "AE+GAN", spec, "mixup", "aegan:lam=50,recon=l2"),
            Preset(f"{data}_acai", mixup, "ACAI", spec, "mixup", "acai"),
            Preset(
                f"{data}_mixup",
                mixup + (", 13" if data == "celeba" else ""),
                "AMR, mixup",
                spec,
                "mixup",
                "amr:lam=50,recon=l2",
            ),
            Preset(f"{data}_bernoulli", bernoulli, "AMR, Bernoulli", spec, "bernoulli", "amr:lam=50,recon=l2"),
        )
    ),
    Preset("zappos_hq_bernoulli", "11", "AMR, Bernoulli", ZAPPOS_HQ, "bernoulli", "amr:lam=50,recon=l2", depth=32),
    Preset("celeba_mixup_beta50", "13", "AMR, mixup, β = 50", CELEBA, "mixup", "amr:lam=50,recon=l2,beta=50"),
]


def config_of(zoo: Zoo, preset: Preset) -> RunConfig:
    """The run of a preset."""
    flags = {
        "dataset": preset.dataset,
        "autoencoder": f"amr:latent=64,depth={preset.depth}",
        "discriminator": f"amr:depth={preset.depth}",
        "mixer": preset.mixer,
        "objective": preset.objective,
    }
    numbers: dict[str, object] = {
        "steps": STEPS,
        "batch_images": 64,
        "lr": 1e-4,
        "probe_lr": 1e-4,
        "beta1": 0.5,
        "beta2": 0.99,
        "weight_decay": 1e-5,
        "log_every": 100,
        "evaluate_every": 5000,
        "checkpoint_every": 5000,
    }
    config = resolve(zoo, None, flags, numbers)
    metrics = ["reconstruction", *(["conditioned_labels"] if preset.mixer == "label" else [])]
    parts = tuple((zoo.canonical("metric", spec), zoo.recipe("metric", spec)) for spec in metrics)
    return RunConfig(config.names, config.parts, parts, config.train)


def header(preset: Preset) -> str:
    """The comment at the top of the file."""
    some = "Figures" if "," in preset.figures else "Figure"
    return (
        f"# AMR, {some} {preset.figures}: {preset.title}. The paper has no numbers for it.\n"
        "# zoo_configs/README.md says what the paper states of this run, and what is chosen here.\n"
    )


def files() -> Iterator[tuple[Path, str]]:
    """Every file and its text."""
    zoo = load_zoo()
    for preset in PRESETS:
        yield HOME / f"{preset.name}.toml", header(preset) + config_of(zoo, preset).to_toml()


def table() -> Iterator[str]:
    """The lines of the table of figures."""
    yield "| figure | data | system | file, in `figures/` |"
    yield "|---|---|---|---|"
    for preset in PRESETS:
        data = {CELEBA: "CelebA, 64x64", ZAPPOS: "Zappos, 64x64", ZAPPOS_HQ: "Zappos-HQ, 128x128"}[preset.dataset]
        yield f"| {preset.figures} | {data} | {preset.title} | `{preset.name}.toml` |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true")
    if parser.parse_args().table:
        print("\n".join(table()))
        return
    HOME.mkdir(exist_ok=True)
    for path, text in files():
        path.write_text(text)


if __name__ == "__main__":
    main()
