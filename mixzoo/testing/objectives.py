"""What an objective promises, one function a promise; `objective_checks` runs them all on a recipe or a built one.

An objective is tried on a forward pass made up of random tensors, in float64, with a discriminator that is one fixed
smooth function of each image, so that what depends on what is known.
"""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mixzoo.contract import signatures
from mixzoo.protocols import Needs, Objective, Scores, Terms
from mixzoo.testing import objective_players as players
from mixzoo.testing.objective_options import check_every_option_is_read, has_options
from mixzoo.testing.passes import (
    READINGS,
    ObjectiveCase,
    Pass,
    judges,
    means_over_examples,
    needs_of,
    objective_cases,
)
from mixzoo.testing.report import Check, check_from
from mixzoo.testing.watching import gap, generators_untouched, same, seeded, unwritten

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
STEP, AGREEMENT = 1e-6, 1e-5  # of the central difference; part of the derivative's size
EXTREME = 1e4  # a score
PLAYERS = ("autoencoder", "discriminator")
ROUNDING = 1e-9  # float64, sums in another order


def check_is_an_objective(case: ObjectiveCase) -> None:
    """It has needs (a Needs, always the same), judged, autoencoder_terms and discriminator_terms."""
    objective = case.objective
    missing = [n for n in ("needs", "judged", "autoencoder_terms", "discriminator_terms") if not hasattr(objective, n)]
    assert not missing, f"it lacks {', '.join(missing)}; expected {signatures('objective', missing)}"
    assert isinstance(objective, Objective)
    assert isinstance(objective.needs, Needs), f"needs is {objective.needs!r}, expected mixzoo.Needs(...)"
    needs = objective.needs
    assert needs == objective.needs, "needs changes from one reading to the next"
    assert needs.mix or not needs.reencode, "needs has reencode=True without mix=True; it is mixes that are re-encoded"
    for name, arguments in (("judged", 1), ("autoencoder_terms", 2), ("discriminator_terms", 2)):
        own = inspect.signature(getattr(objective, name))
        try:
            own.bind(*[None] * arguments)
        except TypeError as err:
            raise AssertionError(f"it has {name}{own}; expected {signatures('objective', [name])}") from err


def check_reads_only_what_it_needs(case: ObjectiveCase) -> None:
    """It reads nothing of the forward pass that its needs do not name."""
    with reading_within_needs():
        played(case.objective, case.a_pass())


def check_reads_all_that_it_needs(case: ObjectiveCase) -> None:
    """It reads everything that its needs name, so that nothing is computed for nothing."""
    needs, run = case.objective.needs, case.a_pass()
    with reading_within_needs():
        played(case.objective, run)
    for need, fields in READINGS.items():
        assert not getattr(needs, need) or run.r.read & set(fields), (
            f"needs has {need}=True, but none of {', '.join('r.' + f for f in fields)} is ever read; leave it out"
        )
    for need in ("attributes", "redrawn"):
        if not getattr(needs, need):
            continue
        total = torch.stack([summed(own) for own in played(case.objective, run).values()]).sum()
        grads = torch.autograd.grad(total, list(getattr(run.judgement, need).values()), allow_unused=True)
        assert any(g is not None for g in grads), f"needs has {need}=True, but no term reads D.{need}"


@contextmanager
def reading_within_needs() -> Iterator[None]:
    """AssertionError, in place of another, where something is read that the needs do not name."""
    try:
        yield
    except KeyError as err:
        raise AssertionError(
            f"it reads what D does not say of {err}; add the images to judged, attributes=True to its needs for "
            "D.attributes, or redrawn=True to its needs for D.redrawn"
        ) from err
    except ValueError as err:
        if "does not ask for" not in str(err):
            raise
        raise AssertionError(str(err)) from err


def check_judges_images(case: ObjectiveCase) -> None:
    """judged gives named batches of images, each image of the shape and type of x."""
    run = case.a_pass()
    for name, images in case.objective.judged(run.r).items():
        assert NAME.fullmatch(str(name)), f"judged has the name {name!r}; use a word such as 'mix'"
        assert isinstance(images, Tensor), f"judged[{name!r}] is {type(images).__name__}, expected a batch of images"
        fits = images.ndim == 4 and images.shape[1:] == run.r.x.shape[1:] and len(images) > 0
        assert fits, f"judged[{name!r}] is {list(images.shape)}, but x is {list(run.r.x.shape)}"
        assert images.dtype == run.r.x.dtype, f"judged[{name!r}] is {images.dtype}, x is {run.r.x.dtype}"


