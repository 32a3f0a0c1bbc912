"""What the two players of an objective promise each other: what one makes of a fake, the other makes of it too.

D's score of each judged image is set to one level after another, and each player's terms say in which direction it
wants that score to go. Nothing is assumed of the form of a loss or of which way is up: for the cross-entropy D wants
the score of a fake lower at every level, for ACAI's critic only above alpha.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixzoo.protocols import Terms
from mixzoo.testing.passes import ObjectiveCase, Pass, needs_of

LEVELS = (0.0, 0.02, 0.1, 0.3, 0.7, -0.5, 2.0, -2.0)  # scores; alpha of a critic is in (0, 1), and mostly in (0, 0.5)
FLAT = 1e-12  # a slope below it is none
LARGE = 4.0  # times as far from the images and from each other, where a term with a margin has a slope


class Wishes(NamedTuple):
    """In which direction each player's terms go up with the score of an image: dL/dscore, mean over the batch."""

    autoencoder: Mapping[float, Mapping[str, float]]  # level -> name of the judged image -> slope
    discriminator: Mapping[float, Mapping[str, float]]

    def opposed(self, name: str) -> list[float]:
        """The levels at which one player wants the score higher and the other lower."""
        return [c for c in LEVELS if self.autoencoder[c][name] * self.discriminator[c][name] < 0]


def wishes(case: ObjectiveCase) -> Wishes:
    """The slopes of both players at every judged image, at each of LEVELS."""
    found: dict[str, dict[float, dict[str, float]]] = {"autoencoder": {}, "discriminator": {}}
    run = case.a_pass()
    judged = case.objective.judged(run.r)
    for level in LEVELS:
        D = run.judge_at(judged, level)
        for player, own in found.items():
            terms = getattr(case.objective, f"{player}_terms")(run.r, D)
            own[level] = dict(zip(D.realness, map(_mean, _grads(terms, list(D.realness.values())))))
    return Wishes(found["autoencoder"], found["discriminator"])


def _mean(grad: Tensor | None) -> float:
    slope = 0.0 if grad is None else grad.sum().item()
    return slope if abs(slope) > FLAT else 0.0


def _grads(terms: Terms, leaves: list[Tensor]) -> list[Tensor | None]:
    """The gradient of the sum of the terms at each leaf; None for one that no term depends on."""
    trained = [term for term in terms.values() if term.requires_grad]
    if not trained or not leaves:
        return [None for _ in leaves]
    return list(torch.autograd.grad(torch.stack(trained).sum(), leaves, retain_graph=True, allow_unused=True))


def fakes_of(run: Pass, judged: Mapping[str, Tensor]) -> list[str]:
    """The judged images that f and g make."""
    leaves = [leaf for name, leaf in run.leaves.items() if not name.startswith("D")]
    found = []
    for name, images in judged.items():
        moved = _grads({name: images.sum()}, leaves)
        found += [name] * any(grad is not None for grad in moved)
    return found


def check_the_players_want_opposite_scores_of_a_fake(case: ObjectiveCase) -> None:
    """At some score of a fake that both players have terms on, one wants it higher and the other lower."""
    case = case.all_labelled()
    wanted, run = wishes(case), case.a_pass()
    for name in fakes_of(run, case.objective.judged(run.r)):
        own, its = ([by[c][name] for c in LEVELS] for by in (wanted.autoencoder, wanted.discriminator))
        if not any(own) or not any(its):
            continue
        assert wanted.opposed(name), (
            f"both players want D's score of {name!r} {_direction(own)}; the auto-encoder wants a fake scored as D "
            "scores real images, and D wants it scored otherwise: is a sign or a target turned round?"
        )
    for name, cosine in _redrawn(case):
        assert cosine < 0, (
            f"both players want {name!r} redrawn alike; what the auto-encoder makes smaller D makes larger: is a sign "
            "turned round?"
        )


def _direction(slopes: list[float]) -> str:
    if all(slope <= 0 for slope in slopes):
        return "higher, whatever it is"
    return "lower, whatever it is" if all(slope >= 0 for slope in slopes) else "at the same value"


def _redrawn(case: ObjectiveCase) -> Iterator[tuple[str, float]]:
    """For each fake that both players have terms on as D redraws it: the cosine of their gradients there."""
    run = case.a_pass()
    judged = case.objective.judged(run.r)
    D = run.judge(judged)
    names = [name for name in fakes_of(run, judged) if name in D.redrawn]
    redrawn = [D.redrawn[name] for name in names]
    by_player = (
        _grads(getattr(case.objective, f"{player}_terms")(run.r, D), redrawn)
        for player in ("autoencoder", "discriminator")
    )
    for name, own, its in zip(names, *by_player):
        if own is not None and its is not None and own.any() and its.any():
            yield name, torch.cosine_similarity(own.flatten(), its.flatten(), dim=0).item()


