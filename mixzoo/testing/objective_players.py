"""What an objective promises about its two players: they compete on fakes, and each learns from the other.

D's logits are set to several levels, and the gradient of each player's terms shows in which direction that player wants
a logit to move. No form of the loss is assumed, nor the sign of a real logit: with cross-entropy D wants the logit of a
fake lower at every level, with ACAI's critic only above alpha.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixzoo.core.objective import Terms
from mixzoo.testing.objective_cases import PLAYERS, ObjectiveCase, Played, gradients

LEVELS = (0.0, 0.02, 0.1, 0.3, 0.7, -0.5, 2.0, -2.0)  # logits; the alpha of a critic is mostly in (0, 0.5)
FLAT = 1e-12  # a smaller slope counts as 0
LARGE = 4.0  # factor on distances to images and between codes, so that a term with a margin has a slope


class Wishes(NamedTuple):
    """The derivative of each player's loss with respect to the logit of each input, summed over the batch."""

    autoencoder: Mapping[float, Mapping[str, float]]  # level -> name of the input -> slope
    discriminator: Mapping[float, Mapping[str, float]]

    def opposed(self, name: str) -> list[float]:
        """The levels at which one player wants the logit higher and the other lower."""
        return [c for c in LEVELS if self.autoencoder[c][name] * self.discriminator[c][name] < 0]


def play_at_levels(case: ObjectiveCase) -> dict[float, Played]:
    """A call of the objective for each level in LEVELS, which is D's logit of every input."""
    return {level: case.play(level=level) for level in LEVELS}


def wishes(at_levels: Mapping[float, Played]) -> Wishes:
    """The slopes of both players' losses at every input of D, for each level."""
    slopes: dict[str, dict[float, dict[str, float]]] = {player: {} for player in PLAYERS}
    for level, played in at_levels.items():
        logits = played.output.logits
        for player, by_level in slopes.items():
            by_level[level] = dict(zip(logits, map(_slope, gradients(played.terms[player], list(logits.values())))))
    return Wishes(slopes["autoencoder"], slopes["discriminator"])


def _slope(grad: Tensor | None) -> float:
    slope = 0.0 if grad is None else grad.sum().item()
    return slope if abs(slope) > FLAT else 0.0


def check_the_players_want_opposite_logits_of_a_fake(case: ObjectiveCase) -> None:
    """On a fake that both players have terms on, one wants a higher logit and the other a lower one at some level."""
    case = case.all_labelled()
    wanted = wishes(play_at_levels(case))
    for name in case.play().fakes():
        of_ae, of_d = ([by[c][name] for c in LEVELS] for by in (wanted.autoencoder, wanted.discriminator))
        if not any(of_ae) or not any(of_d):
            continue
        assert wanted.opposed(name), (
            f"both players want D's logit of {name!r} {_direction(of_ae)}; the auto-encoder should want it where D "
            "wants real inputs, and D should not: is a sign or a target the wrong way round?"
        )
    for name, cosine in _reconstructions(case):
        assert cosine < 0, (
            f"both players change D's reconstruction of {name!r} in the same direction; what the auto-encoder "
            "minimises D should maximise: is a sign the wrong way round?"
        )


def _direction(slopes: list[float]) -> str:
    if all(slope <= 0 for slope in slopes):
        return "higher at every level"
    return "lower at every level" if all(slope >= 0 for slope in slopes) else "at the same value"


def _reconstructions(case: ObjectiveCase) -> Iterator[tuple[str, float]]:
    """For each fake, the cosine of the players' gradients at D's reconstruction of it, if both have terms on it."""
    played = case.play()
    names = [name for name in played.fakes() if name in played.output.reconstruction]
    tensors = [played.output.reconstruction[name] for name in names]
    by_player = (gradients(played.terms[player], tensors) for player in PLAYERS)
    for name, of_ae, of_d in zip(names, *by_player):
        if of_ae is not None and of_d is not None and of_ae.any() and of_d.any():
            yield name, torch.cosine_similarity(of_ae.flatten(), of_d.flatten(), dim=0).item()