def check_terms_fit_the_need_of_a_discriminator(case: ObjectiveCase) -> None:
    """With needs.discriminator it judges images and has terms for D; without, neither; f and g always have terms."""
    needs, run = case.objective.needs, case.a_pass()
    judged, terms = case.objective.judged(run.r), played(case.objective, run)
    assert terms["autoencoder"], "autoencoder_terms is empty, so f and g would never be trained"
    for name, found in (("judged", judged), ("discriminator_terms", terms["discriminator"])):
        assert bool(found) == needs.discriminator, (
            f"needs.discriminator is {needs.discriminator}, but {name} gives {sorted(found)}; make both say the same"
        )


def check_terms_are_named_finite_scalars(case: ObjectiveCase) -> None:
    """Every term has a word for a name and is one finite number with a graph behind it."""
    run = case.a_pass()
    for player, own in played(case.objective, run).items():
        for name, term in own.items():
            assert NAME.fullmatch(str(name)), f"a {player} term is called {name!r}; use one word"
            assert isinstance(term, Tensor), f"{player} term {name!r} is {type(term).__name__}, expected a tensor"
            assert term.shape == (), f"{player} term {name!r} is {list(term.shape)}, expected one number; take the mean"
            assert term.dtype == run.r.x.dtype, f"{player} term {name!r} is {term.dtype}, x is {run.r.x.dtype}"
            assert term.isfinite(), f"{player} term {name!r} is {term.item()}"
            assert term.requires_grad, f"{player} term {name!r} depends on nothing that is trained; detach nothing"


def check_reconstructions_teach_the_auto_encoder(case: ObjectiveCase) -> None:
    """The auto-encoder's terms pass a gradient to x_rec, by themselves or through D's score of it."""
    run = case.a_pass()
    total = summed(played(case.objective, run)["autoencoder"])
    (grad,) = torch.autograd.grad(total, run.leaves["x_rec"], allow_unused=True)
    reached = grad is not None and bool(grad.any())
    assert reached, "no gradient of the auto-encoder's terms reaches r.x_rec; detach nothing"


def check_scores_teach_the_discriminator(case: ObjectiveCase) -> None:
    """Every term of D depends on a score."""
    run = case.a_pass()
    for name, term in played(case.objective, run)["discriminator"].items():
        grads = torch.autograd.grad(term, run.scores, retain_graph=True, allow_unused=True)
        moves = any(grad is not None for grad in grads)
        assert moves, f"discriminator term {name!r} depends on no score, so D cannot move it; detach nothing"


def check_a_penalty_is_terms_of_the_discriminator(case: ObjectiveCase) -> None:
    """discriminator_penalty(x, D) gives named finite scalars that move D, and its name is no other term's."""
    run = case.a_pass(dtype=torch.float32)
    pixels = run.r.x[0].numel()
    with seeded(case.seed):
        D = _Judge(pixels, case.context.label_width if case.objective.needs.attributes else 0)
    with unwritten({"x": run.r.x}, "discriminator_penalty"):
        terms = case.objective.discriminator_penalty(run.r.x, D)
    assert terms, "discriminator_penalty gives no terms; leave penalty=True out of the needs"
    twice = sorted(terms.keys() & played(case.objective, run)["discriminator"].keys())
    assert not twice, f"the name {twice} is that of another discriminator term too"
    for name, term in terms.items():
        assert NAME.fullmatch(str(name)), f"a penalty is called {name!r}; use one word"
        assert isinstance(term, Tensor), f"penalty {name!r} is {type(term).__name__}, expected a tensor"
        assert term.shape == (), f"penalty {name!r} is {list(term.shape)}, expected one number; take the mean"
        assert term.isfinite(), f"penalty {name!r} is {term.item()}"
        grads = torch.autograd.grad(term, list(D.parameters()), allow_unused=True) if term.requires_grad else ()
        moves = any(grad is not None and grad.any() for grad in grads)
        assert moves, f"penalty {name!r} moves no weight of D; make its gradient with create_graph=True"


