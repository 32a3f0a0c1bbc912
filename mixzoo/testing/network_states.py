"""What a network promises about its weights and buffers: seeds, modes, checkpoints."""

from contextlib import suppress
from pathlib import Path

from torch import Tensor, nn

from mixzoo.core.errors import CheckpointError
from mixzoo.evaluation.codes import eval_mode
from mixzoo.testing.networks import NetworkCase
from mixzoo.testing.watching import first_difference, generators_untouched, process_untouched, state_of
from mixzoo.training.checkpoint import load_modules


def check_same_seed_builds_the_same_weights(case: NetworkCase) -> None:
    """Building twice from one seed gives equal weights, bit for bit, drawn from torch's global generator alone."""
    with generators_untouched("build()", torch_too=False):
        first, second = state_of(case.build()), state_of(case.build())
    differs = first_difference(first, second)
    assert not differs, (
        f"two networks built from seed {case.seed} differ in {differs!r}; draw it from torch's global generator"
    )


def check_another_seed_builds_other_weights(case: NetworkCase) -> None:
    """Different seeds give different initial weights, so that repeated runs are independent."""
    first, second = state_of(case.build()), state_of(case.build(case.seed + 1))
    if not list(case.build().parameters()):
        return
    assert first_difference(first, second), (
        "networks built from two seeds have equal weights; do not seed inside build(), or skip this check with a "
        "reason if the weights are fixed on purpose"
    )


def check_changing_mode_changes_no_state(case: NetworkCase) -> None:
    """A change of mode, to training or evaluation, changes no weight and no buffer."""
    network = case.build()
    before = state_of(network)
    network.eval().train().eval()
    differs = first_difference(before, state_of(network))
    assert not differs, f"a change of mode changes {differs!r}; the modes may differ in behaviour, but in no tensor"


def check_evaluation_changes_no_state(case: NetworkCase) -> None:
    """A forward pass in evaluation mode changes no weight, no buffer and not the mode."""
    network = case.build()
    before = state_of(network)
    with eval_mode(network):
        case.seeded_outputs(network, case.images())
        assert not network.training, "a forward pass in evaluation mode switches the network to training mode"
    differs = first_difference(before, state_of(network))
    assert not differs, f"a forward pass in evaluation mode changes {differs!r}, so evaluating a run would change it"


def check_evaluation_repeats(case: NetworkCase) -> None:
    """In evaluation mode a forward pass is deterministic and uses no global random generator."""
    network, x = case.build(), case.images()
    with eval_mode(network), generators_untouched("a forward pass in evaluation mode"):
        first, second = case.outputs(network, x), case.outputs(network, x)
    differs = first_difference(first, second)
    assert not differs, f"two forward passes over the same images in evaluation mode differ in the {differs}"


def check_training_repeats_from_the_seed(case: NetworkCase) -> None:
    """In training mode all random numbers come from torch's global generator, which a run seeds at each step."""
    first, second = case.build(), case.build()
    second.load_state_dict(first.state_dict())
    x = case.images()
    with generators_untouched("a forward pass in training mode", torch_too=False):
        differs = first_difference(case.seeded_outputs(first, x), case.seeded_outputs(second, x))
    assert not differs, (
        f"two forward passes in training mode after the same torch seed differ in the {differs}; draw all random "
        "numbers from torch's global generator, or a run cannot be repeated"
    )


def check_checkpoint_brings_it_back(case: NetworkCase) -> None:
    """Loading a checkpoint into a newly built network restores the outputs bit for bit."""
    network, twin, x = case.build(), case.build(case.seed + 1), case.images()
    case.leave_initial_state(network)
    saved = _through_safetensors(network)
    try:
        load_modules({"network": saved}, {"network": twin}, Path("checkpoint"))
    except CheckpointError as err:
        raise AssertionError(f"the saved state_dict() does not fit a newly built network: {err}") from err
    with eval_mode(network), eval_mode(twin):
        differs = first_difference(case.seeded_outputs(network, x), case.seeded_outputs(twin, x))
    assert not differs, (
        f"a restored network gives another {differs}, so some of its state is not in state_dict(); make it a parameter "
        "or a persistent buffer"
    )


def assert_process_untouched(case: NetworkCase, network: nn.Module) -> None:
    """Raises AssertionError if a forward pass, other than the first, changes global state of the process."""
    x = case.images()
    with suppress(AssertionError), process_untouched("a forward pass"):
        case.seeded_outputs(network, x)
    with process_untouched("a forward pass"):
        case.seeded_outputs(network, x)


def _through_safetensors(network: nn.Module) -> dict[str, Tensor]:
    from safetensors.torch import load, save

    state = network.state_dict()
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    assert not others, f"state_dict() holds {others[0]!r}, which is not a tensor; a checkpoint holds only tensors"
    loaded: dict[str, Tensor] = load(save({name: value.clone().contiguous() for name, value in state.items()}))
    return loaded


STATE_PROMISES = (
    check_same_seed_builds_the_same_weights,
    check_another_seed_builds_other_weights,
    check_changing_mode_changes_no_state,
    check_evaluation_changes_no_state,
    check_evaluation_repeats,
    check_training_repeats_from_the_seed,
    check_checkpoint_brings_it_back,
)
