"""Opens an existing run: its config, its data, and its networks from a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixzoo.core.data import Dataset
from mixzoo.core.errors import CheckpointError, ConfigError, excerpt, printable
from mixzoo.core.parts import Mixer
from mixzoo.data import placement
from mixzoo.registry.building import build_part, check_takes_codes
from mixzoo.registry.config import RunConfig, resolve
from mixzoo.registry.zoo import Zoo
from mixzoo.runs.changes import STEPS, changed
from mixzoo.runs.directory import OLD_SWEEP, is_there, last_committed
from mixzoo.runs.listing import RUN, SWEEP
from mixzoo.runs.provenance import changes, same_parts
from mixzoo.runs.reading import gone_checkpoint, read_past_environment, scored_step
from mixzoo.training.build import build_players
from mixzoo.training.checkpoint import check_modules, load_modules, load_step, modules_of, newest, saved
from mixzoo.training.checkpoint_manifest import Manifest
from mixzoo.training.devices import pick_device
from mixzoo.training.players import Players
from mixzoo.training.step import trainable
from mixzoo.training.trouble import out_of_memory_errors


@dataclass(frozen=True)
class Opened:
    """The config, data and networks of a run, as of one of its checkpoints."""

    config: RunConfig
    data: Dataset
    players: Players
    device: str
    step: int
    changed: list[str]  # a warning for each damaged checkpoint, and for each plugin whose version has changed


def open_run(zoo: Zoo, run_dir: Path, device: str = "auto") -> Opened:
    """Loads the data of a run and its networks, for pictures and scores.

    They are those of the newest checkpoint or, if a completed run ended with its best weights, those. Raises
    CheckpointError if the directory is not a run, or has no readable checkpoint.
    """
    zoo, config, changed_parts = open_config(zoo, run_dir)
    picked = pick_device(device)
    if not saved(run_dir / "checkpoints"):
        raise CheckpointError(f"{run_dir}: no checkpoint yet; train it further with `mixzoo resume {run_dir}`")
    with out_of_memory_errors(config.train):
        recipe, name = config.parts["dataset"], config.names["dataset"]
        data = placement.load_data(recipe, name, config.train, picked, fill_cache=False).data
        players = build_players(zoo, config, data, picked, restored=True)
        modules, step = modules_of(players), scored_step(run_dir)
        if step is not None and step != last_committed(run_dir):
            manifest = load_step(run_dir / "checkpoints", step, modules)
            edited = _edited(run_dir, config, manifest)
            return Opened(config, data, players, str(picked), step, [*changed_parts, *edited])
        checkpoint, state, manifest, damaged = newest(
            run_dir / "checkpoints", lambda state, manifest, where: check_modules(state, modules, where)
        )
        load_modules(state, modules, checkpoint)
    edited = _edited(run_dir, config, manifest)
    return Opened(config, data, players, str(picked), manifest.progress.step, [*damaged, *changed_parts, *edited])


def _edited(run_dir: Path, config: RunConfig, manifest: Manifest) -> list[str]:
    """A line for each value of run.toml that is not what the checkpoint was trained with."""
    if not manifest.run:
        return []
    before, _ = read_past_environment(run_dir)
    accepted, where = before.changes if before else [], f"{run_dir / RUN}"
    found = changed(manifest.run, manifest.progress.step, config, accepted, where)
    return [f"{printable(where)}: {change}" for change in found if change.key != STEPS]


def open_config(zoo: Zoo, run_dir: Path) -> tuple[Zoo, RunConfig, list[str]]:
    """Returns a zoo with the plugins that the run used, the config of the run, and a line for each changed plugin.

    Raises CheckpointError if the directory is not a run, if it is a sweep, or if a plugin of the run is missing.
    """
    exists = is_there(run_dir)
    if (run_dir / SWEEP).is_file():
        runs = sorted(path.parent for path in run_dir.glob(f"*/{RUN}"))
        raise CheckpointError(
            f"{run_dir}: it is a sweep; name one of its runs, such as {next(iter(runs), run_dir / 'RUN')}"
        )
    if (run_dir / OLD_SWEEP).is_file():
        raise CheckpointError(
            f"{run_dir}: a sweep of an older mixzoo; rename its {OLD_SWEEP} to {SWEEP}, then resume it"
        )
    if not (run_dir / RUN).is_file():
        reason = "has no run.toml, so it is not a run" if run_dir.is_dir() else "no such directory"
        reason = "it is a file, and a run is a directory" if exists and run_dir.is_file() else reason
        raise CheckpointError(f"{printable(str(run_dir))}: {reason}; `mixzoo train` makes one")
    before, problem = read_past_environment(run_dir)
    parts = before.parts if before else []
    zoo = same_parts(zoo, parts, str(run_dir))
    problems = [line for line in (problem, gone_checkpoint(run_dir)) if line]
    return zoo, resolve(zoo, run_dir / RUN, {}, {}), [*problems, *changes(zoo, parts)]


def build_mixer(run: Opened, recipe: Any, name: str) -> Mixer:
    """The mixer of this recipe, for this run's codes."""
    context = run.data.build_context(tuple(run.players.autoencoder.latent_shape))
    mixer: Mixer = build_part(recipe, "mixer", name, context, run.config.train.seed)
    return mixer


def other_mixer(zoo: Zoo, run: Opened, text: str, argument: str = "--mixer") -> Mixer:
    """The mixer of this spec, for this run's codes.

    Raises ConfigError, which begins with the `argument`, if the mixer does not take these codes or needs training.
    """
    spec, where = zoo.spec("mixer", text, argument), f"{argument} {excerpt(text)}"
    recipe = zoo.recipe("mixer", spec, where)
    mixer = build_mixer(run, recipe, spec.name)
    if trainable([mixer]):
        raise ConfigError(f"{where}: it is a learned mixer, and in this run only its own mixer was trained")
    check_takes_codes(zoo, spec.name, mixer, tuple(run.players.autoencoder.latent_shape), recipe)
    return mixer
