"""What auto-encoders and discriminators promise alike, being networks: seeds, modes, states, gradients, batches.

A case builds the network from its recipe as a run does, and knows what comes out of it; the checks ask no more.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixzoo.draws import rng_for, seed_for
from mixzoo.errors import CheckpointError
from mixzoo.evaluation.codes import evaluating
from mixzoo.protocols import Setting
from mixzoo.testing.hypotheses import strategies
from mixzoo.testing.watching import first_difference, gap, generators_untouched, seeded, state_of, unwritten
from mixzoo.training.checkpoint import load_modules

SQUARES = ((16, 16), (32, 32), (64, 64), (128, 128), (224, 224))  # the smallest that the recipe takes is used
OBLONGS = ((16, 24), (32, 48), (96, 64))  # likewise; a recipe may refuse them all
ODD = ((1, 1), (7, 7), (15, 20), (30, 30), (33, 16))
ROUNDING = 1e-3  # part of the largest value: float32 through many layers, batches of other sizes
CLASSES = 3

Outputs = dict[str, Tensor]


@dataclass(frozen=True)
class NetworkCase(ABC):
    """A recipe, the setting it is built for, and the images that it is tried on."""

    recipe: Any
    setting: Setting
    batch: int
    seed: int

    @property
    def noun(self) -> str:
        """What a message calls the network."""
        return type(self.recipe).__name__

    def build(self, seed: int | None = None) -> Any:
        """The network, in training mode, its weights begun from the seed as a run begins them."""
        with seeded(seed_for(self.seed if seed is None else seed, "init")):
            return self.recipe.build(self.setting)

    def images(self, batch: int | None = None, which: str = "images") -> Float[Tensor, "batch channels height width"]:
        """Random images in [-1, 1]."""
        shape = (self.batch if batch is None else batch, *self.setting.image_shape)
        return torch.rand(shape, generator=rng_for(self.seed, which)) * 2 - 1

    @abstractmethod
    def outputs(self, network: Any, x: Tensor) -> Outputs:
        """All that the network says of the images, one row an image."""

    @abstractmethod
    def shapes(self, network: Any, x: Tensor) -> dict[str, tuple[int, ...]]:
        """What shape each of them must have."""

    def seeded_outputs(self, network: Any, x: Tensor) -> Outputs:
        """The outputs with torch's generator seeded before, as the engine does at each step."""
        with seeded(seed_for(self.seed, "torch")):
            return self.outputs(network, x)


C = TypeVar("C", bound=NetworkCase)


def network_cases(case: type[C], recipe: Any, latents: Sequence[tuple[int, ...]] = ((),)) -> Any:
    """Strategy of cases at the smallest sizes that the recipe takes, grey and colour, square and oblong."""
    st = strategies()
    settings = st.sampled_from(settings_taken(recipe, latents))
    return st.builds(case, st.just(recipe), settings, st.sampled_from((2, 3, 5)), st.integers(0, 2**31))


def settings_taken(
    recipe: Any,
    latents: Sequence[tuple[int, ...]] = ((),),
    groups: Sequence[Sequence[tuple[int, int]]] = (SQUARES, OBLONGS),
) -> list[Setting]:
    """Of each group of sizes the first that the recipe takes, for 1 and for 3 channels and each shape of code."""
    taken, refusals = [], []
    for channels, sizes, latent in product((1, 3), groups, latents):
        for height, width in sizes:
            setting = Setting((channels, height, width), CLASSES, latent)
            if not (refusal := refusal_of(recipe, setting)):
                taken.append(setting)
                break
            refusals.append(f"{channels}x{height}x{width}: {refusal}")
    assert taken, f"it refuses every size of image tried, the last with {refusals[-1]}"
    return taken


def refusal_of(recipe: Any, setting: Setting) -> str:
    """The words in which the recipe refuses the setting, or nothing where it takes it."""
    try:
        with seeded(0):
            getattr(recipe, "build", bool)(setting)
    except ValueError as err:
        return str(err) or "a ValueError without words"
    return ""


