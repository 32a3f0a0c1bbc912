"""What an objective promises, one function a promise; `objective_checks` runs them all on a recipe or a built one.

Objectives run on stand-in batches in float64, with a discriminator that is a fixed smooth function of each example, so
that it is known what depends on what.
"""

import inspect
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from mixzoo.core.objective import Losses, Objective
from mixzoo.registry.contract import signatures
from mixzoo.testing import objective_players, objective_terms
from mixzoo.testing.objective_cases import (
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
from mixzoo.testing.objective_terms import NAME
from mixzoo.testing.report import Check, check_from
from mixzoo.testing.watching import same


def check_is_an_objective(case: ObjectiveCase) -> None:
    """losses(batch) returns mixzoo.Losses with the terms of both players by name."""
    objective = case.objective
    expected = f"expected {signatures('objective', ['losses'])}"
    assert callable(getattr(objective, "losses", None)), f"the objective has no losses; {expected}"
    assert isinstance(objective, Objective)
    own = inspect.signature(objective.losses)
    try:
        own.bind(None)
    except TypeError as err:
        raise AssertionError(f"the objective has losses{own}; {expected}") from err
    losses = objective.losses(case.stand_in())
    assert isinstance(losses, Losses), f"losses returns a {type(losses).__name__}; {expected}"
    for player, terms in (("autoencoder", losses.autoencoder), ("discriminator", losses.discriminator)):
        assert isinstance(terms, dict), f"the {player}'s terms are a {type(terms).__name__}; {expected}"


def check_asks_for_the_same_at_every_step(case: ObjectiveCase) -> None:
    """Every batch gets the same calls and needs the same draws, since a run makes the draws ahead."""
    first, second = case.play(), replace(case, seed=case.seed + 1).play()
    assert first.batch.calls == second.batch.calls, (
        f"losses calls {', '.join(first.batch.calls)} on one batch and {', '.join(second.batch.calls)} on another; "
        "make the same calls at every step"
    )
    assert first.batch.draws.keys() == second.batch.draws.keys(), (
        f"losses draws {sorted(first.batch.draws)} on one batch and {sorted(second.batch.draws)} on another; make the "
        "same draws at every step"
    )


def check_asks_for_nothing_in_vain(case: ObjectiveCase) -> None:
    """Everything that a network returns is used by a term or by another network."""
    played = case.play()
    total = torch.stack([summed(own) for own in played.terms.values()]).sum()
    names = list(played.batch.made)
    grads = gradients({"total": total}, [played.batch.leaves[name] for name in names])
    # The probe learns on the code of the first encode, so that code is used even if no term depends on it.
    code = next((name for name in names if played.batch.roles[name] in ("h", "mean")), "")
    for name, grad in zip(names, grads):
        is_used = grad is not None or name in played.batch.used or name == code
        assert is_used, f"{_origin(played, name)}, but no term depends on it; leave the call out"
    for what in ("label_logits", "reconstruction"):
        if what in played.batch.read:
            grads = gradients({"total": total}, list(getattr(played.output, what).values()))
            assert any(g is not None for g in grads), f"losses reads D.{what}, but no term depends on it; leave it out"
    if played.requirements.labels:
        others = case.all_labelled().play(changed=objective_players.other_labels(case)).every_term()
        terms = case.all_labelled().play().every_term()
        changes = any(not same(term, others[name]) for name, term in terms.items())
        assert changes, "losses reads labels, but no term depends on them; do not read them, some data sets have none"


def _origin(played: Played, name: str) -> str:
    """The call that returned this tensor, and its name."""
    role = played.batch.roles[name]
    what = {
        "x_rec": "batch.decode returns an image",
        "x_mix": "batch.decode returns an image of a mix",
        "h_mix": "batch.mix returns a mix",
        "mean": "batch.posterior returns a mean",
        "log_variance": "batch.posterior returns a log_variance",
    }.get(role, "batch.encode returns a code")
    return f"{what} ({name})"


def check_shows_the_discriminator_named_batches(case: ObjectiveCase) -> None:
    """discriminate is called with batches by name, all of one shape and of the dtype of x."""
    batch = case.play().batch
    for name, one in batch.inputs.items():
        assert NAME.fullmatch(name), f"discriminate has an input named {name!r}; use a word such as 'mix'"
        assert one.ndim > 1, f"discriminate({name}=...) has shape {list(one.shape)}, expected a batch of inputs"
        assert one.dtype == batch.x.dtype, f"discriminate({name}=...) is {one.dtype}, expected {batch.x.dtype} as x"


def check_terms_fit_the_use_of_a_discriminator(case: ObjectiveCase) -> None:
    """The discriminator has terms if and only if it is used; the auto-encoder always has terms."""
    played = case.play()
    uses, terms = played.requirements.discriminator, played.terms
    assert terms["autoencoder"], "the autoencoder's terms are empty, so f and g would not be trained"
    assert bool(terms["discriminator"]) == uses, (
        f"losses {'calls' if uses else 'never calls'} the discriminator, but the discriminator's terms are "
        f"{sorted(terms['discriminator'])}; give it terms if and only if you call it"
    )


def check_logits_teach_the_discriminator(case: ObjectiveCase) -> None:
    """Every term of D depends on an output of D."""
    played = case.play()
    outputs = [tensor for name in played.batch.inputs for tensor in played.outputs_of(name)]
    weights = _weights_of_discriminator(played)
    for name, term in played.losses.discriminator.items():
        grads = gradients({name: term}, [*outputs, *weights])
        depends = any(grad is not None for grad in grads)
        assert depends, f"discriminator term {name!r} depends on no output of D, so D cannot learn it; detach nothing"


def check_a_penalty_moves_the_discriminator(case: ObjectiveCase) -> None:
    """A penalty computed with batch.discriminator passes a gradient to the weights of D."""
    played = case.play()
    outputs = [tensor for name in played.batch.inputs for tensor in played.outputs_of(name)]
    weights = _weights_of_discriminator(played)
    for name, term in played.losses.discriminator.items():
        if any(grad is not None for grad in gradients({name: term}, outputs)):
            continue  # a term on the logits, not a penalty
        grads = gradients({name: term}, weights)
        reached = any(grad is not None and bool(grad.any()) for grad in grads)
        assert reached, f"penalty {name!r} has no gradient at D's weights; call autograd.grad with create_graph=True"


def _weights_of_discriminator(played: Played) -> list[Tensor]:
    """The weights of batch.discriminator, if the objective called it."""
    if "discriminator" not in played.batch.calls:
        return []
    return [weight for weight in played.batch.discriminator.parameters() if weight.requires_grad]


def check_every_input_of_the_discriminator_is_used(case: ObjectiveCase) -> None:
    """For every input of D, some term depends on D's output for it."""
    played = case.play()
    total = torch.stack([summed(own) for own in played.terms.values()]).sum()
    for name in played.batch.inputs:
        grads = gradients({"total": total}, played.outputs_of(name))
        assert any(grad is not None for grad in grads), (
            f"D gets {name!r}, but no term depends on its output for it; leave that input out"
        )


def check_the_batch_is_left_unchanged(case: ObjectiveCase) -> None:
    """losses writes in place to no tensor of the batch and to no output of a network."""
    played = case.play(leaves=False)
    for name, (tensor, copy, version) in played.batch.handed_out.items():
        untouched = tensor._version == version and same(tensor, copy)
        assert untouched, f"losses writes to {name} in place; make a new tensor (no x += ..., no clamp_)"


def check_the_discriminator_learns_without_the_auto_encoder(case: ObjectiveCase) -> None:
    """Every term of D has a gradient in a step that trains D only, with no graph through f, g and the mixer."""
    played = case.play(frozen=True)
    for name, term in played.losses.discriminator.items():
        assert term.requires_grad, (
            f"discriminator term {name!r} has no graph in a step that trains D only (--d-steps); it must depend on D, "
            "not on a graph through f or g"
        )


_check = partial(check_from, kind="objective", cases=objective_cases, case_cost=2)

objective_checks: tuple[Check, ...] = (
    _check(check_is_an_objective, stops=True),
    *map(
        _check,
        (
            check_asks_for_the_same_at_every_step,
            check_terms_fit_the_use_of_a_discriminator,
            objective_terms.check_terms_are_named_finite_scalars,
            check_asks_for_nothing_in_vain,
            objective_terms.check_reconstructions_teach_the_auto_encoder,
            objective_terms.check_gradients_agree_with_finite_differences,
            objective_terms.check_terms_are_a_function_of_the_batch,
            check_the_batch_is_left_unchanged,
            objective_terms.check_the_order_of_the_batch_does_not_matter,
        ),
    ),
    *map(
        partial(_check, applies=discriminates),
        (
            check_shows_the_discriminator_named_batches,
            check_logits_teach_the_discriminator,
            check_every_input_of_the_discriminator_is_used,
            check_the_discriminator_learns_without_the_auto_encoder,
            objective_terms.check_extreme_logits_give_finite_terms,
            objective_players.check_the_players_want_opposite_logits_of_a_fake,
            objective_players.check_d_is_taught_to_tell_inputs_apart,
            objective_players.check_every_fake_teaches_both_players,
        ),
    ),
    _check(objective_players.check_each_term_reaches_the_auto_encoder),
    _check(objective_players.check_terms_pull_together_what_they_compare),
    _check(objective_players.check_labels_are_of_their_own_image, applies=classifies),
    _check(objective_players.check_unknown_labels_teach_nothing, applies=classifies),
    check_from(check_every_option_is_read, "objective", applies=has_options),
    _check(objective_terms.check_terms_are_means_over_examples, applies=means_over_examples),
    _check(check_a_penalty_moves_the_discriminator, applies=penalises),
)