def check_d_is_taught_to_tell_inputs_apart(case: ObjectiveCase) -> None:
    """D learns to separate its inputs: at some logit it wants one input scored higher and another lower."""
    case = case.all_labelled()
    wanted = wishes(play_at_levels(case))
    slopes = [list(wanted.discriminator[c].values()) for c in LEVELS]
    if not any(slope for at_level in slopes for slope in at_level):
        return  # its terms are on something other than the logits
    separates = any(min(at_level) < 0 < max(at_level) for at_level in slopes)
    assert separates, (
        f"at every level D wants the logits of all its inputs ({', '.join(wanted.discriminator[0.0])}) to move in the "
        "same direction, so it separates nothing: is the target of the real or of the fake inputs the wrong way round?"
    )


def check_every_fake_teaches_both_players(case: ObjectiveCase) -> None:
    """D has a term on every input, and the auto-encoder has a term that opposes D on every fake."""
    case = case.all_labelled()
    played, at_levels = case.play(), play_at_levels(case)
    fakes = played.fakes()

    # An input without a term of D gets arbitrary logits, which would mislead the auto-encoder.
    reads = {player: _read_by(at_levels, player) for player in PLAYERS}
    for name in played.batch.inputs:
        assert name in reads["discriminator"], (
            f"no term of D depends on its output for {name!r}, so that output means nothing; add a term, such as "
            "fake_loss"
        )
    if not fakes:
        return

    # An adversarial objective in which the auto-encoder ignores D has a useless discriminator.
    fooled = [name for name in fakes if name in reads["autoencoder"]]
    assert fooled, (
        f"no term of the auto-encoder depends on D's output for a fake ({', '.join(fakes)}), so it learns nothing from "
        "D; does a term read the logit of another input?"
    )

    # D may have a term on a fake without an opponent, as ACAI's on blends of x and x_rec, if it moves that logit in the
    # direction in which the auto-encoder moves those of opposed fakes: it treats that fake as real.
    wanted = wishes(at_levels)
    for name in set(fakes) - set(fooled):
        sides = [
            wanted.autoencoder[c][other] * wanted.discriminator[c][name]
            for other in fooled
            for c in wanted.opposed(other)
        ]
        assert not sides or max(sides) >= 0, (
            f"D learns that {name!r} is a fake, but no term of the auto-encoder opposes it; give both players a term "
            "on it, or neither"
        )


def _read_by(at_levels: Mapping[float, Played], player: str) -> set[str]:
    """The inputs of D whose outputs the player's terms depend on, at some level."""
    names: set[str] = set()
    for played in at_levels.values():
        for outputs in (played.output.logits, played.output.label_logits, played.output.reconstruction):
            grads = gradients(played.terms[player], list(outputs.values()))
            names |= {name for name, grad in zip(outputs, grads) if grad is not None}
    return names


def check_each_term_reaches_the_auto_encoder(case: ObjectiveCase) -> None:
    """Every term of the auto-encoder has a gradient at an output of f, g or a mixer."""
    case = replace(case, batch=5).all_labelled()  # a term on pairs of examples may have no gradient for 2
    far = {name: (LARGE - 1) * made.detach() for name, made in case.play().batch.made.items()}
    terms: dict[str, list[tuple[float, str]]] = {}
    for played in (case.play(), case.play(offset=2.0), case.play(offset=-2.0), case.play(moved=far)):
        for name, term in played.losses.autoencoder.items():
            terms.setdefault(name, []).append((term.item(), _reach(gradients({name: term}, played.made_by_networks()))))
    for name, calls in terms.items():
        reached = {reach for _, reach in calls}
        assert "nothing" not in reached, (
            f"auto-encoder term {name!r} depends on no output of f, g or a mixer; does it read the logit of another "
            "input?"
        )
        switched_off = all(value == 0 for value, _ in calls) and has_a_zero_option(case.part)
        assert reached != {"flat"} or switched_off, (
            f"auto-encoder term {name!r} has a gradient of 0 at every output of f, g and the mixer, so nothing learns "
            "from it; is its weight 0, or is something rounded?"
        )


def _reach(grads: list[Tensor | None]) -> str:
    if all(grad is None for grad in grads):
        return "nothing"
    return "something" if any(grad is not None and bool(grad.any()) for grad in grads) else "flat"


