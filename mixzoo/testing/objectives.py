"""What an objective promises, one function a promise; `objective_checks` runs them all on a recipe or a built one.

An objective is tried on stand-in batches, in float64, with a discriminator that is one fixed smooth function of each
example, so that what depends on what is known.
"""

import inspect
import re
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from mixzoo.core.objective import Losses, Objective, Terms
from mixzoo.registry.contract import signatures
from mixzoo.testing import objective_players as players
from mixzoo.testing.objective_cases import (
    PLAYERS,
    ObjectiveCase,
    Played,
    classifies,
    discriminates,
    gradients,
    means_over_examples,
    objective_cases,
    penalises,
    summed,
)
from mixzoo.testing.objective_options import check_every_option_is_read, has_options
from mixzoo.testing.report import Check, check_from
from mixzoo.testing.watching import gap, generators_untouched, same

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
STEP, AGREEMENT = 1e-6, 1e-5  # of the central difference; part of the derivative's size
EXTREME = 1e4  # a logit
ROUNDING = 1e-9  # float64, sums in another order


def check_is_an_objective(case: ObjectiveCase) -> None:
    """It has losses(batch), which returns mixzoo.Losses of both players' terms by name."""
    objective = case.objective
    expected = f"expected {signatures('objective', ['losses'])}"
    assert callable(getattr(objective, "losses", None)), f"it lacks losses; {expected}"
    assert isinstance(objective, Objective)
    own = inspect.signature(objective.losses)
    try:
        own.bind(None)
    except TypeError as err:
        raise AssertionError(f"it has losses{own}; {expected}") from err
    losses = objective.losses(case.stand_in())
    assert isinstance(losses, Losses), f"losses gives a {type(losses).__name__}; {expected}"
    for player, terms in (("autoencoder", losses.autoencoder), ("discriminator", losses.discriminator)):
        assert isinstance(terms, dict), f"the {player}'s terms are a {type(terms).__name__}; {expected}"


def check_asks_for_the_same_at_every_step(case: ObjectiveCase) -> None:
    """It makes the same calls and asks for the same draws whatever the batch holds: a run makes them ahead."""
    first, second = case.play(), replace(case, seed=case.seed + 1).play()
    assert first.batch.calls == second.batch.calls, (
        f"it calls {', '.join(first.batch.calls)} for one batch and {', '.join(second.batch.calls)} for another; "
        "make the same calls at every step"
    )
    assert first.batch.draws.keys() == second.batch.draws.keys(), (
        f"it asks for the draws {sorted(first.batch.draws)} for one batch and {sorted(second.batch.draws)} for another"
    )


def check_asks_for_nothing_in_vain(case: ObjectiveCase) -> None:
    """Everything that a network makes reaches a term or another network, so nothing is computed for nothing."""
    played = case.play()
    total = torch.stack([summed(own) for own in played.terms.values()]).sum()
    names = list(played.batch.made)
    grads = gradients({"total": total}, [played.batch.leaves[name] for name in names])
    code = next((name for name in names if played.batch.roles[name] in ("h", "mean")), "")  # the probe reads it
    for name, grad in zip(names, grads):
        reads = grad is not None or name in played.batch.used or name == code
        assert reads, f"{_origin(played, name)}, and no term depends on it; leave the call out"
    for what in ("label_logits", "reconstruction"):
        if what in played.batch.read:
            found = gradients({"total": total}, list(getattr(played.output, what).values()))
            assert any(g is not None for g in found), f"it reads D.{what}, and no term depends on it; leave it out"
    if played.requirements.labels:
        others = case.all_labelled().play(changed=players.other_labels(case)).every_term()
        terms = case.all_labelled().play().every_term()
        changes = any(not same(term, others[name]) for name, term in terms.items())
        assert changes, "it reads labels, and no term changes with them; leave it out, as some data have none"


