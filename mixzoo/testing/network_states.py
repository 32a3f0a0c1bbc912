"""What a network promises of its weights and buffers: seeds, modes, checkpoints."""

from contextlib import suppress
from pathlib import Path

from torch import Tensor, nn

from mixzoo.core.errors import CheckpointError
from mixzoo.evaluation.codes import eval_mode
from mixzoo.testing.networks import NetworkCase
from mixzoo.testing.watching import first_difference, generators_untouched, process_untouched, state_of
from mixzoo.training.checkpoint import load_modules


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
    with eval_mode(network):
        case.seeded_outputs(network, case.images())
        assert not network.training, "a pass in evaluation mode switches the network to training"
    differs = first_difference(before, state_of(network))
    assert not differs, f"a pass in evaluation mode changes {differs!r}, so evaluating a run would change it"


def check_evaluation_repeats(case: NetworkCase) -> None:
    """In evaluation mode a pass draws no random number, and the same images give the same results twice."""
    network, x = case.build(), case.images()
    with eval_mode(network), generators_untouched("a pass in evaluation mode"):
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
    case.live_a_little(network)
    saved = _through_safetensors(network)
    try:
        load_modules({"network": saved}, {"network": twin}, Path("checkpoint"))
    except CheckpointError as err:
        raise AssertionError(f"its saved state does not fit a newly built one: {err}") from err
    with eval_mode(network), eval_mode(twin):
        differs = first_difference(case.seeded_outputs(network, x), case.seeded_outputs(twin, x))
    assert not differs, (
        f"a restored network gives another {differs}: some of its state is not in state_dict(); make it a parameter or "
        "a persistent buffer"
    )


def assert_process_untouched(case: NetworkCase, network: nn.Module) -> None:
    """AssertionError if a pass with its gradient, after a first one, changes something of the whole process."""
    x = case.images()
    with suppress(AssertionError), process_untouched("a pass"):
        case.seeded_outputs(network, x)
    with process_untouched("a pass"):
        case.seeded_outputs(network, x)


def _through_safetensors(network: nn.Module) -> dict[str, Tensor]:
    from safetensors.torch import load, save

    state = network.state_dict()
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    assert not strange, f"state_dict() holds {strange[0]!r}, which is no tensor; a checkpoint holds tensors alone"
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
