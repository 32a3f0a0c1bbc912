"""What a mixer that sets target labels promises about them (y_mix), for every form of labels.

Labels are class numbers [k batch], or float vectors [k batch label]: one-hot classes, with 1/classes for an unknown
label, or attributes, 0 or 1, with 1/2 for an unknown one. A mixer that raises on vectors is not checked with them.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixzoo.core.labels import label_vectors
from mixzoo.core.parts import Mixed
from mixzoo.core.random import rng_for
from mixzoo.testing.cases import ATTRIBUTES, CLASSES, MixerCase, fixed_latent, law_case, mixer_for

CLOSE = 1e-5  # tolerance for labels in float32
NEAR = 0.25  # tolerance for y_mix at a point of the simplex, which a mask can only approximate


class Labelled(NamedTuple):
    """A case with labels in one form."""

    form: str
    case: MixerCase
    labels: Tensor

    @property
    def y(self) -> Tensor:
        """The labels as vectors, [k batch label]."""
        return label_vectors(self.labels, CLASSES)

    def mix(self, draw: Any) -> Mixed:
        return self.case.mixer(self.case.h(), draw, self.labels)

    def at(self, point: Tensor) -> Tensor:
        """y_mix at a point of the simplex."""
        return target_labels(self.mix(self.case.mixer.at(point, self.case.shape)), self)


def target_labels(mixed: Mixed, given: Labelled) -> Tensor:
    """y_mix. Raises AssertionError unless it is a finite [batch label]."""
    assert mixed.labels is not None, f"with labels as {given.form}, Mixed.labels (y_mix) is None; expected a tensor"
    shape, expected = list(mixed.labels.shape), list(given.y.shape[1:])
    assert shape == expected, f"with labels as {given.form}, y_mix has shape {shape}, expected [batch label] {expected}"
    assert mixed.labels.isfinite().all(), f"with labels as {given.form}, y_mix is NaN or infinite"
    return mixed.labels.detach().float()


def labelled(part: Any) -> Iterator[Labelled]:
    """The part's cases with every form of labels that it accepts; class numbers, which it must accept, come first."""
    latent = fixed_latent(part) or (4, 5, 3)
    case = replace(law_case(part, batch=6, latent=latent), dtype=torch.float32)
    case = replace(case, mixer=mixer_for(part, latent, torch.float32))
    classes, known = _classes(case.mixer.k), _known(case.mixer.k)
    one_hot = label_vectors(classes, CLASSES)
    yield Labelled("class numbers", case, classes)
    forms = [
        Labelled("one-hot vectors", case, one_hot),
        Labelled("vectors, some unknown", case, torch.where(known, one_hot, 1 / CLASSES)),
    ]
    try:  # a recipe is built for data with attributes
        case = replace(case, mixer=mixer_for(part, latent, torch.float32, attributes=ATTRIBUTES))
        rng = rng_for(0, "attributes")
        attributes = torch.randint(2, (case.mixer.k, 6, ATTRIBUTES), generator=rng)
        forms.append(Labelled("attributes", case, attributes))
        forms.append(Labelled("attributes, some unknown", case, torch.where(known, attributes.float(), 0.5)))
    except Exception:  # it rejects data with attributes
        pass
    yield from (form for form in forms if _accepts(form))


def _classes(k: int) -> Tensor:
    """Class numbers [k 6] that differ between the sources of an example, as far as there are classes."""
    return (torch.arange(k)[:, None] + 3 * torch.arange(6)) % CLASSES


def _known(k: int) -> Tensor:
    """Whether a source is labelled, [k 6 1]: all sources of the first example, every second one of the others."""
    known = (torch.arange(k)[:, None] + torch.arange(6)) % 2 == 0
    known[:, 0] = True
    return known[..., None]


def _accepts(form: Labelled) -> bool:
    try:
        form.mix(form.case.draw())
    except Exception:  # of any type; it must only not mix labels that it cannot read
        return False
    return True


