"""The signature of every method of a part, and calls of a part whose mistakes become one line that shows it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any

from mixzoo.errors import MixzooError, PluginError, is_out_of_memory, printable

SIGNATURES: Mapping[str, Mapping[str, str]] = {  # kind -> method -> how it is declared and what it returns
    "autoencoder": {
        "build": "build(context) -> a torch.nn.Module with latent_shape, encode and decode",
        "latent_shape": "latent_shape: a tuple of positive ints, (channels, height, width) or (features,)",
        "encode": "encode(x) -> Tensor [batch, *latent_shape], of the type of x",
        "decode": "decode(h) -> Tensor [batch, channels, height, width], of the type of h",
        "posterior": "posterior(x) -> (mean, log_variance), both Tensors [batch, *latent_shape]",
        "parameters": "parameters(), which every torch.nn.Module has",
    },
    "discriminator": {
        "build": "build(context) -> a torch.nn.Module",
        "__call__": "forward(x) -> Scores(realness), realness a Tensor [batch]",
        "parameters": "parameters(), which every torch.nn.Module has",
    },
    "mixer": {
        "build": "build(context) -> a mixer",
        "k": "k: an int of at least 2, the sources of one mix",
        "draw": "draw(shape, rng) -> a Tensor, or a table of Tensors",
        "draw_at": "draw_at(shape, rng, progress) -> a Tensor, or a table of Tensors",
        "__call__": "__call__(h, draw, labels=None) -> Mixed(h, share), h [batch, *latent], share [k, batch, ...]",
        "at": "at(point, shape) -> a draw",
    },
    "objective": {
        "build": "build(context) -> an objective",
        "needs": "needs: a mixzoo.Needs(...)",
        "judged": "judged(r) -> {name: images}",
        "autoencoder_terms": "autoencoder_terms(r, D) -> {name: a Tensor of one number}",
        "discriminator_terms": "discriminator_terms(r, D) -> {name: a Tensor of one number}",
        "discriminator_penalty": "discriminator_penalty(x, discriminator) -> {name: a Tensor of one number}",
    },
    "dataset": {
        "load": "load(seed) -> Dataset(train, validation, test, class_names)",
        "stream": "stream(seed) -> Dataset(train, validation, test, class_names), the images of each Split a Source",
    },
    "metric": {
        "__call__": "__call__(run) -> {name: float}",
        "check_data": "check_data(data), which may raise DataError",
    },
}
NOUNS = {"dataset": "data set", "autoencoder": "auto-encoder"}
LONGEST_REASON = 200  # characters of what a part raised


def signatures(kind: str, methods: Iterable[str]) -> str:
    """How these methods of a kind of part are declared, for a message."""
    return "; ".join(SIGNATURES[kind][name] for name in methods if name in SIGNATURES[kind])


@dataclass(frozen=True)
class Contract:
    """One part, by name, whose calls raise PluginError in one line if the part breaks its contract."""

    kind: str
    name: str
    plugin: str = ""  # who offers it, for the message

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}" + (f" ({self.plugin})" if self.plugin else "")

    def broken(self, method: str, what: str) -> PluginError:
        """The error that says what a method did and how it is declared."""
        expected = signatures(self.kind, [method])
        return PluginError(f"{self}: {what}" + (f"; expected {expected}" if expected else ""))

    def call(self, method: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)`; an exception of the part's own is a PluginError with its place and the signature.

        What a user can act on already (MixzooError, out of memory) is raised as it is.
        """
        try:
            return function(*arguments)
        except MixzooError:
            raise
        except Exception as err:
            if is_out_of_memory(err):
                raise
            raise self.broken(method, f"{method} raised {reason(err)}") from err


def reason(err: BaseException) -> str:
    """The exception's type and first line, and the file and line that raised it."""
    said = next((line.strip() for line in str(err).splitlines() if line.strip()), "")
    text = printable(f"{type(err).__name__}: {said}" if said else type(err).__name__)
    frames = [frame for frame, _ in walk_tb(err.__traceback__)]
    lines = [line for _, line in walk_tb(err.__traceback__)]
    own = [i for i, frame in enumerate(frames) if _is_a_parts(frame.f_code.co_filename)]
    place = f" ({Path(frames[own[-1]].f_code.co_filename).name}, line {lines[own[-1]]})" if own else ""
    return f"{text[:LONGEST_REASON]}{place}"


def _is_a_parts(file: str) -> bool:
    """Whether the file is neither of torch nor of mixzoo itself."""
    import torch

    outside = (Path(torch.__file__).parent, Path(__file__).parent)
    return not file.startswith("<") and not any(Path(file).is_relative_to(folder) for folder in outside)