class _Judge(nn.Module):
    """A small smooth discriminator."""

    def __init__(self, pixels: int, head: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 8), nn.Tanh(), nn.Linear(8, 1 + head))
        self.head = head

    def forward(self, x: Tensor) -> Scores:
        out = self.body(x)
        return Scores(out[:, 0], out[:, 1:] if self.head else None)


def penalises(part: Any) -> str:
    """'' for an objective with a penalty that needs D itself."""
    return "" if needs_of(part).penalty else "it has no penalty that needs D itself"


def check_every_judged_image_is_used(case: ObjectiveCase) -> None:
    """Of everything that D judges some term reads the score."""
    run = case.a_pass()
    terms = played(case.objective, run)
    if not run.judgement.realness:
        return
    total = torch.stack([summed(own) for own in terms.values()]).sum()
    for name in run.judgement.realness:
        grads = torch.autograd.grad(total, run.said_of(name), retain_graph=True, allow_unused=True)
        assert any(grad is not None for grad in grads), f"D judges {name!r}, and no term reads its score; leave it out"


def check_gradients_agree_with_finite_differences(case: ObjectiveCase) -> None:
    """Each player's gradient, of its own sum and through what is judged, is the one that central differences give."""
    for player, leaves in (("autoencoder", case.trained_leaves()), ("discriminator", case.discriminator_leaves())):
        if agree(*slopes(case, player, leaves)):
            continue
        for name in leaves:  # which one is it?
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
    run = case.a_pass()
    directions = {name: case.direction(run.leaves[name]) for name in names}
    terms = played(case.objective, run)[player]
    if not terms:
        return 0.0, 0.0
    total = summed(terms)
    leaves = [run.leaves[name] for name in names]
    grads = torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else [None for _ in names]
    by_graph = sum((g * d).sum().item() for g, d in zip(grads, directions.values()) if g is not None)
    ends = [case.a_pass(moved={name: sign * STEP * d for name, d in directions.items()}) for sign in (1, -1)]
    up, down = (summed(played(case.objective, end)[player]).item() for end in ends)
    return by_graph, (up - down) / (2 * STEP)


def check_terms_are_a_function_of_the_pass(case: ObjectiveCase) -> None:
    """The same forward pass gives the same terms twice, and no global generator moves."""
    run = case.a_pass()
    with generators_untouched("the objective"):
        first, second = played(case.objective, run), played(case.objective, run)
    for player in PLAYERS:
        assert first[player].keys() == second[player].keys(), f"the {player}'s terms have other names the second time"
        for name, term in first[player].items():
            assert same(term, second[player][name]), f"{player} term {name!r} is another number the second time"


def check_the_pass_is_left_unchanged(case: ObjectiveCase) -> None:
    """It writes to nothing of the forward pass and to no score."""
    run = case.a_pass(leaves=False)
    watched = {f"r.{name}": tensor for name, tensor in run.tensors.items()}
    with unwritten(watched, "the objective"):
        judged = case.objective.judged(run.r)
    D = run.judge(judged)
    scores = {f"D[{name!r}]": score for name, score in D.realness.items()}
    with unwritten(watched | scores, "the objective"):
        case.objective.autoencoder_terms(run.r, D)
        case.objective.discriminator_terms(run.r, D)


def check_extreme_scores_give_finite_terms(case: ObjectiveCase) -> None:
    """Scores of 10,000 and -10,000, in float32, give finite terms and finite gradients."""
    for offset in (EXTREME, -EXTREME):
        run = case.a_pass(dtype=torch.float32, offset=offset)
        for player, own in played(case.objective, run).items():
            for name, term in own.items():
                assert term.isfinite(), (
                    f"{player} term {name!r} is {term.item()} where scores are {offset:g}; use a form that is stable "
                    "on raw scores, such as binary_cross_entropy_with_logits or softplus"
                )
                grads = torch.autograd.grad(term, list(run.leaves.values()), retain_graph=True, allow_unused=True)
                finite = all(grad.isfinite().all() for grad in grads if grad is not None)
                assert finite, f"the gradient of {player} term {name!r} is NaN or infinite where scores are {offset:g}"


