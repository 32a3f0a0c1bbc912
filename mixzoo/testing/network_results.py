"""What a network promises about its outputs and their gradients, image by image."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mixzoo.core.random import rng_for
from mixzoo.evaluation.codes import eval_mode
from mixzoo.registry.recipes import input_shape
from mixzoo.testing.networks import NetworkCase, Outputs
from mixzoo.testing.watching import gap, unwritten

ODD = ((1, 1), (7, 7), (15, 20), (30, 30), (33, 16))
ROUNDING = 1e-3  # relative to the largest value: float32 through many layers, and batches of different sizes
EXTREMES = ("black", "grey", "white", "black but for one pixel", "a chessboard")


def check_images_are_left_unchanged(case: NetworkCase) -> None:
    """A forward pass does not write to the images in place, in training or evaluation mode."""
    network, x = case.build(), case.images()
    with torch.no_grad():
        for training in (True, False):
            network.train(training)
            with unwritten({"its images": x}, "the network"):
                case.seeded_outputs(network, x)


def check_extreme_images_give_finite_results(case: NetworkCase) -> None:
    """Black, grey and white images, a single bright pixel and a chessboard give finite outputs in both modes."""
    network, x = case.build(), extreme_images(input_shape(case.recipe, case.context))
    with torch.no_grad():
        for training in (True, False):
            network.train(training)
            for name, result in case.seeded_outputs(network, x).items():
                bad = (~result.isfinite()).flatten(1).any(1) if result.ndim > 1 else ~result.isfinite()
                kinds = [kind for kind, is_bad in zip(EXTREMES, bad.tolist()) if is_bad]
                assert not kinds, f"the {name} of an image that is {kinds[0]} is NaN or infinite"


def extreme_images(shape: tuple[int, ...]) -> Float[Tensor, "kinds *input"]:
    """One image, or code, for each of EXTREMES."""
    x = torch.zeros(len(EXTREMES), *shape)
    height, width = shape[-2:] if len(shape) == 3 else (1, shape[-1])
    planes = x.view(len(EXTREMES), -1, height, width)
    planes[0], planes[2], planes[3] = -1, 1, -1
    planes[3, :, height // 2, width // 2] = 1
    planes[4] = (torch.arange(height)[:, None] + torch.arange(width)) % 2 * 2.0 - 1
    return x


def check_one_image_is_a_batch(case: NetworkCase) -> None:
    """A batch of one image works in training and evaluation mode, with outputs of the right shapes."""
    network, x = case.build(), case.images(1)
    with torch.no_grad():
        for training in (True, False):
            network.train(training)
            try:
                results = case.seeded_outputs(network, x)
            except (RuntimeError, ValueError) as err:
                mode = "training" if training else "evaluation"
                raise AssertionError(f"a batch of one image fails in {mode} mode: {err}") from err
            assert_shapes(results, case.shapes(network, x))


def assert_shapes(results: Outputs, expected: dict[str, tuple[int, ...]]) -> None:
    """Raises AssertionError, with the name of the output, if a shape is not the expected one."""
    for name, shape in expected.items():
        actual = tuple(results[name].shape)
        assert actual == shape, f"the {name} has shape {list(actual)}, expected {list(shape)}"


def check_images_do_not_meet_in_evaluation(case: NetworkCase) -> None:
    """In evaluation mode the outputs of an image do not depend on the other images of its batch."""
    network, x = case.build(), case.images()
    case.leave_initial_state(network)
    with eval_mode(network):
        together = case.seeded_outputs(network, x)
        for i in range(len(x)):
            for name, alone in case.seeded_outputs(network, x[i : i + 1]).items():
                off = gap(alone[0], together[name][i])
                assert off <= ROUNDING, (
                    f"image {i} of {len(x)} has another {name} alone than in its batch (relative difference "
                    f"{off:.2g}); no layer may mix examples in evaluation mode"
                )


def check_images_do_not_meet_in_training(case: NetworkCase) -> None:
    """In training mode the outputs of an image do not depend on the other images of its batch (no batch norm)."""
    network, x = case.build(), case.images()
    others = torch.cat([x[:1], 0.5 * case.images(len(x) - 1, which="others") - 0.5])
    twin = deepcopy(network)
    with torch.no_grad():
        first, second = case.seeded_outputs(network, x), case.seeded_outputs(twin, others)
    for name in first:
        off = gap(second[name][0], first[name][0])
        assert off <= ROUNDING, (
            f"the {name} of an image depends on the other images of its batch (relative difference {off:.2g}), as with "
            "BatchNorm; use a norm of each image by itself, such as GroupNorm"
        )


def check_gradients_reach_every_parameter(case: NetworkCase) -> None:
    """In training mode every trainable parameter gets a finite gradient from the outputs."""
    network = case.build()
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not named:
        return
    grads = torch.autograd.grad(_weighted(case, network, case.images()), list(named.values()), allow_unused=True)
    unreached = [name for name, grad in zip(named, grads) if grad is None]
    assert not unreached, (
        f"no gradient reaches {', '.join(unreached[:5])} ({len(unreached)} of {len(named)} parameters); remove "
        "unused parameters, set requires_grad=False on frozen ones, and do not detach"
    )
    bad = [name for name, grad in zip(named, grads) if not grad.isfinite().all()]
    assert not bad, f"the gradient of {bad[0]} is NaN or infinite before training"


def check_gradients_reach_the_images(case: NetworkCase) -> None:
    """Every output passes a finite gradient back to the images, from which the other player learns."""
    network, x = case.build(), case.images().requires_grad_()
    for name, result in case.seeded_outputs(network, x).items():
        assert result.requires_grad, f"the {name} is cut off from the graph; do not detach, the engine does that"
        (grad,) = torch.autograd.grad(result.sum(), x, retain_graph=True, allow_unused=True)
        assert grad is not None, f"no gradient of the {name} reaches the images; do not detach, the engine does that"
        assert grad.isfinite().all(), f"the gradient of the {name} with respect to the images is NaN or infinite"


def _weighted(case: NetworkCase, network: Any, x: Tensor) -> Tensor:
    """A sum of all outputs with random weights, so that nothing cancels."""
    results, rng = case.seeded_outputs(network, x), rng_for(case.seed, "weights")
    total = torch.stack([(torch.randn(r.shape, generator=rng) * r).sum() for r in results.values()]).sum()
    assert total.requires_grad, "no output depends on a parameter; do not detach, and do not use no_grad()"
    return total


def check_float64_works(case: NetworkCase) -> None:
    """In double precision outputs are float64 and close to those in float32."""
    network, x = case.build(), case.images()
    twin = deepcopy(network).double()
    with eval_mode(network), eval_mode(twin):
        single, double = case.seeded_outputs(network, x), case.seeded_outputs(twin, x.double())
    for name, result in double.items():
        assert result.dtype == torch.float64, (
            f"the {name} of float64 images is {result.dtype}; do not cast to a fixed dtype"
        )
        assert gap(single[name], result) <= 10 * ROUNDING, (
            f"the {name} in float32 is far from that in float64 (relative difference {gap(single[name], result):.2g})"
        )


def check_odd_sizes_are_refused_in_words(case: NetworkCase) -> None:
    """build() raises ValueError with a message for image sizes that the network does not support."""
    channels = case.context.image_shape[0]
    for height, width in ODD:
        odd = replace(case, context=replace(case.context, image_shape=(channels, height, width)))
        if problem := problem_with(odd):
            raise AssertionError(f"images of {height}x{width}: {problem}; raise ValueError in build() for such a size")


def problem_with(odd: NetworkCase) -> str:
    """What goes wrong with images of a size that may be supported or rejected, or ''."""
    try:
        network = odd.build()
    except ValueError as err:
        return "" if str(err).strip() else "the ValueError has no message"
    except Exception as err:
        return f"build() raises {type(err).__name__}"
    try:
        with torch.no_grad():  # in training mode, where some layers reject small maps
            assert_shapes(odd.seeded_outputs(network, odd.images()), odd.shapes(network, odd.images()))
    except Exception as err:
        return f"build() succeeds, but a forward pass fails: {err}"
    return ""


RESULT_PROMISES = (
    check_images_are_left_unchanged,
    check_extreme_images_give_finite_results,
    check_one_image_is_a_batch,
    check_images_do_not_meet_in_evaluation,
    check_images_do_not_meet_in_training,
    check_gradients_reach_every_parameter,
    check_gradients_reach_the_images,
    check_float64_works,
    check_odd_sizes_are_refused_in_words,
)