def check_same_seed_builds_the_same_weights(case: NetworkCase) -> None:
    """Two networks built from one seed are equal bit for bit: every random number comes from torch's generator."""
    with generators_untouched("building it", torch_too=False):
        first, second = state_of(case.build()), state_of(case.build())
    differs = first_difference(first, second)
    assert not differs, f"two networks of seed {case.seed} differ in {differs!r}; draw it from torch's global generator"


def check_another_seed_builds_other_weights(case: NetworkCase) -> None:
    """Networks of two seeds differ, so that repeated runs are repeats of the training and not of one beginning."""
    first, second = state_of(case.build()), state_of(case.build(case.seed + 1))
    if not list(case.build().parameters()):
        return
    assert first_difference(first, second), (
        "networks of two seeds begin with equal weights; do not seed inside build(), or leave this check out if the "
        "weights are fixed on purpose"
    )


def check_changing_mode_changes_no_state(case: NetworkCase) -> None:
    """train() and eval() change no weight and no buffer."""
    network = case.build()
    before = state_of(network)
    network.eval().train().eval()
    differs = first_difference(before, state_of(network))
    assert not differs, f"train() or eval() changes {differs!r}; modes may change behaviour and no tensor"


def check_evaluation_changes_no_state(case: NetworkCase) -> None:
    """In evaluation mode a pass leaves weights, buffers and the mode as they were."""
    network = case.build()
    before = state_of(network)
    with evaluating(network):
        case.seeded_outputs(network, case.images())
        assert not network.training, "a pass in evaluation mode switches the network to training"
    differs = first_difference(before, state_of(network))
    assert not differs, f"a pass in evaluation mode changes {differs!r}, so evaluating a run would change it"


def check_evaluation_repeats(case: NetworkCase) -> None:
    """In evaluation mode a pass draws no random number, and the same images give the same results twice."""
    network, x = case.build(), case.images()
    with evaluating(network), generators_untouched("a pass in evaluation mode"):
        first, second = case.outputs(network, x), case.outputs(network, x)
    differs = first_difference(first, second)
    assert not differs, f"two passes over the same images in evaluation mode differ in the {differs}"


def check_training_repeats_from_the_seed(case: NetworkCase) -> None:
    """In training mode all randomness comes from torch's global generator, which a run seeds at each step."""
    first, second = case.build(), case.build()
    second.load_state_dict(first.state_dict())
    x = case.images()
    with generators_untouched("a pass in training mode", torch_too=False):
        differs = first_difference(case.seeded_outputs(first, x), case.seeded_outputs(second, x))
    assert not differs, f"two passes in training mode from one torch seed differ in the {differs}; a run cannot repeat"


def check_checkpoint_brings_it_back(case: NetworkCase) -> None:
    """What a checkpoint saves, put into a newly built network, gives the same results bit for bit."""
    network, twin, x = case.build(), case.build(case.seed + 1), case.images()
    _live_a_little(case, network)
    saved = _through_safetensors(network)
    try:
        load_modules({"network": saved}, {"network": twin}, Path("checkpoint"))
    except CheckpointError as err:
        raise AssertionError(f"its saved state does not fit a newly built one: {err}") from err
    with evaluating(network), evaluating(twin):
        differs = first_difference(case.seeded_outputs(network, x), case.seeded_outputs(twin, x))
    assert not differs, (
        f"a restored network gives another {differs}: some of its state is not in state_dict(); make it a parameter or "
        "a persistent buffer"
    )


def _live_a_little(case: NetworkCase, network: Any) -> None:
    """Passes in training mode, which fill buffers, and weights moved off their beginning."""
    with torch.no_grad(), seeded(case.seed):
        for _ in range(2):
            case.outputs(network, case.images(which="earlier"))
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))