def check_the_order_of_the_batch_does_not_matter(case: ObjectiveCase) -> None:
    """With the examples in another order every term stays the same."""
    first = played(case.objective, case.a_pass())
    orders = {"in reverse": case.a_pass(reverse=True), "begun at its second example": case.a_pass(turn=-1)}
    for order, run in orders.items():
        second = played(case.objective, run)
        for player in PLAYERS:
            for name, term in first[player].items():
                assert gap(second[player][name], term) <= ROUNDING, (
                    f"{player} term {name!r} is {term.item():.6g} and, with the batch {order}, "
                    f"{second[player][name].item():.6g}; pair each example with its own, labels too"
                )


def check_terms_are_means_over_examples(case: ObjectiveCase) -> None:
    """Terms of a batch are the means of those of its halves, so that several processes may share it; or whole_batch."""
    case = replace(case, batch=4).all_labelled()
    whole, *halves = (every_term(case, half) for half in (None, 0, 1))
    for name, term in whole.items():
        mean = (halves[0][name] + halves[1][name]) / 2
        assert gap(mean, term) <= ROUNDING, (
            f"{name} is {term.item():.6g} over a batch, and {mean.item():.6g} in the mean over its halves; take means "
            "over examples, or add whole_batch=True to its needs, and a run on several processes is refused"
        )


def every_term(case: ObjectiveCase, half: int | None) -> Terms:
    """Both players' terms and the penalties, over the batch or a half of it."""
    run = case.a_pass(half=half)
    terms = {f"{player} term {name!r}": term for player, own in played(case.objective, run).items()
             for name, term in own.items()}  # fmt: skip
    if case.objective.needs.penalty:
        with seeded(case.seed):
            head = case.context.label_width if case.objective.needs.attributes else 0
            D = _Judge(run.r.x[0].numel(), head).double()
        penalties = case.objective.discriminator_penalty(run.r.x, D)
        terms |= {f"penalty {name!r}": term for name, term in penalties.items()}
    return terms


def played(objective: Any, run: Pass) -> dict[str, Any]:
    """Both players' terms, as they are given, after D judged what the objective wants judged."""
    D = run.judge(objective.judged(run.r))
    return {
        "autoencoder": objective.autoencoder_terms(run.r, D),
        "discriminator": objective.discriminator_terms(run.r, D),
    }


def summed(terms: Terms) -> Tensor:
    """What the player descends on; 0 where it has no terms."""
    return torch.stack(list(terms.values())).sum() if terms else torch.zeros((), dtype=torch.float64)


_check = partial(check_from, kind="objective", cases=objective_cases)

objective_checks: tuple[Check, ...] = (
    _check(check_is_an_objective, stops=True),
    *map(
        _check,
        (
            check_reads_only_what_it_needs,
            check_reads_all_that_it_needs,
            check_terms_fit_the_need_of_a_discriminator,
            check_terms_are_named_finite_scalars,
            check_reconstructions_teach_the_auto_encoder,
            check_gradients_agree_with_finite_differences,
            check_terms_are_a_function_of_the_pass,
            check_the_pass_is_left_unchanged,
            check_the_order_of_the_batch_does_not_matter,
        ),
    ),
    *map(
        partial(_check, applies=judges),
        (
            check_judges_images,
            check_scores_teach_the_discriminator,
            check_every_judged_image_is_used,
            check_extreme_scores_give_finite_terms,
            players.check_the_players_want_opposite_scores_of_a_fake,
            players.check_d_is_taught_to_tell_images_apart,
            players.check_every_fake_teaches_both_players,
        ),
    ),
    _check(players.check_each_term_reaches_the_auto_encoder),
    _check(players.check_terms_pull_together_what_they_compare),
    _check(players.check_labels_are_of_their_own_image, applies=players.classifies),
    _check(players.check_unknown_labels_teach_nothing, applies=players.classifies),
    check_from(check_every_option_is_read, "objective", applies=has_options),
    _check(check_terms_are_means_over_examples, applies=means_over_examples),
    _check(check_a_penalty_is_terms_of_the_discriminator, applies=penalises),
)
