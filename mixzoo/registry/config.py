"""The typed run file: one schema, one precedence (flag > file > default), unknown keys refused.

    metrics = ["logistic_regression", "reconstruction"]     specs, as on the command line

    [dataset]                     one table per part: its name, its options; a part inside a part is a table [mixer.a]
    name = "digits"

    mixer = "dirichlet:k=3"       or a spec in place of the table

    [train]                       numbers of the run, the fields of `Train`
    steps = 1000

A run file names registered parts only; it can never cause an import.

A data set may say what suits it where neither a flag nor a file does, in a class attribute of its recipe:

    run_defaults = {"autoencoder": "mlp", "metrics": ("mix_distance",), "train": {"steps": 2000}}
"""

import codecs
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from mixzoo.core.errors import (
    LONGEST_SHOWN,
    ConfigError,
    PluginError,
    excerpt,
    listing,
    nearest,
    path_excerpt,
    printable,
    truncated_repr,
)
from mixzoo.registry.kinds import KINDS
from mixzoo.registry.options import build, options_of, to_table
from mixzoo.registry.recipes import run_defaults
from mixzoo.registry.spec import Spec, parse_spec
from mixzoo.registry.zoo import Zoo

MAX_BYTES = 64_000  # of a run file; a larger one is some other file, and could take the parser minutes
DEFAULT_PARTS = {
    "dataset": Spec("digits"),
    "autoencoder": Spec("amr"),
    "discriminator": Spec("amr"),
    "mixer": Spec("mixup"),
    "objective": Spec("amr"),
}
FLAGS = {kind: KINDS[kind].flag for kind in DEFAULT_PARTS}
DEFAULT_METRICS = ("logistic_regression", "reconstruction")


@dataclass(frozen=True, kw_only=True)
class Train:
    """The numbers of a run."""

    seed: Annotated[int, Ge(0), Lt(2**63), "seed of every random number of the run"] = 0
    steps: Annotated[int, Ge(1), "optimisation steps, one batch each"] = 400
    batch_images: Annotated[int, Ge(1), "images of one batch"] = 64
    labelled_images: (
        Annotated[int, Ge(1), "train images whose labels the objective may use, chosen by the seed; all if not given"]
        | None
    ) = None
    d_steps: Annotated[
        int, Ge(1), "discriminator steps for each step of the auto-encoder (the authors' published runs: 5)"
    ] = 1
    lr: Annotated[float, Gt(0), "Adam's learning rate for auto-encoder and discriminator (the paper: 1e-4)"] = 1e-3
    probe_lr: Annotated[float, Gt(0), "Adam's learning rate for the probe (the authors: 1e-4)"] = 3e-3
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        "how lr goes on after the warm-up: constant, or falling to 0 by the end of the run; probe_lr stays",
    ] = "constant"
    warmup: Annotated[int, Ge(0), "first steps, over which lr rises linearly to its full value"] = 0
    beta1: Annotated[float, Ge(0), Lt(1), "Adam's β₁ (the paper: 0.5)"] = 0.5
    beta2: Annotated[float, Ge(0), Lt(1), "Adam's β₂ (the paper: 0.99)"] = 0.99
    weight_decay: Annotated[float, Ge(0), "L2 decay added to the gradient, as in the paper"] = 1e-5
    clip_grad: Annotated[
        float, Ge(0), "greatest norm of each player's gradient, which is scaled down to it; 0: any norm"
    ] = 0.0
    device: Annotated[str, "device: cpu, cuda, cuda:1, ..., or auto: a GPU if there is one"] = "auto"
    engine: Annotated[
        Literal["auto", "eager", "compile", "graph", "graph+compile"],
        "how a step is run: eager, with compiled networks, as one CUDA graph, or both; auto: both on a GPU, else eager",
    ] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "tf32", "bf16"],
        "precision of products: tf32 on GPUs only, bf16 for the discriminator; auto: tf32 on a GPU, else fp32",
    ] = "auto"
    recompute: Annotated[
        bool, "save memory: recompute the activations of f and g in the backward pass instead of keeping them"
    ] = False
    data_on: Annotated[
        Literal["auto", "device", "host", "stream"],
        "where train images are kept: on the device, in host memory, or in files (stream); auto: what fits",
    ] = "auto"
    workers: (
        Annotated[
            int, Ge(0), Le(64), "processes that read streamed images; 0: the run itself reads them; 2 if not given"
        ]
        | None
    ) = None
    image_cache: (
        Annotated[str, "folder that keeps streamed images decoded, for later epochs and runs; none if not given"] | None
    ) = None
    threads: Annotated[int, Ge(0), Le(1024), "CPU threads; 0: torch's default"] = 0
    deterministic: (
        Annotated[bool, "fail on operations that differ from run to run; by default on for a CPU, off for a GPU"] | None
    ) = None
    log_every: Annotated[int, Ge(1), "steps between lines of metrics"] = 20
    evaluate_every: Annotated[int, Ge(1), "steps between evaluations of the probe, each with a picture"] = 50
    checkpoint_every: Annotated[int, Ge(1), "steps between checkpoints"] = 100
    keep_checkpoints: Annotated[int, Ge(1), "newest checkpoints kept"] = 2
    select: Annotated[
        Literal["last", "best"],
        "weights that the run ends with: of the last step, or of the probe's best validation accuracy",
    ] = "last"