def check_d_is_taught_to_tell_images_apart(case: ObjectiveCase) -> None:
    """D pulls the scores of what it judges apart: at some score it wants one image higher and another lower."""
    case = case.all_labelled()
    wanted = wishes(case)
    slopes = [list(wanted.discriminator[c].values()) for c in LEVELS]
    if not any(slope for at_level in slopes for slope in at_level):
        return  # its terms are of something else than the score
    apart = any(min(at_level) < 0 < max(at_level) for at_level in slopes)
    assert apart, (
        f"D wants the scores of all it judges ({', '.join(wanted.discriminator[0.0])}) to go the same way at every "
        "score, so it learns to tell nothing apart: is the target of the real or of the fake images turned round?"
    )


def check_every_fake_teaches_both_players(case: ObjectiveCase) -> None:
    """D has a term on everything judged, and what it is taught to score as a fake the auto-encoder makes pass."""
    case = case.all_labelled()
    run = case.a_pass()
    judged = case.objective.judged(run.r)
    fakes = fakes_of(run, judged)
    reads = {player: _read_by(case, player) for player in ("autoencoder", "discriminator")}
    for name in judged:
        assert name in reads["discriminator"], (
            f"no term of D is of {name!r}, so its score of it means nothing: add one, such as 'call it fake'"
        )
    if not fakes:
        return
    fooled = [name for name in fakes if name in reads["autoencoder"]]
    assert fooled, (
        f"no term of the auto-encoder is of what D says of a fake ({', '.join(fakes)}), so D teaches it nothing; is a "
        "term of another image's score?"
    )
    wanted = wishes(case)
    for name in set(fakes) - set(fooled):
        sides = [
            wanted.autoencoder[c][other] * wanted.discriminator[c][name]
            for other in fooled
            for c in wanted.opposed(other)
        ]
        assert not sides or max(sides) >= 0, (
            f"D is taught that {name!r} is a fake, and no term of the auto-encoder makes it pass for real; judge "
            "it for both players or for none"
        )


def _read_by(case: ObjectiveCase, player: str) -> set[str]:
    """The judged images that the player's terms read anything of, at some score."""
    found: set[str] = set()
    run = case.a_pass()
    judged = case.objective.judged(run.r)
    for level in LEVELS:
        D = run.judge_at(judged, level)
        terms = getattr(case.objective, f"{player}_terms")(run.r, D)
        for said in (D.realness, D.attributes, D.redrawn):
            grads = _grads(terms, list(said.values()))
            found |= {name for name, grad in zip(said, grads) if grad is not None}
    return found


def check_each_term_reaches_the_auto_encoder(case: ObjectiveCase) -> None:
    """Every term of the auto-encoder has a slope at something that f, g or a mixer makes."""
    case = replace(case, batch=5).all_labelled()  # a term on pairs of two examples alone may have none
    moved = {name: LARGE * leaf.detach() for name, leaf in case.a_pass().leaves.items() if not name.startswith("D")}
    runs = [case.a_pass(), case.a_pass(offset=2.0), case.a_pass(offset=-2.0), case.a_pass(moved=moved)]
    terms: dict[str, list[tuple[float, str]]] = {}
    for run in runs:
        leaves = [leaf for name, leaf in run.leaves.items() if not name.startswith("D")]
        D = run.judge(case.objective.judged(run.r))
        for name, term in case.objective.autoencoder_terms(run.r, D).items():
            grads = _grads({name: term}, leaves)
            terms.setdefault(name, []).append((term.item(), _reach(grads)))
    for name, found in terms.items():
        reached = {reach for _, reach in found}
        assert "nothing" not in reached, (
            f"auto-encoder term {name!r} depends on nothing that f, g or a mixer makes: is it of another image's score?"
        )
        switched_off = all(value == 0 for value, _ in found) and has_a_zero_option(case.part)
        assert reached != {"flat"} or switched_off, (
            f"auto-encoder term {name!r} has no slope at anything that f, g or a mixer makes, so it teaches "
            "nothing; is its weight 0, or is something rounded?"
        )


def _reach(grads: list[Tensor | None]) -> str:
    if all(grad is None for grad in grads):
        return "nothing"
    return "something" if any(grad is not None and bool(grad.any()) for grad in grads) else "flat"


def has_a_zero_option(part: Any) -> bool:
    """Whether an option of the recipe is 0, which may switch a term off on purpose."""
    return any(value == 0 for value in vars(part).values() if isinstance(value, int | float))


PULLS = (
    ("x_rec", "x", "a reconstruction to its image"),
    ("h_mix_rec", "h_mix", "the code of a decoded mix to the mix"),
)


