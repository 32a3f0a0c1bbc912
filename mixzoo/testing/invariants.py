"""The numbered invariants of mixing functions and the checks that test them; writes docs/mixer_checks.md.

I1 to I40 are about one mix, Q1 to Q10 about the distribution of many. An invariant without a check has a note that says
why: mostly because the contract makes it true, or because it holds for one mixer only and is tested with that mixer.
"""

from typing import NamedTuple


class Invariant(NamedTuple):
    """A numbered invariant, the checks that test it, and what is tested elsewhere or not at all, and why."""

    number: str
    statement: str
    checks: tuple[str, ...] = ()
    note: str = ""


_ONE_MIXER = "holds for single mixers, tested with each"

INVARIANTS = (
    Invariant(
        "I1", "shape, dtype and device are kept", ("is_a_mixer", "keeps_shape_and_dtype", "share_fits_the_codes")
    ),
    Invariant(
        "I2",
        "inputs are not written to, and the result aliases none",
        ("leaves_sources_unchanged", "leaves_its_draw_unchanged", "result_aliases_no_source"),
    ),
    Invariant(
        "I3",
        "the same generator state gives the same output",
        ("same_seed_same_draw", "same_draw_same_mix", "draws_and_calls_leave_no_trace"),
    ),
    Invariant("I4", "different seeds give different draws", ("other_seeds_give_other_draws",)),
    Invariant("I5", "global generators are not used", ("uses_only_its_generator",)),
    Invariant("I6", "the draw does not depend on the data", ("draw_never_sees_codes", "generator_moves_on")),
    Invariant("I7", "a mix of equal sources is that source", ("equal_sources_come_back",)),
    Invariant("I8", "in a batch of one the mix is the example", ("a_batch_of_one_comes_back",)),
    Invariant("I9", "a mix stays between its sources", ("stays_between_sources",)),
    Invariant(
        "I10",
        "shares are finite and nonnegative",
        ("shares_are_on_the_simplex", "draws_survive_extreme_numbers"),
    ),
    Invariant("I11", "shares sum to 1", ("shares_are_on_the_simplex", "draws_survive_extreme_numbers")),
    Invariant(
        "I12",
        "selected values are copied bit for bit",
        ("picked_values_come_through_exactly", "corner_is_that_source"),
    ),
    Invariant("I13", "a permutation of sources and shares keeps the mix", ("sources_may_change_places",)),
    Invariant("I14", "a permutation of the batch permutes the mixes", ("batch_permutes",)),
    Invariant("I15", "a mask selects one source at every position", ("mask_picks_one_source",)),
    Invariant(
        "I16", "every element comes from the same position of a source", ("every_element_comes_from_its_own_place",)
    ),
    Invariant("I17", "a cut region is one rectangle", note=_ONE_MIXER),
    Invariant("I18", "the reported share is the area used", ("share_is_used",)),
    Invariant("I19", "empty and full regions are exact", ("corner_is_that_source",)),
    Invariant(
        "I20",
        "every position can be cut",
        ("every_position_can_come_from_every_source", "maps_are_cut_everywhere"),
    ),
    Invariant("I21", "an example does not depend on others", ("examples_do_not_leak",)),
    Invariant("I22", "partners are permutations", note="the core draws partners, tested with mixzoo.core.random"),
    Invariant(
        "I23",
        "the gradient of a source is its share",
        ("gradient_is_share", "gradient_reaches_every_source", "gradient_reaches_every_weight"),
    ),
    Invariant(
        "I24", "first and second derivatives are right", ("gradient_is_the_derivative", "second_derivative_is_right")
    ),
    Invariant("I25", "gradients are finite at the corners", ("gradients_are_finite",)),
    Invariant("I26", "scaling codes scales the mix", ("moves_with_shift_and_scale",)),
    Invariant("I27", "shifting codes shifts the mix", ("moves_with_shift_and_scale",)),
    Invariant("I28", "precision changes only rounding", ("precision_changes_only_rounding",)),
    Invariant(
        "I29",
        "CPU and GPU agree",
        note="needs a GPU; draws are made on the CPU, so only the arithmetic of the call could differ",
    ),
    Invariant("I30", "vmap equals a loop", ("vmap_equals_loop",)),
    Invariant(
        "I31", "compiled equals eager, with one graph per shape", ("compiles_to_one_graph", "compiled_equals_eager")
    ),
    Invariant("I32", "memory order does not matter", ("memory_order_does_not_matter",)),
    Invariant("I33", "k = 2 equals the two-source mixer", note=_ONE_MIXER),
    Invariant("I34", "limits of a concentration", note=_ONE_MIXER),
    Invariant("I35", "mixing equal codes again changes nothing", ("equal_sources_come_back",)),
    Invariant("I36", "a draw can be saved and loaded", ("draw_can_be_saved", "draw_is_tensors_on_the_cpu")),
    Invariant(
        "I37",
        "a spec rebuilds the part",
        ("options_survive_a_spec", "options_survive_a_run_file", "every_option_is_read"),
    ),
    Invariant(
        "I38",
        "runs on several processes make the draws of one",
        note="true by construction: a draw is a function of seed and step",
    ),
    Invariant(
        "I39",
        "wrong calls raise an error",
        ("refuses_a_wrong_number_of_sources", "refuses_vectors", "k_is_at_least_2"),
        "the type of the error is not tested: the core stacks the k sources itself, with one dtype and device",
    ),
    Invariant("I40", "no_grad, inference_mode and autocast change at most rounding", ("contexts_change_nothing",)),
    Invariant("Q1", "a uniform weight is uniform", note=_ONE_MIXER),
    Invariant("Q2", "marginals of a uniform point are Beta(1, k-1)", note=_ONE_MIXER),
    Invariant("Q3", "moments of a Dirichlet distribution", note=_ONE_MIXER),
    Invariant("Q4", "no source is favoured", ("mean_share_is_one_over_k",)),
    Invariant(
        "Q5",
        "only what uses the same random number is correlated",
        ("examples_are_drawn_independently", "no_two_sources_are_tied", "sources_meet_in_one_mix"),
        _ONE_MIXER,
    ),
    Invariant("Q6", "the mean mix is the mean of the sources", ("mean_share_is_one_over_k", "share_is_used")),
    Invariant("Q7", "areas and centres of boxes", ("every_position_can_come_from_every_source",), _ONE_MIXER),
    Invariant("Q8", "partners are uniform", note="the core draws partners, tested with mixzoo.core.random"),
    Invariant("Q9", "streams are independent", note="tested with mixzoo.core.random, which makes the streams"),
    Invariant("Q10", "successive draws are independent", ("successive_draws_are_independent",)),
)


def invariants_page() -> str:
    """The text of docs/mixer_checks.md: every check with its promise, and every invariant with its checks."""
    from mixzoo.testing.mixer_suite import mixer_checks

    checks = [f"| `{check.name}` | {check.promise} |" for check in mixer_checks]
    rows = [
        f"| {i.number} | {i.statement} | {', '.join(f'`{name}`' for name in i.checks)} | {i.note} |" for i in INVARIANTS
    ]
    head = "<!-- written by `python -m mixzoo.testing.invariants > docs/mixer_checks.md` -->\n# The checks of a mixer"
    about = (
        "`mixzoo check SPEC` runs these checks. A mixer that breaks one on purpose names it, with a reason, in its "
        "`skipped_checks`."
    )
    table = ["| check | promise |", "|---|---|", *checks]
    origin = "## The invariants that they test"
    why = "The last column says why an invariant has no check, or what is tested elsewhere."
    numbered = ["| | invariant | checks | note |", "|---|---|---|---|", *rows]
    return "\n\n".join([head, about, "\n".join(table), origin, why, "\n".join(numbered)]) + "\n"


if __name__ == "__main__":
    print(invariants_page(), end="")