def _through_safetensors(network: nn.Module) -> dict[str, Tensor]:
    from safetensors.torch import load, save

    state = network.state_dict()
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    assert not strange, f"state_dict() holds {strange[0]!r}, which is no tensor; a checkpoint holds tensors alone"
    loaded: dict[str, Tensor] = load(save({name: value.clone().contiguous() for name, value in state.items()}))
    return loaded


def check_images_are_left_unchanged(case: NetworkCase) -> None:
    """A pass writes to nothing that it was given, in training and in evaluation mode."""
    network, x = case.build(), case.images()
    with torch.no_grad():
        for training in (True, False):
            network.train(training)
            with unwritten({"its images": x}, "the network"):
                case.seeded_outputs(network, x)


def check_extreme_images_give_finite_results(case: NetworkCase) -> None:
    """Black, grey, white, a single bright pixel and a chessboard give finite results in both modes."""
    network, x = case.build(), extreme_images(case.setting.image_shape)
    with torch.no_grad():
        for training in (True, False):
            network.train(training)
            for name, result in case.seeded_outputs(network, x).items():
                bad = (~result.isfinite()).flatten(1).any(1) if result.ndim > 1 else ~result.isfinite()
                kinds = [kind for kind, is_bad in zip(EXTREMES, bad.tolist()) if is_bad]
                assert not kinds, f"the {name} of an image that is {kinds[0]} is NaN or infinite"


EXTREMES = ("black", "grey", "white", "black but for one pixel", "a chessboard")