def check_terms_pull_together_what_they_compare(case: ObjectiveCase) -> None:
    """A step down the auto-encoder's terms takes a reconstruction nearer to its image, and a mix's code to the mix."""
    for name, target, what in PULLS:
        closer = []
        for scale in (0.0, LARGE):
            start = case.a_pass()
            if name not in start.leaves:
                return
            run = case.a_pass(moved={name: scale * (start.leaves[name] - start.tensors[target]).detach()})
            D = run.judge(case.objective.judged(run.r))
            D = type(D)(
                *({key: t.detach() for key, t in said.items()} for said in (D.realness, D.attributes, D.redrawn))
            )
            terms = case.objective.autoencoder_terms(run.r, D)
            (grad,) = _grads(terms, [run.leaves[name]])
            if grad is not None:
                closer.append((grad * (run.leaves[name] - run.tensors[target])).sum().item())
        assert not any(closer) or max(closer) > 0, (
            f"the auto-encoder's terms push {what} away instead of pulling: is a sign turned round?"
        )


def check_labels_are_of_their_own_image(case: ObjectiveCase) -> None:
    """A term on D's attributes of an image depends on that image's label, y of x and y_mix of a mix."""
    case = case.all_labelled()
    for player in ("autoencoder", "discriminator"):
        for name, term in _terms_of(case, player).items():
            for label in _labels_that_belong(case, player, name):
                others = _terms_of(case, player, label)
                assert not torch.equal(others[name], term), (
                    f"{player} term {name!r} reads D.attributes of images whose label is r.{label}, and does not "
                    f"change with r.{label}; compare each image with its own label"
                )


def _terms_of(case: ObjectiveCase, player: str, label: str = "") -> Terms:
    """The player's terms, or those where the labels of that name are others: class numbers and vectors alike."""
    width = case.context.label_width
    others: dict[str, Callable[[Tensor], Tensor]] = {
        "y": lambda y: 0.3 * y + 0.7 / width,
        "labels": lambda labels: 1 - labels if case.context.attributes else (labels + 1) % width,
        "y_mix": lambda y: 0.3 * y + 0.7 / width,
    }
    changed = {"y": ("y", "labels"), "y_mix": ("y_mix",)}.get(label, ())
    run = case.a_pass(changed={name: others[name] for name in changed})
    D = run.judge(case.objective.judged(run.r))
    terms: Terms = getattr(case.objective, f"{player}_terms")(run.r, D)
    return terms


def _labels_that_belong(case: ObjectiveCase, player: str, term: str) -> list[str]:
    """Which labels the images have whose attributes the term reads."""
    run = case.a_pass()
    judged = case.objective.judged(run.r)
    made_of_mixes = {name for name in judged if "x_mix" in run.tensors and _depends(judged[name], run.leaves["x_mix"])}
    own = {name for name in judged if not judged[name].requires_grad or _depends(judged[name], run.leaves["x_rec"])}
    D = run.judge(judged)
    terms = getattr(case.objective, f"{player}_terms")(run.r, D)
    grads = _grads({term: terms[term]}, list(D.attributes.values()))
    read = {name for name, grad in zip(D.attributes, grads) if grad is not None}
    return ["y_mix"] * bool(read & made_of_mixes) + ["y"] * bool(read & own)


def _depends(images: Tensor, leaf: Tensor) -> bool:
    if not images.requires_grad:
        return False
    (grad,) = torch.autograd.grad(images.sum(), leaf, retain_graph=True, allow_unused=True)
    return grad is not None


def check_unknown_labels_teach_nothing(case: ObjectiveCase) -> None:
    """What D says of the label of an image is in no term if that label, or one of the mix's sources, is not known."""
    if not case.seed % 2:
        return  # every label is known
    run = case.a_pass()
    judged = case.objective.judged(run.r)
    mixes = {name for name in judged if "x_mix" in run.tensors and _depends(judged[name], run.leaves["x_mix"])}
    known = {name: run.tensors["labelled_mix" if name in mixes else "labelled"] for name in judged}
    D = run.judge(judged)
    for player in ("autoencoder", "discriminator"):
        terms = getattr(case.objective, f"{player}_terms")(run.r, D)
        for name, grad in zip(D.attributes, _grads(terms, list(D.attributes.values()))):
            assert grad is None or not grad[~known[name]].any(), (
                f"the {player}'s terms read D.attributes[{name!r}] of an example whose label is not known; multiply by "
                f"r.{'labelled_mix' if name in mixes else 'labelled'}"
            )


def classifies(part: Any) -> str:
    """'' for an objective that reads attributes and labels."""
    needs = needs_of(part)
    return "" if needs.attributes and needs.labels else "it compares no label with what D says of it"