def _origin(played: Played, name: str) -> str:
    """Which call made it."""
    role = played.batch.roles[name]
    what = {"x_rec": "batch.decode makes an image", "x_mix": "batch.decode makes an image of a mix",
            "h_mix": "batch.mix makes a mix", "mean": "batch.posterior gives a mean",
            "log_variance": "batch.posterior gives a log_variance"}.get(role, "batch.encode makes a code")  # fmt: skip
    return f"{what} ({name})"


def check_shows_the_discriminator_named_batches(case: ObjectiveCase) -> None:
    """discriminate gets batches by name, all of one shape and of the type of x."""
    batch = case.play().batch
    for name, one in batch.inputs.items():
        assert NAME.fullmatch(name), f"discriminate has the name {name!r}; use a word such as 'mix'"
        assert one.ndim > 1, f"discriminate({name}=...) is {list(one.shape)}, expected a batch"
        assert one.dtype == batch.x.dtype, f"discriminate({name}=...) is {one.dtype}, x is {batch.x.dtype}"


def check_terms_fit_the_use_of_a_discriminator(case: ObjectiveCase) -> None:
    """With a discriminator there are terms for it, without one there are none; f and g always have terms."""
    played = case.play()
    uses, terms = played.requirements.discriminator, played.terms
    assert terms["autoencoder"], "the autoencoder's terms are empty, so f and g would never be trained"
    assert bool(terms["discriminator"]) == uses, (
        f"it {'calls' if uses else 'never calls'} the discriminator, and the discriminator's terms are "
        f"{sorted(terms['discriminator'])}; train what you use, and nothing else"
    )


def check_terms_are_named_finite_scalars(case: ObjectiveCase) -> None:
    """Every term has a word for a name and is one finite number with a graph behind it."""
    played = case.play()
    dtype = played.batch.x.dtype
    for player, own in played.terms.items():
        for name, term in own.items():
            assert NAME.fullmatch(str(name)), f"a {player} term is called {name!r}; use one word"
            assert isinstance(term, Tensor), f"{player} term {name!r} is {type(term).__name__}, expected a tensor"
            assert term.shape == (), f"{player} term {name!r} is {list(term.shape)}, expected one number; take the mean"
            assert term.dtype == dtype, f"{player} term {name!r} is {term.dtype}, x is {dtype}"
            assert term.isfinite(), f"{player} term {name!r} is {term.item()}"
            assert term.requires_grad, f"{player} term {name!r} depends on nothing that is trained; detach nothing"


def check_reconstructions_teach_the_auto_encoder(case: ObjectiveCase) -> None:
    """The auto-encoder's terms pass a gradient to a reconstruction, by themselves or through D's logit of it."""
    played = case.play()
    leaves = [played.batch.leaves[name] for name in played.batch.named("x_rec")]
    grads = gradients(played.losses.autoencoder, leaves)
    reached = any(grad is not None and bool(grad.any()) for grad in grads)
    assert reached, "no gradient of the autoencoder's terms reaches a reconstruction; detach nothing"


def check_logits_teach_the_discriminator(case: ObjectiveCase) -> None:
    """Every term of D depends on what D says, or goes through D itself."""
    played = case.play()
    said = [tensor for name in played.batch.inputs for tensor in played.said_of(name)]
    direct = _own_weights(played)
    for name, term in played.losses.discriminator.items():
        grads = gradients({name: term}, [*said, *direct])
        moves = any(grad is not None for grad in grads)
        assert moves, f"discriminator term {name!r} depends on no logit, so D cannot move it; detach nothing"


def check_a_penalty_moves_the_discriminator(case: ObjectiveCase) -> None:
    """A term that goes through batch.discriminator has a gradient at its weights."""
    played = case.play()
    said = [tensor for name in played.batch.inputs for tensor in played.said_of(name)]
    direct = _own_weights(played)
    for name, term in played.losses.discriminator.items():
        if any(grad is not None for grad in gradients({name: term}, said)):
            continue
        grads = gradients({name: term}, direct)
        moves = any(grad is not None and bool(grad.any()) for grad in grads)
        assert moves, f"penalty {name!r} moves no weight of D; make its gradient with create_graph=True"