def extreme_images(image_shape: tuple[int, int, int]) -> Float[Tensor, "kinds channels height width"]:
    """One image of each of EXTREMES."""
    _, height, width = image_shape
    x = torch.zeros(len(EXTREMES), *image_shape)
    x[0], x[2], x[3] = -1, 1, -1
    x[3, :, height // 2, width // 2] = 1
    x[4] = (torch.arange(height)[:, None] + torch.arange(width)) % 2 * 2.0 - 1
    return x


def check_one_image_is_a_batch(case: NetworkCase) -> None:
    """A batch of one image gives results of the stated shapes, in training and in evaluation mode."""
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
    """AssertionError that names the first result of another shape than expected."""
    for name, shape in expected.items():
        given = tuple(results[name].shape)
        assert given == shape, f"the {name} is {list(given)}, expected {list(shape)}"


def check_images_do_not_meet_in_evaluation(case: NetworkCase) -> None:
    """In evaluation mode each image alone gives what it gives inside a batch."""
    network, x = case.build(), case.images()
    _live_a_little(case, network)
    with evaluating(network):
        together = case.seeded_outputs(network, x)
        for i in range(len(x)):
            for name, alone in case.seeded_outputs(network, x[i : i + 1]).items():
                off = gap(alone[0], together[name][i])
                assert off <= ROUNDING, (
                    f"image {i} of {len(x)} has another {name} alone than in its batch (off by {off:.2g} of it); "
                    "no layer may mix examples in evaluation mode"
                )


def check_images_do_not_meet_in_training(case: NetworkCase) -> None:
    """In training mode the results of an image do not depend on the others of its batch (no batch statistics)."""
    network, x = case.build(), case.images()
    others = torch.cat([x[:1], 0.5 * case.images(len(x) - 1, which="others") - 0.5])
    twin = deepcopy(network)
    with torch.no_grad():
        first, second = case.seeded_outputs(network, x), case.seeded_outputs(twin, others)
    for name in first:
        off = gap(second[name][0], first[name][0])
        assert off <= ROUNDING, (
            f"the {name} of an image changes (by {off:.2g} of it) with the others of its batch, as with BatchNorm; "
            "use a norm of each image alone, such as GroupNorm"
        )


def check_gradients_reach_every_parameter(case: NetworkCase) -> None:
    """In training mode every trainable parameter gets a finite gradient from what the network says."""
    network = case.build()
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not named:
        return
    grads = torch.autograd.grad(_weighted(case, network, case.images()), list(named.values()), allow_unused=True)
    unreached = [name for name, grad in zip(named, grads) if grad is None]
    assert not unreached, (
        f"no gradient reaches {', '.join(unreached[:5])} ({len(unreached)} of {len(named)} parameters); remove what is "
        "not used, set requires_grad=False on what is frozen, and detach nothing"
    )
    bad = [name for name, grad in zip(named, grads) if not grad.isfinite().all()]
    assert not bad, f"the gradient of {bad[0]} is NaN or infinite at the beginning of training"


def check_gradients_reach_the_images(case: NetworkCase) -> None:
    """Every result passes a finite gradient back to the images, which is how the other player learns."""
    network, x = case.build(), case.images().requires_grad_()
    for name, result in case.seeded_outputs(network, x).items():
        assert result.requires_grad, f"the {name} is cut off from the graph; detach nothing, the engine does that"
        (grad,) = torch.autograd.grad(result.sum(), x, retain_graph=True, allow_unused=True)
        assert grad is not None, f"no gradient of the {name} reaches the images; detach nothing, the engine does that"
        assert grad.isfinite().all(), f"the gradient of the {name} at the images is NaN or infinite"


def _weighted(case: NetworkCase, network: Any, x: Tensor) -> Tensor:
    """A sum of all results with random weights, so that nothing cancels."""
    results, rng = case.seeded_outputs(network, x), rng_for(case.seed, "weights")
    total = torch.stack([(torch.randn(r.shape, generator=rng) * r).sum() for r in results.values()]).sum()
    assert total.requires_grad, "no result depends on any parameter; detach nothing and use no no_grad()"
    return total


def check_float64_works(case: NetworkCase) -> None:
    """In double precision the network gives float64 results, near those of float32."""
    network, x = case.build(), case.images()
    twin = deepcopy(network).double()
    with evaluating(network), evaluating(twin):
        single, double = case.seeded_outputs(network, x), case.seeded_outputs(twin, x.double())
    for name, result in double.items():
        assert result.dtype == torch.float64, f"the {name} of float64 images is {result.dtype}; cast nothing to float32"
        assert gap(single[name], result) <= 10 * ROUNDING, f"the {name} in float32 is far from the one in float64"


def check_odd_sizes_are_refused_in_words(case: NetworkCase) -> None:
    """An image size that the network cannot take is a ValueError with words at build(), and nothing later."""
    channels = case.setting.image_shape[0]
    for height, width in ODD:
        odd = replace(case, setting=replace(case.setting, image_shape=(channels, height, width)))
        if trouble := trouble_with(odd):
            raise AssertionError(f"images of {height}x{width}: {trouble}; refuse a size in build() with a ValueError")


def trouble_with(odd: NetworkCase) -> str:
    """What goes wrong with images of a size that may be taken or refused, or nothing."""
    try:
        network = odd.build()
    except ValueError as err:
        return "" if str(err).strip() else "the ValueError says nothing"
    except Exception as err:
        return f"build() raises {type(err).__name__}"
    try:
        with torch.no_grad():  # in training mode, where some layers take less
            assert_shapes(odd.seeded_outputs(network, odd.images()), odd.shapes(network, odd.images()))
    except Exception as err:
        return f"built, and then: {err}"
    return ""


NETWORK_PROMISES = (
    check_one_image_is_a_batch,
    check_images_do_not_meet_in_evaluation,
    check_images_do_not_meet_in_training,
    check_gradients_reach_every_parameter,
    check_gradients_reach_the_images,
    check_same_seed_builds_the_same_weights,
    check_another_seed_builds_other_weights,
    check_changing_mode_changes_no_state,
    check_evaluation_changes_no_state,
    check_evaluation_repeats,
    check_training_repeats_from_the_seed,
    check_checkpoint_brings_it_back,
    check_images_are_left_unchanged,
    check_extreme_images_give_finite_results,
    check_float64_works,
    check_odd_sizes_are_refused_in_words,
)