@dataclass(frozen=True)
class RunConfig:
    """One run, whole: a recipe for each part, its metrics and its numbers."""

    names: Mapping[str, str]  # kind of part -> registered name
    parts: Mapping[str, Any]  # kind of part -> its recipe, options checked and set
    metrics: tuple[tuple[str, Any], ...]  # (canonical spec, recipe)
    train: Train = field(default_factory=Train)

    def to_toml(self) -> str:
        """The complete run file: every option explicit."""
        import tomli_w

        tables = {kind: {"name": self.names[kind], **to_table(self.parts[kind])} for kind in self.parts}
        return tomli_w.dumps({"metrics": [spec for spec, _ in self.metrics], **tables, "train": to_table(self.train)})

    @property
    def slug(self) -> str:
        """A short name for the run's directory, such as 'digits-amr-dirichlet'."""
        return "-".join(self.names[kind].split("/")[-1] for kind in ("dataset", "objective", "mixer"))


def resolve(
    zoo: Zoo,
    file: Path | None,
    flags: Mapping[str, str],
    numbers: Mapping[str, object],
    metrics: Sequence[str] | None = None,
) -> RunConfig:
    """The config of a run: `flags` (kind -> spec string) over the file over the defaults.

    A part named by a flag replaces the file's part whole, options included; `metrics` replace the file's.
    """
    assert flags.keys() <= DEFAULT_PARTS.keys(), flags.keys() - DEFAULT_PARTS.keys()
    table = _read(file) if file else {}
    where = path_excerpt(file) if file else "run"
    _check_known(table, where)
    names, parts, suited = dict[str, str](), dict[str, Any](), dict[str, Any]()
    for kind, default in DEFAULT_PARTS.items():  # the data set first
        default = parse_spec(suited[kind]) if kind in suited else default
        names[kind], parts[kind] = _part(zoo, kind, flags.get(kind), table.get(kind), default, where)
        if kind == "dataset":
            suited = _suited(names[kind], parts[kind])
    if metrics is None:
        chosen = tuple(_metric(zoo, spec, f"{where} metrics") for spec in _metrics(zoo, table, suited, where))
    else:
        chosen = tuple(_metric(zoo, spec, "--metric") for spec in dict.fromkeys(metrics))
    given = suited.get("train", {}) | _table(table.get("train", {}), f"{where} [train]")
    train = build(Train, given, f"{where} [train]")
    known = {option.name for option in options_of(Train)}
    for key, value in numbers.items():
        assert key in known
        train = replace(train, **{key: getattr(build(Train, {key: value}, f"--{key.replace('_', '-')}"), key)})
    return RunConfig(names, parts, chosen, train)


