"""The mixers that a page can apply to codes by itself, at a point of the simplex.

The page knows three formulas. A mixer is in the page if one of them gives what its own `at` gives, at twenty points:

weigh   h_mix = Σᵢ wᵢ hᵢ
pick    each place of a mask from one source: its rank falls into that source's interval of [0, 1); a table of ranks
arc     spherical interpolation of two codes
"""

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mixzoo.core.errors import MixzooError, excerpt
from mixzoo.core.parts import CodeShape, Mixer
from mixzoo.core.random import rng_for, to_device
from mixzoo.registry.options import spec_of
from mixzoo.registry.spec import Spec
from mixzoo.registry.zoo import load_zoo
from mixzoo.runs.trained_run import Run

SOURCES = (2, 3, 4, 5)  # images that the page mixes at once
POINTS = 20  # at which a formula is compared with the mixer
MOST_PLACES = 1024  # of a mask
EXACT = 1e-5


def page_mixers(run: Run) -> tuple[list[dict[str, Any]], list[str]]:
    """The mixers of the page as JSON, the run's own first if it is one, and the specs of those that are left out."""
    found: list[dict[str, Any]] = []
    left_out: list[str] = []
    for label, mixers in _candidates(run):
        entry: dict[str, Any] = {"name": label, "formula": "", "ks": []}
        for mixer in mixers:
            formula, table = _formula(run, mixer)
            if formula and entry["formula"] in ("", formula) and entry.get("table", table) == table:
                entry |= {"formula": formula, "ks": [*entry["ks"], mixer.k]} | ({"table": table} if table else {})
        if not entry["ks"]:
            left_out.append(label)
        elif not (same := [one for one in found if _key(one) == _key(entry)]):
            found.append(entry)
        elif entry["formula"] == "weigh":  # at a chosen point all of these are one sum
            if not same[0]["name"].startswith(f"{label} (the run's)"):
                same[0]["name"] += f", {label}"
            same[0]["ks"] = sorted({*same[0]["ks"], *entry["ks"]})
    return found, left_out


def _key(entry: dict[str, Any]) -> Any:
    return entry["formula"], entry.get("table")


def _candidates(run: Run) -> Iterator[tuple[str, list[Mixer]]]:
    """The run's mixer, then every registered one that needs no options, each with 2, 3, ... sources if it has k."""
    zoo, own = load_zoo(), run.config.names["mixer"]
    specs = [(f"{own} (the run's)", spec_of(own, run.config.parts["mixer"]), [run.mixer])]
    specs += [(entry.name, Spec(entry.name, {}), []) for entry in zoo.of_kind("mixer")]
    for label, spec, built in specs:
        try:
            takes_k = any(option.name == "k" for option in zoo.options("mixer", spec.name))
        except MixzooError:  # its plugin was given to the run alone
            takes_k = False
        for k in SOURCES if takes_k else ():
            if k not in [mixer.k for mixer in built]:
                built += _built(run, replace(spec, options={**spec.options, "k": str(k)}))
        if built := built or _built(run, spec):
            yield label, sorted(built, key=lambda mixer: mixer.k)


def _built(run: Run, spec: Spec) -> list[Mixer]:
    """The mixer, or nothing if it does not take these codes, needs options, or needs training."""
    try:
        return [run.mixer_by(str(spec))]
    except MixzooError:
        return []


def _formula(run: Run, mixer: Mixer) -> tuple[str, dict[str, Any] | None]:
    """The formula that this mixer follows, and its table; "" if there is none."""
    try:
        cases = [(h, point, _at(run, mixer, h, point)) for h, point in _cases(run.latent_shape, mixer.k)]
        if all(_close(weighed(h, point), mixed) for h, point, mixed in cases):
            return "weigh", None
        if mixer.k == 2 and all(_close(arc(h, point), mixed) for h, point, mixed in cases):
            return "arc", None
        table = _table(run, mixer)
        if table and all(torch.equal(picked(h, point, table), mixed) for h, point, mixed in cases):
            return "pick", table
    except (MixzooError, ValueError, TypeError, RuntimeError, KeyError):  # a stranger's mixer may want labels, or more
        pass
    return "", None