def has_a_zero_option(part: Any) -> bool:
    """Whether an option of the recipe is 0, which may disable a term on purpose."""
    return any(value == 0 for value in vars(part).values() if isinstance(value, int | float))


PULLS = (
    ("x_rec", "a reconstruction and its image"),
    ("h_mix_rec", "a mix and the code of the decoded mix"),
)


def check_terms_pull_together_what_they_compare(case: ObjectiveCase) -> None:
    """The auto-encoder's terms pull a reconstruction to its image, and the code of a decoded mix to the mix."""
    for role, what in PULLS:
        start = case.play()
        if not start.batch.named(role):
            continue
        closer = []
        for scale in (0.0, LARGE):
            offset = scale * (start.batch.made[role] - _target(start, role)).detach()
            # D's outputs are detached, so that only terms that compare tensors directly have a gradient.
            played = case.play(moved={role: offset}, detached_output=True)
            (grad,) = gradients(played.losses.autoencoder, [played.batch.leaves[role]])
            if grad is not None:
                closer.append((grad * (played.batch.made[role] - _target(played, role))).sum().item())
        assert not any(closer) or max(closer) > 0, (
            f"the auto-encoder's terms move {what} apart; is a sign the wrong way round?"
        )


def _target(played: Played, role: str) -> Tensor:
    """What a tensor of this role is compared with."""
    return played.batch.x if role == "x_rec" else played.batch.made["h_mix"]


def check_labels_are_of_their_own_image(case: ObjectiveCase) -> None:
    """A term on D's label logits depends on the label of the same image: batch.y for x, mixed.y for a mix."""
    case = case.all_labelled()
    for player in PLAYERS:
        for name, term in case.play().terms[player].items():
            for label in _labels_that_belong(case, player, name):
                others = _terms_of(case, player, label)
                assert not torch.equal(others[name], term), (
                    f"{player} term {name!r} reads D.label_logits of images whose label is {LABELS[label]}, but does "
                    f"not depend on {LABELS[label]}; compare each image with its own label"
                )


LABELS = {"y": "batch.y", "y_mix": "mixed.y"}


def _terms_of(case: ObjectiveCase, player: str, label: str) -> Terms:
    """The player's terms after a change of these labels, as class numbers and as vectors."""
    changed = {"y": ("y", "labels"), "y_mix": ("y_mix",)}[label]
    others = other_labels(case)
    return case.play(changed={name: others[name] for name in changed}).terms[player]


def other_labels(case: ObjectiveCase) -> dict[str, Callable[[Tensor], Tensor]]:
    """Functions that change the labels of a batch: vectors, class numbers, and the vectors of mixes."""
    width = case.context.label_width
    return {
        "y": lambda y: 0.3 * y + 0.7 / width,
        "labels": lambda labels: 1 - labels if case.context.attributes else (labels + 1) % width,
        "y_mix": lambda y: 0.3 * y + 0.7 / width,
    }


def _labels_that_belong(case: ObjectiveCase, player: str, term: str) -> list[str]:
    """The labels, of x or of mixes, of the images whose label logits the term reads."""
    played = case.play()
    logits = played.output.label_logits
    grads = gradients({term: played.terms[player][term]}, list(logits.values()))
    mixes = [played.is_of_a_mix(name) for name, grad in zip(logits, grads) if grad is not None]
    return ["y_mix"] * any(mixes) + ["y"] * (not all(mixes))


def check_unknown_labels_teach_nothing(case: ObjectiveCase) -> None:
    """No term depends on D's label logits of an unlabelled image, or of a mix with an unlabelled source."""
    if not case.seed % 2:
        return  # a case in which every example is labelled
    played = case.play()
    logits, constants = played.output.label_logits, played.batch.constants
    for player in PLAYERS:
        for name, grad in zip(logits, gradients(played.terms[player], list(logits.values()))):
            mix = played.is_of_a_mix(name)
            known = constants.get("labelled_mix" if mix else "labelled", played.batch.labelled)
            assert grad is None or not grad[~known].any(), (
                f"the {player}'s terms depend on D.label_logits[{name!r}] of unlabelled examples; multiply by "
                f"{'mixed' if mix else 'batch'}.labelled"
            )