def under_data_root(config: RunConfig, *, flag: str | None, environment: str | None, data: str | None) -> RunConfig:
    """The config with its data set's `root` at the folder that --data-root names or, without that, MIXZOO_DATA.

    The variable stands in for a root that nothing states, so that a run file with a root of its own repeats its run.
    Raises ConfigError if --data-root would have no effect.
    """
    recipe = config.parts["dataset"]
    stated = data is not None and "root" in parse_spec(data, FLAGS["dataset"]).options
    if flag is not None and (stated or not hasattr(recipe, "root")):
        why = (
            f"{FLAGS['dataset']} states root= itself"
            if stated
            else f"data set {config.names['dataset']!r} has no root="
        )
        raise ConfigError(f"--data-root {path_excerpt(flag)}: {why}; leave one out")
    root = flag if flag is not None else environment
    if not root or not hasattr(recipe, "root") or (flag is None and recipe.root != _default_root(recipe)):
        return config
    return replace(config, parts={**config.parts, "dataset": replace(recipe, root=root)})


def _default_root(recipe: Any) -> Any:
    return next(option.default for option in options_of(type(recipe)) if option.name == "root")


def _part(zoo: Zoo, kind: str, flag: str | None, table: object, default: Spec, where: str) -> tuple[str, Any]:
    """The name and recipe of one part: a flag's, or the file's (a table or a spec), or the default."""
    if flag is not None or isinstance(table, str):
        text, place = (flag, FLAGS[kind]) if flag is not None else (str(table), f"{where} {kind} =")
        spec = zoo.spec(kind, text, place)
        return spec.name, zoo.recipe(kind, spec, f"{place} {excerpt(text)}")
    if table is None:
        name = zoo.qualified_default(kind, default.name)
        return name, zoo.recipe(kind, Spec(name, default.options))
    options = dict(_table(table, f"{where} [{kind}]", f' or a spec, such as {kind} = "{default}"'))
    name = options.pop("name", None)
    if not isinstance(name, str):
        given = "" if name is None else f", not {truncated_repr(name)}"
        raise ConfigError(
            f'{where} [{kind}]: name= must be the name of a {kind}{given}, such as name = "{default.name}"'
        )
    if ":" in name and "=" in name:
        whole = f'{kind} = "{name}"' if len(name) <= LONGEST_SHOWN else f'{kind} = "NAME:KEY=VALUE"'
        raise ConfigError(
            f"{where} [{kind}]: name={truncated_repr(name)} is a spec. Did you mean {printable(whole)}, in place "
            "of the table? "
            "In the table each option is a line of its own"
        )
    return name, zoo.recipe_from(kind, name, options, f"{where} [{kind}]")


def _suited(name: str, recipe: Any) -> dict[str, Any]:
    """The run defaults of the data set of that recipe. Raises PluginError if they do not belong in a run file."""
    suited = dict(run_defaults(recipe))
    known = [*DEFAULT_PARTS, "metrics", "train"]
    if strange := [key for key in suited if key not in known[1:]]:
        raise PluginError(f"dataset {name!r}: run_defaults has {strange[0]!r}, expected some of {listing(known[1:])}")
    return suited


def _metric(zoo: Zoo, spec: str, where: str) -> tuple[str, Any]:
    recipe = zoo.recipe("metric", spec, where)
    return zoo.canonical("metric", spec), recipe


def _metrics(zoo: Zoo, table: Mapping[str, Any], suited: Mapping[str, Any], where: str) -> tuple[str, ...]:
    defaults = suited.get("metrics", DEFAULT_METRICS)
    metrics = table.get("metrics", [zoo.qualified_default("metric", name) for name in defaults])
    if not isinstance(metrics, (list, tuple)) or not all(isinstance(spec, str) for spec in metrics):
        example = "[" + ", ".join(f'"{name}"' for name in DEFAULT_METRICS) + "]"
        raise ConfigError(f"{where}: metrics={truncated_repr(metrics)} must be a list of specs, such as {example}")
    if twice := [spec for spec in metrics if metrics.count(spec) > 1]:
        raise ConfigError(f"{where}: metrics has {truncated_repr(twice[0])} twice; once is enough")
    return tuple(metrics)


