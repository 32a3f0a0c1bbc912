"""The table of kinds of parts. A new kind is one row here, a protocol, a hook of that name, and a suite of checks.

Protocols and suites load torch, so the table names them and imports them when they are asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from mixzoo.core.errors import ConfigError, nearest, truncated_repr


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A row of the table."""

    name: str  # in Python, in a run file and on the command line
    plural: str  # `mixzoo list PLURAL`
    noun: str  # in a sentence
    flag: str = ""  # of `mixzoo train`, if it takes one part of this kind
    protocol_path: str  # module:class that says what such a part must do
    suite_path: str  # module:tuple of the checks of `mixzoo check`
    signatures: Mapping[str, str]  # member -> how it is declared and what it returns, for error messages

    @property
    def with_article(self) -> str:
        """'a mixer', 'an auto-encoder'."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"

    @property
    def hook(self) -> str:
        """The function of a plugin that registers such parts."""
        return f"mixzoo_{self.plural}"

    @property
    def protocol(self) -> Any:
        """The protocol that such a part follows."""
        return resolve_name(self.protocol_path)

    @property
    def protocol_name(self) -> str:
        """What the protocol is called in `mixzoo`."""
        return self.protocol_path.rpartition(":")[2]

    @property
    def suite(self) -> Any:
        """The conformance checks of such a part."""
        return resolve_name(self.suite_path)


_NETWORK = {"parameters": "parameters(), which every torch.nn.Module has"}

_ROWS = (
    Kind(
        name="autoencoder",
        plural="autoencoders",
        noun="auto-encoder",
        flag="--autoencoder",
        protocol_path="mixzoo.core.parts:AutoEncoder",
        suite_path="mixzoo.testing.autoencoders:autoencoder_checks",
        signatures={
            "build": "build(context) -> a torch.nn.Module with latent_shape, encode and decode",
            "latent_shape": "latent_shape: a tuple of positive ints, (channels, height, width) or (features,)",
            "encode": "encode(x) -> Tensor [batch, *latent_shape], of the type of x",
            "decode": "decode(h) -> Tensor [batch, channels, height, width], of the type of h",
            "posterior": "posterior(x) -> (mean, log_variance), both Tensors [batch, *latent_shape]",
            **_NETWORK,
        },
    ),
    Kind(
        name="discriminator",
        plural="discriminators",
        noun="discriminator",
        flag="--discriminator",
        protocol_path="mixzoo.core.parts:Discriminator",
        suite_path="mixzoo.testing.discriminators:discriminator_checks",
        signatures={
            "build": "build(context) -> a torch.nn.Module",
            "__call__": "forward(x) -> Scores(logits), logits a Tensor [batch]",
            **_NETWORK,
        },
    ),
    Kind(
        name="mixer",
        plural="mixers",
        noun="mixer",
        flag="--mixer",
        protocol_path="mixzoo.core.parts:Mixer",
        suite_path="mixzoo.testing.mixer_suite:mixer_checks",
        signatures={
            "build": "build(context) -> a mixer",
            "k": "k: an int of at least 2, the sources of one mix",
            "draw": "draw(shape, rng) -> a Tensor, or a table of Tensors",
            "draw_at": "draw_at(shape, rng, progress) -> a Tensor, or a table of Tensors",
            "__call__": "__call__(h, draw, labels=None) -> Mixed(h, share), h [batch, *latent], share [k, batch, ...]",
            "at": "at(point, shape) -> a draw",
        },
    ),
    Kind(
        name="objective",
        plural="objectives",
        noun="objective",
        flag="--objective",
        protocol_path="mixzoo.core.objective:Objective",
        suite_path="mixzoo.testing.objectives:objective_checks",
        signatures={
            "build": "build(context) -> an objective",
            "losses": "losses(batch) -> Losses(autoencoder={name: a Tensor of one number}, discriminator={...})",
        },
    ),
    Kind(
        name="dataset",
        plural="datasets",
        noun="data set",
        flag="--data",
        protocol_path="mixzoo.core.data:DatasetRecipe",
        suite_path="mixzoo.testing.datasets:dataset_checks",
        signatures={
            "load": "load(seed) -> Dataset(train, validation, test, class_names)",
            "stream": "stream(seed) -> the same Dataset, the images of each of its Splits a Source",
            "data_files": "data_files() -> {path: whether it is there}",
        },
    ),
    Kind(
        name="metric",
        plural="metrics",
        noun="metric",
        protocol_path="mixzoo.core.metric:Metric",
        suite_path="mixzoo.testing.metrics:metric_checks",
        signatures={
            "__call__": "__call__(run) -> {name: float}",
            "better": 'better: "less", "more" or "", or a mapping of names of scores to these',
            "check_data": "check_data(data), which may raise DataError",
        },
    ),
    Kind(
        name="logger",
        plural="loggers",
        noun="logger",
        flag="--log-to",
        protocol_path="mixzoo.core.logger:Logger",
        suite_path="mixzoo.testing.loggers:logger_checks",
        signatures={
            "open": "open(run) -> a session with scalars, picture, finish and close",
            "scalars": "scalars(step, {name: float})",
            "picture": "picture(step, path)",
            "finish": "finish({name: float})",
            "close": "close()",
        },
    ),
    Kind(
        name="figure",
        plural="figures",
        noun="figure",
        protocol_path="mixzoo.core.figure:Figure",
        suite_path="mixzoo.testing.figures:figure_checks",
        signatures={
            "__call__": "__call__(runs, request) -> a PIL image, a matplotlib Figure or a mixzoo.Animation",
            "check_run": "check_run(run, request), which may raise ConfigError",
        },
    ),
    Kind(
        name="launcher",
        plural="launchers",
        noun="launcher",
        flag="--on",
        protocol_path="mixzoo.core.launcher:Launcher",
        suite_path="mixzoo.testing.launchers:launcher_checks",
        signatures={
            "begin": "begin(job) -> a task with poll and send_signal, such as a subprocess.Popen",
            "begin_all": "begin_all(jobs, at_once) -> a task for each job",
            "attach": "attach(job) -> a task, or None",
            "poll": "poll() -> an exit code from -255 to 255, a mixzoo.Lost, or None while the job waits or runs",
            "send_signal": "send_signal(number)",
            "check": "check(), which may raise ConfigError",
            "service": "service() -> a context manager that yields environment variables, {name: text}",
            "here": "here: a bool, True if the jobs are processes of this machine",
            "slots": "slots: an int of at least 1, the jobs that run at a time",
            "retries": "retries: an int of at least 0",
        },
    ),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ROWS}


def kind_named(text: str) -> Kind:
    """The kind of that name, singular or plural. Raises ConfigError, with the nearest name, if there is none."""
    for kind in KINDS.values():
        if text in (kind.name, kind.plural):
            return kind
    plurals = [kind.plural for kind in KINDS.values()]
    near = nearest(str(text), [*plurals, *KINDS])
    raise ConfigError(f"{truncated_repr(text)} is not a kind of part ({', '.join(plurals)}).{near}")
