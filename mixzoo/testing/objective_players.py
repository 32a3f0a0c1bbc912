"""What the two players of an objective promise each other: what one makes of a fake, the other makes of it too.

D's logit of each input is set to one level after another, and each player's terms say in which direction it wants that
logit to go. Nothing is assumed of the form of a loss or of which way is up: for the cross-entropy D wants the logit of
a fake lower at every level, for ACAI's critic only above alpha.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixzoo.core.objective import Terms
from mixzoo.testing.objective_cases import PLAYERS, ObjectiveCase, Played, gradients

LEVELS = (0.0, 0.02, 0.1, 0.3, 0.7, -0.5, 2.0, -2.0)  # logits; alpha of a critic is in (0, 1), and mostly in (0, 0.5)
FLAT = 1e-12  # a slope below it is none
LARGE = 4.0  # times as far from the images and from each other, where a term with a margin has a slope


class Wishes(NamedTuple):
    """In which direction each player's terms go up with the logit of an input: dL/dlogit, mean over the batch."""

    autoencoder: Mapping[float, Mapping[str, float]]  # level -> name of the input -> slope
    discriminator: Mapping[float, Mapping[str, float]]

    def opposed(self, name: str) -> list[float]:
        """The levels at which one player wants the logit higher and the other lower."""
        return [c for c in LEVELS if self.autoencoder[c][name] * self.discriminator[c][name] < 0]


def play_at_levels(case: ObjectiveCase) -> dict[float, Played]:
    """One call of the objective for each of LEVELS as D's logit of everything."""
    return {level: case.play(level=level) for level in LEVELS}


def wishes(at_levels: Mapping[float, Played]) -> Wishes:
    """The slopes of both players at every input of D, at each level."""
    found: dict[str, dict[float, dict[str, float]]] = {player: {} for player in PLAYERS}
    for level, played in at_levels.items():
        logits = played.output.logits
        for player, own in found.items():
            own[level] = dict(zip(logits, map(_mean, gradients(played.terms[player], list(logits.values())))))
    return Wishes(found["autoencoder"], found["discriminator"])


def _mean(grad: Tensor | None) -> float:
    slope = 0.0 if grad is None else grad.sum().item()
    return slope if abs(slope) > FLAT else 0.0


def check_the_players_want_opposite_logits_of_a_fake(case: ObjectiveCase) -> None:
    """At some logit of a fake that both players have terms on, one wants it higher and the other lower."""
    case = case.all_labelled()
    wanted = wishes(play_at_levels(case))
    for name in case.play().fakes():
        own, its = ([by[c][name] for c in LEVELS] for by in (wanted.autoencoder, wanted.discriminator))
        if not any(own) or not any(its):
            continue
        assert wanted.opposed(name), (
            f"both players want D's logit of {name!r} {_direction(own)}; the auto-encoder wants a fake scored as D "
            "scores real inputs, and D wants it scored otherwise: is a sign or a target turned round?"
        )
    for name, cosine in _reconstructions(case):
        assert cosine < 0, (
            f"both players want {name!r} reconstructed alike; what the auto-encoder makes smaller D makes larger: is a "
            "sign turned round?"
        )


def _direction(slopes: list[float]) -> str:
    if all(slope <= 0 for slope in slopes):
        return "higher, whatever it is"
    return "lower, whatever it is" if all(slope >= 0 for slope in slopes) else "at the same value"


def _reconstructions(case: ObjectiveCase) -> Iterator[tuple[str, float]]:
    """For each fake whose reconstruction by D both players have terms on: the cosine of their gradients there."""
    played = case.play()
    names = [name for name in played.fakes() if name in played.output.reconstruction]
    tensors = [played.output.reconstruction[name] for name in names]
    by_player = (gradients(played.terms[player], tensors) for player in PLAYERS)
    for name, own, its in zip(names, *by_player):
        if own is not None and its is not None and own.any() and its.any():
            yield name, torch.cosine_similarity(own.flatten(), its.flatten(), dim=0).item()


def check_d_is_taught_to_tell_inputs_apart(case: ObjectiveCase) -> None:
    """D pulls the logits of its inputs apart: at some logit it wants one higher and another lower."""
    case = case.all_labelled()
    wanted = wishes(play_at_levels(case))
    slopes = [list(wanted.discriminator[c].values()) for c in LEVELS]
    if not any(slope for at_level in slopes for slope in at_level):
        return  # its terms are of something else than the logit
    apart = any(min(at_level) < 0 < max(at_level) for at_level in slopes)
    assert apart, (
        f"D wants the logits of all it is shown ({', '.join(wanted.discriminator[0.0])}) to go the same way at every "
        "logit, so it learns to tell nothing apart: is the target of the real or of the fake inputs turned round?"
    )


def check_every_fake_teaches_both_players(case: ObjectiveCase) -> None:
    """D has a term on every input, and what it is taught to score as a fake the auto-encoder makes pass."""
    case = case.all_labelled()
    played, at_levels = case.play(), play_at_levels(case)
    fakes = played.fakes()
    reads = {player: _read_by(at_levels, player) for player in PLAYERS}
    for name in played.batch.inputs:
        assert name in reads["discriminator"], (
            f"no term of D is of {name!r}, so its logit of it means nothing: add one, such as 'call it fake'"
        )
    if not fakes:
        return
    fooled = [name for name in fakes if name in reads["autoencoder"]]
    assert fooled, (
        f"no term of the auto-encoder is of what D says of a fake ({', '.join(fakes)}), so D teaches it nothing; is a "
        "term of another input's logit?"
    )
    wanted = wishes(at_levels)
    for name in set(fakes) - set(fooled):
        sides = [
            wanted.autoencoder[c][other] * wanted.discriminator[c][name]
            for other in fooled
            for c in wanted.opposed(other)
        ]
        assert not sides or max(sides) >= 0, (
            f"D is taught that {name!r} is a fake, and no term of the auto-encoder makes it pass for real; show "
            "it to D for both players or for none"
        )