def _own_weights(played: Played) -> list[Tensor]:
    """The weights of D itself, if the objective called it."""
    if "discriminator" not in played.batch.calls:
        return []
    return [weight for weight in played.batch.discriminator.parameters() if weight.requires_grad]


def check_every_input_of_the_discriminator_is_used(case: ObjectiveCase) -> None:
    """Of everything that D is shown some term reads what D says."""
    played = case.play()
    total = torch.stack([summed(own) for own in played.terms.values()]).sum()
    for name in played.batch.inputs:
        grads = gradients({"total": total}, played.said_of(name))
        assert any(grad is not None for grad in grads), (
            f"D is shown {name!r}, and no term reads what it says; leave it out"
        )


def check_gradients_agree_with_finite_differences(case: ObjectiveCase) -> None:
    """Each player's gradient, of its own terms and through D's inputs, agrees with central differences."""
    batch = case.play().batch
    of_networks, of_D = list(batch.made), [name for name in batch.leaves if name not in batch.made]
    for player, leaves in (("autoencoder", of_networks), ("discriminator", of_D)):
        if not leaves or agree(*slopes(case, player, leaves)):
            continue
        for name in reversed(leaves):  # which one is it? What lies behind a break hides what lies before it
            by_graph, by_difference = slopes(case, player, [name])
            assert agree(by_graph, by_difference), (
                f"the {player}'s terms change by {by_difference:.6g} along {name}, but their gradient says "
                f"{by_graph:.6g}; detach nothing, round nothing, the engine keeps the players apart"
            )


def agree(by_graph: float, by_difference: float) -> bool:
    """Whether two derivatives are equal as far as a central difference can tell."""
    return abs(by_graph - by_difference) <= AGREEMENT * max(1.0, abs(by_difference))


def slopes(case: ObjectiveCase, player: str, names: list[str]) -> tuple[float, float]:
    """The derivative of a player's sum along a random direction of leaves: by the graph, by central difference."""
    played = case.play()
    directions = {name: case.direction(name, played.batch.leaves[name]) for name in names}
    terms = played.terms[player]
    if not terms:
        return 0.0, 0.0
    grads = gradients(terms, [played.batch.leaves[name] for name in names])
    by_graph = sum((g * d).sum().item() for g, d in zip(grads, directions.values()) if g is not None)
    ends = [case.play(moved={name: sign * STEP * d for name, d in directions.items()}) for sign in (1, -1)]
    up, down = (summed(end.terms[player]).item() for end in ends)
    return by_graph, (up - down) / (2 * STEP)


def check_terms_are_a_function_of_the_batch(case: ObjectiveCase) -> None:
    """The same batch gives the same terms twice, and no global generator moves."""
    with generators_untouched("the objective"):
        first, second = case.play().terms, case.play().terms
    for player in PLAYERS:
        assert first[player].keys() == second[player].keys(), f"the {player}'s terms have other names the second time"
        for name, term in first[player].items():
            assert same(term, second[player][name]), f"{player} term {name!r} is another number the second time"


def check_the_batch_is_left_unchanged(case: ObjectiveCase) -> None:
    """It writes to nothing of the batch, to nothing that a network made and to no logit."""
    played = case.play(leaves=False)
    for name, (tensor, copy, version) in played.batch.handed_out.items():
        untouched = tensor._version == version and same(tensor, copy)
        assert untouched, f"the objective writes to {name} in place; make a new tensor (no x += ..., no clamp_)"


def check_the_discriminator_learns_without_the_auto_encoder(case: ObjectiveCase) -> None:
    """In a step of D alone, in which f, g and the mixer keep no graph, every term of D has a gradient."""
    played = case.play(frozen=True)
    for name, term in played.losses.discriminator.items():
        assert term.requires_grad, (
            f"discriminator term {name!r} has no graph in a step of D alone (--d-steps); it is of D's weights, and "
            "must not depend on a graph of f or g"
        )