def _check_known(table: Mapping[str, Any], where: str) -> None:
    known = [*DEFAULT_PARTS, "metrics", "train"]
    numbers = [option.name for option in options_of(Train)]
    for key in table:
        if key in numbers:
            raise ConfigError(f"{where}: {key} is a number of the run; put it in the table [train]")
        if key not in known:
            raise ConfigError(
                f"{where}: [{truncated_repr(key)[1:-1]}] is not a table of a run file "
                f"({listing(known)}).{nearest(key, known)}"
            )


def _table(value: object, where: str, otherwise: str = "") -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {truncated_repr(value)} must be a table of name and options{otherwise}")
    return value


def _read(file: Path) -> Mapping[str, Any]:
    """The tables of a TOML file; every way that reading one fails is one line that names the file."""
    place = path_excerpt(file)
    try:
        if not file.is_file():
            raise ConfigError(f"{place}: {_no_file(file)}")
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{place}: {file.stat().st_size} bytes, a run file has at most {MAX_BYTES}")
        raw = file.read_bytes()
    except OSError as err:
        raise ConfigError(f"{place}: cannot be read: {err.strerror}") from err
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError(f"{place}: it is UTF-16 text, and TOML is UTF-8; save it as UTF-8")
    raw = raw.removeprefix(codecs.BOM_UTF8)  # which some editors write
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as err:
        line = raw.count(b"\n", 0, err.start) + 1
        raise ConfigError(f"{place}: not UTF-8 text (byte {err.start}, line {line}); save it as UTF-8") from err
    if not text.strip():
        raise ConfigError(f"{place}: it is empty; a run file has tables, such as [train] or [mixer]")
    return _parsed(text, place, file.suffix)


def _no_file(file: Path) -> str:
    """Why there is no run file at that path, and which was meant."""
    inside = sorted(file.glob("run.toml")) + sorted(file.glob("*/run.toml")) + sorted(file.glob("*.toml"))
    if file.is_dir():
        return (
            f"it is a folder; {f'did you mean {path_excerpt(inside[0])}?' if inside else 'a run file is a TOML file'}"
        )
    if file.exists():
        return "no such run file; it is neither a file nor a folder"
    beside = [path.name for path in file.parent.glob("*.toml")] if file.parent.is_dir() else []
    return f"no such run file.{printable(nearest(file.name, beside))}"


def _parsed(text: str, place: str, suffix: str) -> Mapping[str, Any]:
    other = f" (a run file is TOML, and {suffix} files are not)" if suffix in (".json", ".yaml", ".yml", ".py") else ""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        last = text.rstrip().count("\n") + 1
        said = printable(str(err)).replace("(at end of document)", f"(at line {last}, the end of the file)")
        twice = "Cannot overwrite a value", "Cannot declare"
        more = "; a key or table occurs twice" if said.startswith(twice) else ""
        raise ConfigError(f"{place}: not valid TOML: {said}{more}{other}") from err
    except ValueError as err:  # a number of thousands of digits
        line = next((i for i, line in enumerate(text.split("\n"), 1) if re.search("[0-9]{4000}", line)), 1)
        raise ConfigError(f"{place}: not valid TOML: a number of too many digits (at line {line})") from err
    except RecursionError as err:
        depths = accumulate(
            line.count("[") + line.count("{") - line.count("]") - line.count("}") for line in text.split("\n")
        )
        line = max(enumerate(depths, 1), key=lambda pair: pair[1])[0]
        raise ConfigError(f"{place}: not valid TOML: nested too deeply (at line {line})") from err