def _read_by(at_levels: Mapping[float, Played], player: str) -> set[str]:
    """The inputs of D of which the player's terms read anything, at some logit."""
    found: set[str] = set()
    for played in at_levels.values():
        for said in (played.output.logits, played.output.label_logits, played.output.reconstruction):
            grads = gradients(played.terms[player], list(said.values()))
            found |= {name for name, grad in zip(said, grads) if grad is not None}
    return found


def check_each_term_reaches_the_auto_encoder(case: ObjectiveCase) -> None:
    """Every term of the auto-encoder has a slope at something that f, g or a mixer makes."""
    case = replace(case, batch=5).all_labelled()  # a term on pairs of two examples alone may have none
    far = {name: (LARGE - 1) * made.detach() for name, made in case.play().batch.made.items()}
    terms: dict[str, list[tuple[float, str]]] = {}
    for played in (case.play(), case.play(offset=2.0), case.play(offset=-2.0), case.play(moved=far)):
        for name, term in played.losses.autoencoder.items():
            terms.setdefault(name, []).append((term.item(), _reach(gradients({name: term}, played.made_by_networks()))))
    for name, found in terms.items():
        reached = {reach for _, reach in found}
        assert "nothing" not in reached, (
            f"auto-encoder term {name!r} depends on nothing that f, g or a mixer makes: is it of another input's logit?"
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
    ("x_rec", "a reconstruction to its image"),
    ("h_mix_rec", "the code of a decoded mix to the mix"),
)


def check_terms_pull_together_what_they_compare(case: ObjectiveCase) -> None:
    """A step down the auto-encoder's terms takes a reconstruction nearer to its image, and a mix's code to the mix."""
    for role, what in PULLS:
        start = case.play()
        if not start.batch.named(role):
            continue
        closer = []
        for scale in (0.0, LARGE):
            apart = scale * (start.batch.made[role] - _target(start, role)).detach()
            # What D says has no graph here: only terms that compare are left.
            played = case.play(moved={role: apart}, detached_output=True)
            (grad,) = gradients(played.losses.autoencoder, [played.batch.leaves[role]])
            if grad is not None:
                closer.append((grad * (played.batch.made[role] - _target(played, role))).sum().item())
        assert not any(closer) or max(closer) > 0, (
            f"the auto-encoder's terms push {what} away instead of pulling: is a sign turned round?"
        )


def _target(played: Played, role: str) -> Tensor:
    """What the images or codes of this role are compared with."""
    return played.batch.x if role == "x_rec" else played.batch.made["h_mix"]


def check_labels_are_of_their_own_image(case: ObjectiveCase) -> None:
    """A term on D's label logits of an image depends on that image's label, y of x and mixed.y of a mix."""
    case = case.all_labelled()
    for player in PLAYERS:
        for name, term in case.play().terms[player].items():
            for label in _labels_that_belong(case, player, name):
                others = _terms_of(case, player, label)
                assert not torch.equal(others[name], term), (
                    f"{player} term {name!r} reads D.label_logits of images whose label is {LABELS[label]}, and does "
                    f"not change with {LABELS[label]}; compare each image with its own label"
                )


LABELS = {"y": "batch.y", "y_mix": "mixed.y"}


def _terms_of(case: ObjectiveCase, player: str, label: str) -> Terms:
    """The player's terms if the labels of that name are others: class numbers and vectors alike."""
    changed = {"y": ("y", "labels"), "y_mix": ("y_mix",)}[label]
    others = other_labels(case)
    return case.play(changed={name: others[name] for name in changed}).terms[player]


def other_labels(case: ObjectiveCase) -> dict[str, Callable[[Tensor], Tensor]]:
    """What makes other labels of those of a batch, by their name: numbers, vectors, and the vectors of mixes."""
    width = case.context.label_width
    return {
        "y": lambda y: 0.3 * y + 0.7 / width,
        "labels": lambda labels: 1 - labels if case.context.attributes else (labels + 1) % width,
        "y_mix": lambda y: 0.3 * y + 0.7 / width,
    }


def _labels_that_belong(case: ObjectiveCase, player: str, term: str) -> list[str]:
    """Which labels the images have whose label logits the term reads."""
    played = case.play()
    logits = played.output.label_logits
    grads = gradients({term: played.terms[player][term]}, list(logits.values()))
    mixes = [played.is_of_a_mix(name) for name, grad in zip(logits, grads) if grad is not None]
    return ["y_mix"] * any(mixes) + ["y"] * (not all(mixes))


def check_unknown_labels_teach_nothing(case: ObjectiveCase) -> None:
    """D's label logits of an image are in no term if that label, or one of the mix's sources, is not known."""
    if not case.seed % 2:
        return  # every label is known
    played = case.play()
    logits, constants = played.output.label_logits, played.batch.constants
    for player in PLAYERS:
        for name, grad in zip(logits, gradients(played.terms[player], list(logits.values()))):
            mix = played.is_of_a_mix(name)
            known = constants.get("labelled_mix" if mix else "labelled", played.batch.labelled)
            assert grad is None or not grad[~known].any(), (
                f"the {player}'s terms read D.label_logits[{name!r}] of an example whose label is not known; multiply "
                f"by {'mixed' if mix else 'batch'}.labelled"
            )