def check_extreme_logits_give_finite_terms(case: ObjectiveCase) -> None:
    """Logits of 10,000 and -10,000, in float32, give finite terms and finite gradients."""
    for offset in (EXTREME, -EXTREME):
        played = case.play(dtype=torch.float32, offset=offset)
        for name, term in played.every_term().items():
            assert term.isfinite(), (
                f"{name} is {term.item()} if logits are {offset:g}; use a form that is stable "
                "on logits, such as binary_cross_entropy_with_logits or softplus"
            )
            grads = gradients({name: term}, list(played.batch.leaves.values()))
            finite = all(bool(grad.isfinite().all()) for grad in grads if grad is not None)
            assert finite, f"the gradient of {name} is NaN or infinite if logits are {offset:g}"


def check_the_order_of_the_batch_does_not_matter(case: ObjectiveCase) -> None:
    """With the examples in another order every term stays the same."""
    first = case.play().every_term()
    orders = {
        "in reverse": case.play(order=lambda t: t.flip(0)),
        "begun at its second example": case.play(order=lambda t: t.roll(-1, 0)),
    }
    for order, played in orders.items():
        second = played.every_term()
        for name, term in first.items():
            assert gap(second[name], term) <= ROUNDING, (
                f"{name} is {term.item():.6g} and, with the batch {order}, {second[name].item():.6g}; pair each "
                "example with its own, labels too"
            )


def check_terms_are_means_over_examples(case: ObjectiveCase) -> None:
    """Terms of a batch are the means of those of its halves, so that several processes may share it; or whole_batch."""
    case = replace(case, batch=4).all_labelled()
    whole, *halves = (every_term(case, half) for half in (None, 0, 1))
    for name, term in whole.items():
        mean = (halves[0][name] + halves[1][name]) / 2
        assert gap(mean, term) <= ROUNDING, (
            f"{name} is {term.item():.6g} over a batch, and {mean.item():.6g} in the mean over its halves; take means "
            "over examples, or return Losses(..., whole_batch=True), and a run on several processes is refused"
        )


def every_term(case: ObjectiveCase, half: int | None) -> Terms:
    """Both players' terms, over the batch or a half of it."""
    return case.play(**({} if half is None else {"order": lambda t: t.chunk(2)[half]})).every_term()


_check = partial(check_from, kind="objective", cases=objective_cases)

objective_checks: tuple[Check, ...] = (
    _check(check_is_an_objective, stops=True),
    *map(
        _check,
        (
            check_asks_for_the_same_at_every_step,
            check_terms_fit_the_use_of_a_discriminator,
            check_terms_are_named_finite_scalars,
            check_asks_for_nothing_in_vain,
            check_reconstructions_teach_the_auto_encoder,
            check_gradients_agree_with_finite_differences,
            check_terms_are_a_function_of_the_batch,
            check_the_batch_is_left_unchanged,
            check_the_order_of_the_batch_does_not_matter,
        ),
    ),
    *map(
        partial(_check, applies=discriminates),
        (
            check_shows_the_discriminator_named_batches,
            check_logits_teach_the_discriminator,
            check_every_input_of_the_discriminator_is_used,
            check_the_discriminator_learns_without_the_auto_encoder,
            check_extreme_logits_give_finite_terms,
            players.check_the_players_want_opposite_logits_of_a_fake,
            players.check_d_is_taught_to_tell_inputs_apart,
            players.check_every_fake_teaches_both_players,
        ),
    ),
    _check(players.check_each_term_reaches_the_auto_encoder),
    _check(players.check_terms_pull_together_what_they_compare),
    _check(players.check_labels_are_of_their_own_image, applies=classifies),
    _check(players.check_unknown_labels_teach_nothing, applies=classifies),
    check_from(check_every_option_is_read, "objective", applies=has_options),
    _check(check_terms_are_means_over_examples, applies=means_over_examples),
    _check(check_a_penalty_moves_the_discriminator, applies=penalises),
)