def _cases(latent: tuple[int, ...], k: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Codes [k, *latent] and points of the simplex: its corners, its middle and random ones."""
    rng = rng_for(0, "explorer")
    corners = [*torch.eye(k), torch.full((k,), 1 / k)]
    drawn = torch.rand(POINTS, k, generator=rng)
    for point in [*corners, *(drawn / drawn.sum(1, keepdim=True))][:POINTS]:
        yield torch.randn(k, *latent, generator=rng), point


def _at(run: Run, mixer: Mixer, h: Tensor, point: Tensor) -> Tensor:
    """The mixer's own mix of one code each, [*latent], on the CPU."""
    with torch.no_grad():
        draw = to_device(mixer.at(point, CodeShape(1, tuple(h.shape[1:]))), torch.device(run.device))
        mixed: Tensor = mixer(h[:, None].to(run.device), draw).h[0]
        return mixed.cpu()


def _close(one: Tensor, other: Tensor) -> bool:
    return bool(torch.allclose(one, other, atol=EXACT, rtol=EXACT))


def _table(run: Run, mixer: Mixer) -> dict[str, Any] | None:
    """The rank of each place of the mixer's mask, 0 .. n-1, read from its masks along the edge to the second source."""
    shape = CodeShape(1, run.latent_shape)
    corner = torch.eye(mixer.k)
    first = mixer.at(corner[0], shape)
    if not isinstance(first, Tensor) or first.dtype != torch.bool or first[0].numel() > MOST_PLACES:
        return None
    axes = list(first.shape[2:]) + [1] * (len(run.latent_shape) + 2 - first.ndim)
    n = prod(axes)
    taken = [mixer.at(j / n * corner[0] + (1 - j / n) * corner[1], shape)[0].flatten() for j in range(n + 1)]  # type: ignore[index]
    ranks = n - torch.stack(taken).sum(0)  # a place of rank r is the first source's from j = r + 1 on
    return {"axes": axes, "ranks": ranks.tolist()}


def weighed(h: Float[Tensor, "k *latent"], point: Float[Tensor, " k"]) -> Float[Tensor, "*latent"]:
    """Σᵢ wᵢ hᵢ."""
    return torch.einsum("k...,k->...", h, point)


def arc(h: Float[Tensor, "2 *latent"], point: Float[Tensor, " 2"]) -> Float[Tensor, "*latent"]:
    """Spherical interpolation: the direction follows the arc, and the length is interpolated."""
    norm = h.flatten(1).norm(dim=1)
    u = h.flatten(1) / norm[:, None]
    angle = 2 * torch.atan2((u[0] - u[1]).norm(), (u[0] + u[1]).norm())
    direction = (torch.sin(point * angle) / torch.sin(angle)) @ u
    mixed: Tensor = (point @ norm) * direction
    return mixed.reshape(h.shape[1:])


def picked(
    h: Float[Tensor, "k *latent"], point: Float[Tensor, " k"], table: dict[str, Any]
) -> Float[Tensor, "*latent"]:
    """Each place from the source whose interval of [0, 1) has its rank."""
    place = (torch.tensor(table["ranks"]) + 0.5) / len(table["ranks"])
    source = (place[:, None] >= point.cumsum(0)[:-1]).sum(1).reshape(table["axes"]).expand(h.shape[1:])
    return h.gather(0, source[None])[0]


def left_out_note(specs: list[str]) -> str:
    """One sentence on mixers that are not in the page, "" if all are."""
    return (
        f"Not in this page, as no formula of the page gives their mixes: {excerpt(', '.join(specs))}." if specs else ""
    )
