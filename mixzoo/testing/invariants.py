"""What can be asked of a mixing function, numbered, and which check asks it: docs/mixer_checks.md, from these tables.

I1 to I40 are about one mix, Q1 to Q10 about the law of many. What no check of a mixer asks says why: mostly that the
contract makes it true by construction, or that it is the law of one mixer and stands in that mixer's own tests.
"""

from typing import NamedTuple


class Invariant(NamedTuple):
    """A numbered invariant, the checks that ask it, and what is asked elsewhere or not at all, and why."""

    number: str
    statement: str
    checks: tuple[str, ...] = ()
    note: str = ""


_CONTRACT = "by construction: "
_OWN = "the law of one mixer, in its own tests"

INVARIANTS = (
    Invariant(
        "I1", "shape, dtype and device are kept", ("is_a_mixer", "keeps_shape_and_dtype", "share_fits_the_codes")
    ),
    Invariant(
        "I2",
        "inputs are not written to, the result aliases none",
        ("leaves_sources_unchanged", "leaves_its_draw_unchanged", "result_aliases_no_source"),
    ),
    Invariant(
        "I3",
        "one generator state, one output",
        ("same_seed_same_draw", "same_draw_same_mix", "draws_and_calls_leave_no_trace"),
    ),
    Invariant("I4", "other seeds, other draws", ("other_seeds_give_other_draws",)),
    Invariant("I5", "default generators untouched", ("uses_only_its_generator",)),
    Invariant("I6", "the draw does not depend on the data", ("draw_never_sees_codes", "generator_moves_on")),
    Invariant("I7", "equal sources come back", ("equal_sources_come_back",)),
    Invariant("I8", "a batch of one comes back", ("a_batch_of_one_comes_back",)),
    Invariant("I9", "a mix stays between its sources", ("stays_between_sources",)),
    Invariant(
        "I10",
        "weights are finite and not negative",
        ("shares_are_on_the_simplex", "draws_survive_extreme_numbers"),
    ),
    Invariant("I11", "weights sum to 1", ("shares_are_on_the_simplex", "draws_survive_extreme_numbers")),
    Invariant(
        "I12",
        "what is picked comes through bit for bit",
        ("picked_values_come_through_exactly", "corner_is_that_source"),
    ),
    Invariant("I13", "sources may change places", ("sources_may_change_places",)),
    Invariant("I14", "the batch may be permuted", ("batch_permutes",)),
    Invariant("I15", "a mask picks one source everywhere", ("mask_picks_one_source",)),
    Invariant("I16", "every element comes from its own place", ("every_element_comes_from_its_own_place",)),
    Invariant("I17", "a cut region is one rectangle", note=_OWN),
    Invariant("I18", "the reported share is the area used", ("share_is_used",)),
    Invariant("I19", "empty and full regions are exact", ("corner_is_that_source",)),
    Invariant(
        "I20",
        "every position can be cut",
        ("every_position_can_come_from_every_source", "maps_are_cut_everywhere"),
    ),
    Invariant("I21", "examples do not leak", ("examples_do_not_leak",)),
    Invariant("I22", "partners are permutations", note="the core draws partners: tested once, for mixzoo.core.random"),
    Invariant(
        "I23",
        "the gradient of a source is its weight",
        ("gradient_is_share", "gradient_reaches_every_source", "gradient_reaches_every_weight"),
    ),
    Invariant("I24", "gradients are derivatives, twice", ("gradient_is_the_derivative", "second_derivative_is_right")),
    Invariant("I25", "gradients are finite at the corners", ("gradients_are_finite",)),
    Invariant("I26", "scaling codes scales the mix", ("moves_with_shift_and_scale",)),
    Invariant("I27", "shifting codes shifts the mix", ("moves_with_shift_and_scale",)),
    Invariant("I28", "precision changes rounding alone", ("precision_changes_only_rounding",)),
    Invariant(
        "I29",
        "CPU and GPU agree",
        note="not a check: it needs a GPU; draws are made on the CPU, so only the arithmetic of the call is left",
    ),
    Invariant("I30", "vmap is a loop", ("vmap_equals_loop",)),
    Invariant("I31", "compiled is eager, once a shape", ("compiles_to_one_graph", "compiled_equals_eager")),
    Invariant("I32", "memory order does not matter", ("memory_order_does_not_matter",)),
    Invariant("I33", "k = 2 is the two-source mixer", note=_OWN),
    Invariant("I34", "limits of a concentration", note=_OWN),
    Invariant("I35", "mixing equals again changes nothing", ("equal_sources_come_back",)),
    Invariant("I36", "a draw survives being saved", ("draw_can_be_saved", "draw_is_tensors_on_the_cpu")),
    Invariant(
        "I37",
        "a spec builds the part again",
        ("options_survive_a_spec", "options_survive_a_run_file", "every_option_is_read"),
    ),
    Invariant("I38", "split runs draw what one would", note=_CONTRACT + "a draw is a function of seed and step"),
    Invariant(
        "I39",
        "wrong calls are refused",
        ("refuses_a_wrong_number_of_sources", "refuses_vectors", "k_is_at_least_2"),
        "a typed error before any work is not asked: the core stacks the k sources itself, of one dtype and device",
    ),
    Invariant("I40", "contexts change dtype policy alone", ("contexts_change_nothing",)),
    Invariant("Q1", "a uniform weight is uniform", note=_OWN),
    Invariant("Q2", "marginals of a uniform point are Beta(1, k-1)", note=_OWN),
    Invariant("Q3", "moments of a Dirichlet law", note=_OWN),
    Invariant("Q4", "no source is favoured", ("mean_share_is_one_over_k",)),
    Invariant(
        "Q5",
        "what shares a chance is correlated, nothing else",
        ("examples_are_drawn_independently", "no_two_sources_are_tied", "sources_meet_in_one_mix"),
        _OWN,
    ),
    Invariant("Q6", "the mean mix is the mean of the sources", ("mean_share_is_one_over_k", "share_is_used")),
    Invariant("Q7", "areas and centres of boxes", ("every_position_can_come_from_every_source",), _OWN),
    Invariant("Q8", "partners are uniform", note="the core draws partners: tested once, for mixzoo.core.random"),
    Invariant("Q9", "streams are independent", note="of mixzoo.core.random, where the streams are made"),
    Invariant("Q10", "successive draws are independent", ("successive_draws_are_independent",)),
)


def invariants_page() -> str:
    """docs/mixer_checks.md: every check with its promise, and every invariant with its checks."""
    from mixzoo.testing.mixer_suite import mixer_checks

    checks = [f"| `{check.name}` | {check.promise} |" for check in mixer_checks]
    rows = [
        f"| {i.number} | {i.statement} | {', '.join(f'`{name}`' for name in i.checks)} | {i.note} |" for i in INVARIANTS
    ]
    head = (
        "<!-- written by `python -m mixzoo.testing.invariants > docs/mixer_checks.md` -->\n# What is checked of a mixer"
    )
    about = (
        "`mixzoo check SPEC` runs these. A mixer that breaks one on purpose says so, with a reason, in "
        "`skipped_checks`."
    )
    table = ["| check | promise |", "|---|---|", *checks]
    origin = "## The invariants behind them"
    why = "An invariant without a check has the reason in the last column."
    numbered = ["| | invariant | checks | beside, or why none |", "|---|---|---|---|", *rows]
    return "\n\n".join([head, about, "\n".join(table), origin, why, "\n".join(numbered)]) + "\n"


if __name__ == "__main__":
    print(invariants_page(), end="")
