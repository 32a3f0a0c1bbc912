"""What an objective promises about its terms: named, finite, differentiable, and a function of the batch alone."""

import re
from dataclasses import replace

import torch
from torch import Tensor

from mixzoo.core.objective import Terms
from mixzoo.testing.objective_cases import PLAYERS, ObjectiveCase, gradients, summed
from mixzoo.testing.watching import gap, generators_untouched, same

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
STEPS = (1e-6, 1e-8)  # of the central difference; the smaller where a term is steep, as log p is at a small p
AGREEMENT = 1e-5  # relative difference that is allowed between a gradient and a central difference
EXTREME = 1e4  # a logit
ROUNDING = 1e-9  # relative; float64, summed in another order


def check_terms_are_named_finite_scalars(case: ObjectiveCase) -> None:
    """Every term is a finite scalar with a graph, and its name is one word."""
    played = case.play()
    dtype = played.batch.x.dtype
    for player, own in played.terms.items():
        for name, term in own.items():
            assert NAME.fullmatch(str(name)), f"a {player} term is named {name!r}; use one word"
            assert isinstance(term, Tensor), f"{player} term {name!r} is a {type(term).__name__}, expected a tensor"
            assert term.shape == (), (
                f"{player} term {name!r} has shape {list(term.shape)}, expected a scalar; take the mean"
            )
            assert term.dtype == dtype, f"{player} term {name!r} is {term.dtype}, expected {dtype} as x"
            assert term.isfinite(), f"{player} term {name!r} is {term.item()}, expected a finite number"
            assert term.requires_grad, f"{player} term {name!r} depends on nothing that is trained; detach nothing"


def check_reconstructions_teach_the_auto_encoder(case: ObjectiveCase) -> None:
    """Some term of the auto-encoder has a gradient at a reconstruction, directly or through D."""
    played = case.play()
    leaves = [played.batch.leaves[name] for name in played.batch.named("x_rec")]
    grads = gradients(played.losses.autoencoder, leaves)
    reached = any(grad is not None and bool(grad.any()) for grad in grads)
    assert reached, (
        "no gradient of the autoencoder's terms reaches a reconstruction; compare x with x_rec and detach nothing"
    )


def check_gradients_agree_with_finite_differences(case: ObjectiveCase) -> None:
    """The gradient of each player's terms agrees with central differences."""
    batch = case.play().batch
    of_networks, of_D = list(batch.made), [name for name in batch.leaves if name not in batch.made]
    for player, leaves in (("autoencoder", of_networks), ("discriminator", of_D)):
        if not leaves or any(agree(*slopes(case, player, leaves, step)) for step in STEPS):
            continue
        # Name the leaf where the gradient is wrong; a break hides the leaves before it, so start from the last.
        for name in reversed(leaves):
            by_step = [slopes(case, player, [name], step) for step in STEPS]
            by_graph, by_difference = by_step[0]
            assert any(agree(*slope) for slope in by_step), (
                f"the {player}'s terms change by {by_difference:.6g} along {name}, but their gradient is "
                f"{by_graph:.6g}; do not detach or round, the engine takes each player's gradient for its own weights "
                "only"
            )


def agree(by_graph: float, by_difference: float) -> bool:
    """Whether two derivatives are equal to the accuracy of a central difference."""
    return abs(by_graph - by_difference) <= AGREEMENT * max(1.0, abs(by_difference))


def slopes(case: ObjectiveCase, player: str, names: list[str], step: float) -> tuple[float, float]:
    """The derivative of a player's loss along a random direction: by autograd, and by central difference."""
    played = case.play()
    directions = {name: case.direction(name, played.batch.leaves[name]) for name in names}
    terms = played.terms[player]
    if not terms:
        return 0.0, 0.0
    grads = gradients(terms, [played.batch.leaves[name] for name in names])
    by_graph = sum((g * d).sum().item() for g, d in zip(grads, directions.values()) if g is not None)
    ends = [case.play(moved={name: sign * step * d for name, d in directions.items()}) for sign in (1, -1)]
    up, down = (summed(end.terms[player]).item() for end in ends)
    return by_graph, (up - down) / (2 * step)


def check_terms_are_a_function_of_the_batch(case: ObjectiveCase) -> None:
    """Two calls on one batch return the same terms and use no global random generator."""
    with generators_untouched("losses"):
        first, second = case.play().terms, case.play().terms
    for player in PLAYERS:
        assert first[player].keys() == second[player].keys(), (
            f"the {player}'s terms have other names in a second call on the same batch"
        )
        for name, term in first[player].items():
            assert same(term, second[player][name]), (
                f"{player} term {name!r} differs in a second call on the same batch; let it depend on the batch alone"
            )


def check_extreme_logits_give_finite_terms(case: ObjectiveCase) -> None:
    """Terms and their gradients are finite for logits of 10,000 and -10,000 in float32."""
    for offset in (EXTREME, -EXTREME):
        played = case.play(dtype=torch.float32, offset=offset)
        for name, term in played.every_term().items():
            assert term.isfinite(), (
                f"{name} is {term.item()} if logits are {offset:g}; use a stable form, such as "
                "binary_cross_entropy_with_logits or softplus"
            )
            grads = gradients({name: term}, list(played.batch.leaves.values()))
            finite = all(bool(grad.isfinite().all()) for grad in grads if grad is not None)
            assert finite, f"the gradient of {name} is NaN or infinite if logits are {offset:g}"


def check_the_order_of_the_batch_does_not_matter(case: ObjectiveCase) -> None:
    """Terms do not depend on the order of the examples in the batch."""
    first = case.play().every_term()
    orders = {
        "in reverse": case.play(order=lambda t: t.flip(0)),
        "rotated by one example": case.play(order=lambda t: t.roll(-1, 0)),
    }
    for order, played in orders.items():
        second = played.every_term()
        for name, term in first.items():
            assert gap(second[name], term) <= ROUNDING, (
                f"{name} is {term.item():.6g}, but {second[name].item():.6g} with the batch {order}; compare each "
                "example with its own reconstruction, share and label"
            )


def check_terms_are_means_over_examples(case: ObjectiveCase) -> None:
    """Terms are means over examples, so that a batch can be sharded; otherwise losses says whole_batch=True."""
    case = replace(case, batch=4).all_labelled()
    whole, *halves = (every_term(case, half) for half in (None, 0, 1))
    for name, term in whole.items():
        mean = (halves[0][name] + halves[1][name]) / 2
        assert gap(mean, term) <= ROUNDING, (
            f"{name} is {term.item():.6g} over a batch, but {mean.item():.6g} as the mean over its two halves; take "
            "means over examples, or return Losses(..., whole_batch=True), which rules out runs on several processes"
        )


def every_term(case: ObjectiveCase, half: int | None) -> Terms:
    """The terms of both players over the batch, or over one half of it."""
    return case.play(**({} if half is None else {"order": lambda t: t.chunk(2)[half]})).every_term()