def has_target_labels(part: Any) -> str:
    """'' if the mixer sets target labels."""
    return "" if law_case(part, batch=2).mix().labels is not None else "it sets no target labels (y_mix)"


def check_aimed_labels_at_a_corner(part: Any) -> None:
    """At a corner of the simplex y_mix is the label of that source, for class numbers and for vectors."""
    for given in labelled(part):
        for source, corner in enumerate(torch.eye(given.case.mixer.k)):
            off = float((given.at(corner) - given.y[source]).abs().max())
            assert off <= CLOSE, (
                f"with labels as {given.form}, at corner {source} y_mix differs by {off:.2g} from the label of that "
                "source"
            )


def check_aimed_labels_lie_between(part: Any) -> None:
    """y_mix lies between the labels of its sources and sums to 1 over classes, so equal labels are kept."""
    for given in labelled(part):
        for seed in range(8):
            case = given.case.but(seed=seed)
            y_mix = target_labels(given.mix(case.draw()), given)
            check_between(y_mix, given)


def check_between(y_mix: Tensor, given: Labelled) -> None:
    """Raises AssertionError if y_mix is outside the range of the sources' labels or does not sum to 1 over classes."""
    below, above = given.y.amin(0) - y_mix, y_mix - given.y.amax(0)
    worst = float(torch.maximum(below, above).max())
    assert worst <= CLOSE, f"with labels as {given.form}, y_mix is {worst:.2g} outside the range of its sources' labels"
    if not given.form.startswith("attributes"):
        off = float((y_mix.sum(1) - 1).abs().max())
        assert off <= 10 * CLOSE, (
            f"with labels as {given.form}, the sum of y_mix over classes differs from 1 by {off:.2g}"
        )


def check_aimed_labels_follow_the_point(part: Any) -> None:
    """At a point of the simplex y_mix is about the mean of the labels weighted by it; y_mix varies with the draw."""
    for given in labelled(part):
        k = given.case.mixer.k
        for point in (torch.full((k,), 1 / k), torch.arange(1.0, k + 1), torch.arange(float(k), 0, -1)):
            point = point / point.sum()
            y_mix = given.at(point)
            check_between(y_mix, given)
            off = float((y_mix - (point[:, None, None] * given.y).sum(0)).abs().max())
            assert off <= NEAR, (
                f"with labels as {given.form}, at {point.tolist()} y_mix differs by {off:.2f} from the weighted mean "
                f"of labels, at most {NEAR} is allowed"
            )
    given = next(labelled(part))
    first, *others = (target_labels(given.mix(given.case.but(seed=seed).draw()), given) for seed in range(8))
    assert any(not torch.equal(first, other) for other in others), "y_mix is the same for 8 draws"


def check_class_numbers_are_one_hot_vectors(part: Any) -> None:
    """Class numbers and the same labels as one-hot vectors give the same mix and y_mix, if both are accepted."""
    numbers, *others = labelled(part)
    for given in others:
        if given.form != "one-hot vectors":
            continue
        draw = given.case.draw()
        a, b = numbers.mix(draw), given.mix(draw)
        off = float((target_labels(a, numbers) - target_labels(b, given)).abs().max())
        assert off <= CLOSE, f"y_mix differs by {off:.2g} between class numbers and one-hot vectors"
        off = float((a.h - b.h).detach().abs().max())
        assert off <= CLOSE, f"h_mix differs by {off:.2g} between class numbers and one-hot vectors"


def check_aimed_labels_fit_the_batch(case: MixerCase) -> None:
    """The target labels of a mix (y_mix) are finite and of shape [batch, classes]."""
    mixed = case.mix()
    assert mixed.labels is not None
    shape = list(mixed.labels.shape)
    assert len(shape) == 2, f"y_mix has shape {shape}, expected [batch, classes]"
    assert shape[0] == case.shape.batch, f"y_mix has shape {shape} for a batch of {case.shape.batch}"
    assert shape[1] == CLASSES, f"y_mix has shape {shape} for {CLASSES} classes"
    assert mixed.labels.isfinite().all(), "y_mix is NaN or infinite"
