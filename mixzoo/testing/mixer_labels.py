"""What a mixer that aims at labels promises of y_mix, in every form in which labels come.

Labels are class numbers [k batch]; or vectors [k batch label], float: attributes, 0 or 1, or classes of which some are
not known, 1/classes each (a not known attribute is 1/2). A mixer that does not take vectors raises, and then is not
asked about them.
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

CLOSE = 1e-5  # of sums of labels in float32
NEAR = 0.25  # of y_mix to the mean of labels at a point; a mask can only come near a point


class Labelled(NamedTuple):
    """A case, and labels for it in one form."""

    form: str
    case: MixerCase
    labels: Tensor

    @property
    def y(self) -> Tensor:
        """[k batch label]"""
        return label_vectors(self.labels, CLASSES)

    def mix(self, draw: Any) -> Mixed:
        return self.case.mixer(self.case.h(), draw, self.labels)

    def at(self, point: Tensor) -> Tensor:
        """y_mix at a point of the simplex."""
        return aimed(self.mix(self.case.mixer.at(point, self.case.shape)), self)


def aimed(mixed: Mixed, given: Labelled) -> Tensor:
    """y_mix, which has to be there and to be [batch label]."""
    assert mixed.labels is not None, f"with labels as {given.form} there is no y_mix"
    shape, expected = list(mixed.labels.shape), list(given.y.shape[1:])
    assert shape == expected, f"with labels as {given.form} y_mix has shape {shape}, expected [batch label] {expected}"
    assert mixed.labels.isfinite().all(), f"with labels as {given.form} y_mix is not finite"
    return mixed.labels.detach().float()


def labelled(part: Any) -> Iterator[Labelled]:
    """The part's cases in every form of labels that it takes; class numbers first, which it has to take."""
    latent = fixed_latent(part) or (4, 5, 3)
    case = replace(law_case(part, batch=6, latent=latent), dtype=torch.float32)
    case = replace(case, mixer=mixer_for(part, latent, torch.float32))
    classes, known = _classes(case.mixer.k), _known(case.mixer.k)
    one_hot = label_vectors(classes, CLASSES)
    yield Labelled("class numbers", case, classes)
    forms = [
        Labelled("one-hot vectors", case, one_hot),
        Labelled("vectors, some not known", case, torch.where(known, one_hot, 1 / CLASSES)),
    ]
    try:  # what it is to know of data with attributes
        case = replace(case, mixer=mixer_for(part, latent, torch.float32, attributes=ATTRIBUTES))
        rng = rng_for(0, "attributes")
        attributes = torch.randint(2, (case.mixer.k, 6, ATTRIBUTES), generator=rng)
        forms.append(Labelled("attributes", case, attributes))
        forms.append(Labelled("attributes, some not known", case, torch.where(known, attributes.float(), 0.5)))
    except Exception:  # it refuses data with attributes
        pass
    yield from (form for form in forms if _takes(form))


def _classes(k: int) -> Tensor:
    """[k 6]: the sources of an example have different classes as far as there are classes, and so have examples."""
    return (torch.arange(k)[:, None] + 3 * torch.arange(6)) % CLASSES


def _known(k: int) -> Tensor:
    """[k 6 1]: in every example some sources are labelled and some are not, but for the first, where all are."""
    known = (torch.arange(k)[:, None] + torch.arange(6)) % 2 == 0
    known[:, 0] = True
    return known[..., None]


def _takes(form: Labelled) -> bool:
    try:
        form.mix(form.case.draw())
    except Exception:  # any error will do: what counts is that it does not mix in silence what it cannot read
        return False
    return True


def aims_at_labels(part: Any) -> str:
    return "" if law_case(part, batch=2).mix().labels is not None else "it aims at no labels"


def check_aimed_labels_at_a_corner(part: Any) -> None:
    """At a corner of the simplex y_mix is the y of that source, whether labels come as class numbers or as vectors."""
    for given in labelled(part):
        for source, corner in enumerate(torch.eye(given.case.mixer.k)):
            off = float((given.at(corner) - given.y[source]).abs().max())
            assert off <= CLOSE, (
                f"with labels as {given.form}, at corner {source} y_mix is {off:.2g} from that source's"
            )


def check_aimed_labels_lie_between(part: Any) -> None:
    """y_mix lies between the labels of its sources, and sums to 1 over classes; equal labels come back."""
    for given in labelled(part):
        for seed in range(8):
            case = given.case.but(seed=seed)
            y_mix = aimed(given.mix(case.draw()), given)
            check_between(y_mix, given)


def check_between(y_mix: Tensor, given: Labelled) -> None:
    below, above = given.y.amin(0) - y_mix, y_mix - given.y.amax(0)
    worst = float(torch.maximum(below, above).max())
    assert worst <= CLOSE, f"with labels as {given.form}, y_mix is {worst:.2g} outside of the labels of its sources"
    if not given.form.startswith("attributes"):
        off = float((y_mix.sum(1) - 1).abs().max())
        assert off <= 10 * CLOSE, f"with labels as {given.form}, y_mix sums to 1 but for {off:.2g}"


def check_aimed_labels_follow_the_point(part: Any) -> None:
    """At a point of the simplex y_mix is about the sources' labels in those proportions, and moves with the draw."""
    for given in labelled(part):
        k = given.case.mixer.k
        for point in (torch.full((k,), 1 / k), torch.arange(1.0, k + 1), torch.arange(float(k), 0, -1)):
            point = point / point.sum()
            y_mix = given.at(point)
            check_between(y_mix, given)
            off = float((y_mix - (point[:, None, None] * given.y).sum(0)).abs().max())
            assert off <= NEAR, (
                f"with labels as {given.form}, at {point.tolist()} y_mix is {off:.2f} off the mean there"
            )
    given = next(labelled(part))
    found = [aimed(given.mix(given.case.but(seed=seed).draw()), given) for seed in range(8)]
    assert any(not torch.equal(found[0], one) for one in found[1:]), "y_mix is the same in all of 8 draws"


def check_class_numbers_are_one_hot_vectors(part: Any) -> None:
    """Labels as class numbers and the same ones as one-hot vectors give one mix and one y_mix, if it takes both."""
    numbers, *others = labelled(part)
    for given in others:
        if given.form != "one-hot vectors":
            continue
        draw = given.case.draw()
        a, b = numbers.mix(draw), given.mix(draw)
        off = float((aimed(a, numbers) - aimed(b, given)).abs().max())
        assert off <= CLOSE, f"y_mix of class numbers and of one-hot vectors differ by {off:.2g}"
        apart = float((a.h - b.h).detach().abs().max())
        assert apart <= CLOSE, f"the mixes by class numbers and by one-hot vectors differ by {apart:.2g}"


def check_aimed_labels_fit_the_batch(case: MixerCase) -> None:
    """The labels that a mix aims at (y_mix) are [batch classes], a number for each class, and finite."""
    mixed = case.mix()
    assert mixed.labels is not None
    shape = list(mixed.labels.shape)
    assert len(shape) == 2, f"y_mix has shape {shape}, expected [batch classes]"
    assert shape[0] == case.shape.batch, f"y_mix has shape {shape}, for a batch of {case.shape.batch}"
    assert shape[1] == CLASSES, f"y_mix has shape {shape}, for {CLASSES} classes"
    assert mixed.labels.isfinite().all(), "y_mix is not finite"
