"""All checks of a mixer, in the order in which they run.

`mixzoo.testing.invariants` lists the invariants that they test, and writes docs/mixer_checks.md.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mixzoo.core.errors import MixzooError
from mixzoo.core.mixing import LinearMixer, MaskMixer
from mixzoo.core.parts import CodeShape
from mixzoo.testing import mixer_gradients as gradients
from mixzoo.testing import mixer_labels as labels
from mixzoo.testing import mixer_laws as laws
from mixzoo.testing import mixer_mixes as mixes
from mixzoo.testing import mixer_simplex as simplex
from mixzoo.testing import mixers as m
from mixzoo.testing import recipes
from mixzoo.testing.cases import MixerCase, any_mixer, fixed_latent, law_case, mixer_cases, takes_vectors
from mixzoo.testing.hypotheses import strategies
from mixzoo.testing.mixer_extremes import check_draws_survive_extreme_numbers
from mixzoo.testing.mixer_options import check_every_option_is_read
from mixzoo.testing.mixer_signature import check_is_a_mixer
from mixzoo.testing.mixer_state import law_draws_and_calls_leave_no_trace
from mixzoo.testing.report import Check, check_from

LARGE = ((16, 12, 10), (64,))  # shapes of codes on which a mask can approximate a point of the simplex
SMALL = ((2, 2, 3), (3,))  # for checks that take a pass per element


def is_mask(part: Any) -> str:
    """'' if the mixer is a MaskMixer."""
    return "" if isinstance(any_mixer(part), MaskMixer) else "it is not a MaskMixer"


def draws_its_share(part: Any) -> str:
    """'' if sources and draw can be permuted together: the draw is the share of a LinearMixer or a mask."""
    known = isinstance(any_mixer(part), LinearMixer | MaskMixer)
    return "" if known else "its draw is neither the share nor a mask"


def has_weights(part: Any) -> str:
    """'' if the mixer has trainable weights."""
    mixer = any_mixer(part)
    learned = isinstance(mixer, nn.Module) and any(p.requires_grad for p in mixer.parameters())
    return "" if learned else "it has no trainable weights"


def has_state(part: Any) -> str:
    """'' if the mixer has a state_dict with something in it."""
    mixer = any_mixer(part)
    return "" if isinstance(mixer, nn.Module) and mixer.state_dict() else "it has no state_dict"


def only_maps(part: Any) -> str:
    """'' if the mixer needs maps."""
    return "it accepts vectors" if takes_vectors(part) else ""


def check_refuses_vectors(part: Any) -> None:
    """A mixer that needs maps raises ValueError for vector codes."""
    mixer, shape = any_mixer(part), CodeShape(2, (6,))
    case = MixerCase(mixer, shape)
    try:
        case.mix()
    except (ValueError, MixzooError):
        return
    raise AssertionError("needs_map is True, but the mixer accepts vector codes; raise ValueError in draw")


def _large(part: Any) -> Any:
    """Cases on codes that are large enough for a mask to approximate a point of the simplex."""
    return mixer_cases(part, dtypes=(torch.float32,), only=_supported(part, LARGE))


def _small(part: Any) -> Any:
    """Cases for checks that take a pass per element."""
    return mixer_cases(part, dtypes=(torch.float64,), only=_supported(part, SMALL), max_batch=2)


def _supported(part: Any, latents: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    if own := fixed_latent(part):
        return (own,)
    return latents if takes_vectors(part) else latents[:1]


def _one_case(part: Any) -> Any:
    """A single case, since compilation is slow."""
    return strategies().just(law_case(part, batch=4).but(dtype=torch.float32))


def _check(function: Callable[..., None], **more: Any) -> Check:
    return check_from(function, "mixer", **{"cases": mixer_cases, **more})


def _law(function: Callable[..., None], **more: Any) -> Check:
    return check_from(function, "mixer", samples=True, **more)


def _label_check(function: Callable[..., None]) -> Check:
    return check_from(function, "mixer", applies=labels.has_target_labels)


def _option_check(function: Callable[..., None]) -> Check:
    return check_from(function, "mixer", applies=recipes.has_options)


mixer_checks: tuple[Check, ...] = (
    check_from(check_is_a_mixer, "mixer", stops=True),
    _check(m.check_k_is_at_least_2),
    _check(m.check_keeps_shape_and_dtype),
    _check(m.check_share_fits_the_codes),
    _check(m.check_draw_is_tensors_on_the_cpu),
    _check(m.check_draw_can_be_saved),
    _check(m.check_leaves_sources_unchanged),
    _check(m.check_leaves_its_draw_unchanged),
    _check(m.check_result_aliases_no_source),
    _check(m.check_same_seed_same_draw),
    _check(m.check_same_draw_same_mix),
    _check(m.check_uses_only_its_generator),
    _check(m.check_draw_never_sees_codes),
    _check(m.check_generator_moves_on),
    _law(law_draws_and_calls_leave_no_trace),
    check_from(check_draws_survive_extreme_numbers, "mixer"),
    _check(mixes.check_equal_sources_come_back),
    _check(mixes.check_a_batch_of_one_comes_back),
    _check(mixes.check_stays_between_sources),
    _check(mixes.check_shares_are_on_the_simplex),
    _check(mixes.check_share_is_used),
    _check(mixes.check_mask_picks_one_source, applies=is_mask),
    _check(mixes.check_picked_values_come_through_exactly, applies=is_mask),
    _check(mixes.check_every_element_comes_from_its_own_place, applies=is_mask),
    _check(mixes.check_sources_may_change_places, applies=draws_its_share),
    _check(mixes.check_examples_do_not_leak),
    _check(mixes.check_batch_permutes),
    _check(mixes.check_moves_with_shift_and_scale),
    _check(mixes.check_labels_do_not_matter),
    _check(mixes.check_precision_changes_only_rounding),
    _check(mixes.check_memory_order_does_not_matter),
    _check(mixes.check_contexts_change_nothing),
    _check(mixes.check_refuses_a_wrong_number_of_sources),
    _check(mixes.check_corner_is_that_source),
    _check(mixes.check_at_is_a_point_of_the_simplex, cases=_large),
    _check(mixes.check_at_is_the_same_each_time),
    _check(labels.check_aimed_labels_fit_the_batch, applies=labels.has_target_labels),
    _label_check(labels.check_aimed_labels_at_a_corner),
    _label_check(labels.check_aimed_labels_lie_between),
    _label_check(labels.check_aimed_labels_follow_the_point),
    _label_check(labels.check_class_numbers_are_one_hot_vectors),
    check_from(check_refuses_vectors, "mixer", applies=only_maps),
    _check(gradients.check_gradient_is_share),
    _check(gradients.check_gradient_reaches_every_source),
    _check(gradients.check_gradients_are_finite),
    _check(gradients.check_gradient_is_the_derivative, cases=_small),
    _check(gradients.check_second_derivative_is_right, cases=_small),
    _check(gradients.check_vmap_equals_loop),
    _check(gradients.check_compiles_to_one_graph, cases=_one_case, least_effort="normal"),
    _check(gradients.check_compiled_equals_eager, cases=_one_case, least_effort="high"),
    _check(gradients.check_gradient_reaches_every_weight, applies=has_weights),
    _check(gradients.check_weights_are_saved_whole, applies=has_state),
    _law(laws.law_other_seeds_give_other_draws),
    _law(laws.law_mean_share_is_one_over_k),
    _law(laws.law_every_position_can_come_from_every_source),
    _law(simplex.law_maps_are_cut_everywhere),
    _law(simplex.law_sources_meet_in_one_mix),
    _law(simplex.law_no_two_sources_are_tied, applies=simplex.has_three_sources),
    _law(laws.law_examples_are_drawn_independently),
    _law(laws.law_successive_draws_are_independent),
    _law(laws.law_a_larger_batch_has_the_same_law),
    _option_check(check_every_option_is_read),
    _option_check(recipes.check_options_survive_a_spec),
    _option_check(recipes.check_options_survive_a_run_file),
    _option_check(recipes.check_options_are_explained),
)
