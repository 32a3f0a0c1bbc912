"""Encoders of timm: shapes, what they see, norms, weights, frozen parts and errors."""

from pathlib import Path

import pytest
import torch
from test_docs import TIMM, blocks
from test_run import StopAt, weights, without_clock
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import mixzoo
from mixzoo import BuildContext
from mixzoo.core.errors import Interrupted
from mixzoo.registry.zoo import Plugin, RegisteredPart
from mixzoo.runs.opening import open_run
from mixzoo.runs.run import resume, start
from mixzoo.testing.autoencoders import autoencoder_checks
from mixzoo.testing.report import run_checks
from mixzoo_timm.autoencoder import Timm
from toys import toy_config, toy_zoo

GREY, COLOUR = (1, 32, 32), (3, 32, 32)
SMALL = {"latent": 4, "decoder_width": 16}


def network(image_shape=GREY, seed=0, restored=False, **options):
    torch.manual_seed(seed)
    return Timm(**SMALL | options).build(BuildContext(image_shape, classes=10, restored=restored))


# model, out_index: code for images of 32x32
SPREAD = {
    ("resnet18", 2): (4, 4),
    ("convnext_atto", 1): (4, 4),
    ("efficientnet_b0", 2): (4, 4),
    ("mobilenetv3_small_100", 2): (4, 4),
    ("vit_tiny_patch16_224", 1): (2, 2),
    ("swin_tiny_patch4_window7_224", 1): (4, 4),
}


@pytest.mark.parametrize(("model", "out_index"), SPREAD)
@pytest.mark.parametrize("image_shape", [GREY, COLOUR])
def test_each_family_encodes_decodes_and_takes_a_step_that_lowers_the_loss(model, out_index, image_shape):
    net = network(image_shape, model=model, out_index=out_index)
    x = torch.rand(4, *image_shape) * 2 - 1
    assert net.latent_shape == (4, *SPREAD[model, out_index])
    assert net.encode(x).shape == (4, *net.latent_shape)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        loss = (net.decode(net.encode(x)) - x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters() if p.requires_grad)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("model", "out_index"), SPREAD)
def test_the_decoder_mirrors_the_reductions_and_channels_that_timm_declares(model, out_index):
    import timm

    stated = timm.create_model(model, features_only=True, out_indices=(0,)).feature_info
    net = network(model=model, out_index=out_index, decoder_width=10_000)
    convs = [m for m in net.g.modules() if isinstance(m, nn.Conv2d)]
    doublings = [m for m in net.g.modules() if isinstance(m, nn.Upsample)]
    assert 2 ** len(doublings) == stated.reduction(out_index)
    assert convs[0].out_channels == stated.channels(out_index)
    for index in range(out_index + 1):
        halvings = stated.reduction(index).bit_length() - 1
        assert {conv.out_channels for conv in convs[2 * (len(doublings) - halvings) :][:2]} == {
            stated.channels(max(i for i in range(out_index + 1) if stated.reduction(i) == stated.reduction(index)))
        }


@pytest.mark.parametrize(
    ("model", "image_shape", "code"),
    [
        ("resnet18", (3, 28, 28), (4, 4)),
        ("resnet18", (1, 33, 20), (5, 3)),
        ("resnet18", (1, 64, 48), (8, 6)),
        ("vit_tiny_patch16_224", (1, 32, 48), (2, 3)),
        ("vit_small_patch14_dinov2", (3, 28, 42), (2, 3)),
    ],
)
def test_images_of_any_size_that_the_model_takes_come_back_at_their_size(model, image_shape, code):
    net = network(image_shape, model=model)
    x = torch.rand(2, *image_shape)
    assert net.encode(x).shape == (2, 4, *code)
    assert net.decode(net.encode(x)).shape == x.shape


@pytest.mark.parametrize(
    ("model", "image_shape", "message"),
    [
        (
            "vit_tiny_patch16_224",
            (1, 28, 40),
            "images of 28x40: .* would see only 16x32 of them; .* of 16",
        ),
        ("convnext_atto", (3, 30, 32), "images of 30x32: .* would see only 28x32 of them; .* of 16"),
        ("vit_tiny_patch16_224", (1, 8, 8), "images of 8x8: 'vit_tiny_patch16_224' does not accept them"),
        ("resnet18", (2, 32, 32), "images of 2 channels: 'resnet18' needs 3 channels, or grey images"),
    ],
)
def test_images_that_a_model_does_not_take_or_see_whole_are_refused(model, image_shape, message):
    with pytest.raises(ValueError, match=message):
        network(image_shape, model=model)


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(ValueError, match=r"model='resnet_18' is not a timm model\. Did you mean 'resnet18'"):
        network(model="resnet_18")
    with pytest.raises(ValueError, match="timm has 'resnet18', but not these weights"):
        network(model="resnet18.mine")


@pytest.mark.parametrize("model", ["resnet18", "efficientnet_b0"])
def test_a_feature_map_beyond_the_last_names_the_last(model):
    with pytest.raises(ValueError, match=f"out_index=5: '{model}' has feature maps 0 to 4"):
        network(model=model, out_index=5)


def test_images_are_normalised_as_timm_trained_the_model_and_grey_ones_are_given_to_every_channel():
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model("resnet18", features_only=True, out_indices=(2,)).eval()
    net = network(weights=str(saved_weights("resnet18")), norm="fixed").eval()
    theirs.load_state_dict({k.removeprefix("model."): v for k, v in net.f.net.state_dict().items()})
    config = timm.get_pretrained_cfg("resnet18")
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    grey = torch.rand(2, 1, 32, 32)  # in [0, 1], as in timm
    (expected,) = theirs((grey.expand(-1, 3, -1, -1) - mean) / std)
    torch.testing.assert_close(net.encode(2 * grey - 1), net.f.to_code(expected))


def saved_weights(model="resnet18", change=lambda tensors: tensors, folder=[]):  # noqa: B006  (made once)
    """A file as on timm's hub: the whole model with its classifier, with batch statistics other than 0 and 1."""
    import tempfile

    import timm
    from safetensors.torch import save_file

    torch.manual_seed(5)
    tensors = timm.create_model(model).state_dict()
    for name, tensor in tensors.items():
        if name.endswith("running_mean"):
            tensor.uniform_(-0.1, 0.1)
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    folder or folder.append(Path(tempfile.mkdtemp()))
    file = folder[0] / f"{model}.safetensors"
    save_file(change({name: tensor.contiguous() for name, tensor in tensors.items()}), file)
    return file


@pytest.mark.filterwarnings("ignore::UserWarning")  # of timm and scipy, as timm fits swin's position biases
@pytest.mark.parametrize("model", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_weights_of_a_local_file_are_loaded(model):
    """Weights of a transformer are for 224x224 images; timm adapts its position embeddings to the new size."""
    from safetensors.torch import load_file

    file = saved_weights(model)
    tensors = load_file(file)
    net = network(model=model, weights=str(file))
    own = dict(net.f.net.model.state_dict())
    other = [name for name in own if name not in tensors or not torch.equal(own[name], tensors[name])]
    assert not [name for name in other if "pos" not in name]
    assert bool(other) == (model != "resnet18")
    assert not [name for name in own if name.startswith(("fc.", "head."))]


def test_weights_of_another_model_are_refused(tmp_path):
    file = saved_weights("resnet18")
    with pytest.raises(ValueError, match="does not fit 'resnet50'"):
        network(model="resnet50", weights=str(file))
    with pytest.raises(ValueError, match=r"lacks \d+ of the model's tensors"):
        network(model="vit_tiny_patch16_224", weights=str(file))
    renamed = tmp_path / "renamed.safetensors"
    saved_weights("resnet18").rename(renamed)
    from safetensors.torch import load_file, save_file

    save_file({f"backbone.{name}": tensor for name, tensor in load_file(renamed).items()}, renamed)
    with pytest.raises(ValueError, match=r"renamed\.safetensors': lacks .* such as 'model.conv1.weight'"):
        network(weights=str(renamed))


def test_a_pickle_is_refused_unread_and_a_missing_file_named(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    import pickle

    for name in ("model.pth", "model.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(ValueError, match=r"not a safetensors file .* A pickle, .*, is never loaded"):
            network(weights=str(tmp_path / name))
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(ValueError, match="no such file; give a safetensors file with weights=PATH"):
        network(weights=str(tmp_path / "none.safetensors"))


def test_pretrained_weights_come_from_timms_hub(monkeypatch):
    import huggingface_hub

    asked = []

    def download(repository, name, local_files_only=False):
        if local_files_only and not asked:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache")
        asked.append((repository, name))
        return str(saved_weights("resnet18"))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    first, second = (network(seed=seed, pretrained=True).f.net.parameters() for seed in (0, 1))
    assert set(asked) == {("timm/resnet18.a1_in1k", "model.safetensors")}
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_pretrained_offline_says_what_to_do(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = r"pretrained=true: 'timm/resnet18\.a1_in1k' .*online, or .* weights=PATH$"
    with pytest.raises(ValueError, match=message) as error:
        network(pretrained=True)
    assert "\n" not in str(error.value)


def test_a_restored_network_asks_for_no_weights(tmp_path):
    options = {"weights": str(tmp_path / "gone.safetensors")}
    assert network(restored=True, **options).f.norm == "fixed"
    assert network(restored=True, pretrained=True).f.norm == "fixed"


def trained_a_little(net, image_shape=GREY):
    net.train()
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        x = torch.rand(4, *image_shape)
        (net.decode(net.encode(x)) - x).square().mean().backward()
        optimiser.step()


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("options", [{}, {"weights": True}, {"model": "vit_tiny_patch16_224"}])
def test_a_frozen_timm_part_keeps_weights_statistics_and_mode_whatever_is_called(options):
    if "weights" in options:
        options = {"weights": str(saved_weights("resnet18"))}
    net = network(freeze=True, **options)
    before, rest = state(net.f.net), state(net.f.to_code)
    for mode in (True, False, True):
        net.train(mode)
        assert not any(module.training for module in net.f.net.modules())
    trained_a_little(net)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.f.net.state_dict().items())
    assert not torch.equal(net.f.to_code.weight, rest["weight"])
    x = torch.rand(2, *GREY, requires_grad=True)
    net.encode(x).sum().backward()
    assert x.grad.abs().sum() > 0  # a mix that is encoded again still teaches the decoder


def test_fixed_norms_keep_their_statistics_and_train_their_scale():
    net = network(weights=str(saved_weights("resnet18")))
    before = state(net.f.net)
    trained_a_little(net)
    after = net.f.net.state_dict()
    assert net.training
    kept = [name for name in before if "running" in name or "tracked" in name]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not torch.equal(before["model.bn1.weight"], after["model.bn1.weight"])


def test_batch_norms_move_their_statistics_only_where_asked_for():
    net = network(norm="batch")
    before = state(net.f.net)
    trained_a_little(net)
    assert not torch.equal(before["model.bn1.running_mean"], net.f.net.state_dict()["model.bn1.running_mean"])
    assert not [m for m in network().modules() if isinstance(m, _BatchNorm)]


def test_a_group_norm_starts_with_the_scale_and_keeps_the_activation_of_the_batch_norm_it_replaces():
    from timm.layers import BatchNormAct2d

    from mixzoo_timm.norms import group_norm, replace_batch_norms

    layer = BatchNormAct2d(48, act_layer=nn.SiLU)
    nn.init.uniform_(layer.weight, 0.5, 2)
    holder = nn.Sequential(layer)
    replace_batch_norms(holder)
    x = torch.randn(2, 48, 3, 3)
    expected = nn.functional.silu(nn.functional.group_norm(x, 3, layer.weight, layer.bias, layer.eps))
    torch.testing.assert_close(holder(x), expected)
    assert [group_norm(n).num_groups for n in (8, 16, 24, 40, 64, 72)] == [1, 1, 1, 2, 4, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": True, "weights": "x"}, "both give weights to start from"),
        ({"pretrained": True, "norm": "group"}, "norm=group does not fit weights pretrained"),
        ({"norm": "fixed"}, "norm=fixed needs pretrained statistics"),
        ({"norm": "batch", "freeze": True}, "norm=batch has no effect with freeze=true"),
        (
            {"norm": "batch", "model": "vit_tiny_patch16_224"},
            "'vit_tiny_patch16_224' has no batch norm; leave norm= out",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)


TINY = [{"norm": "batch"}, {"model": "test_vit"}]  # timm's own models for tests
LONGER = [
    {"freeze": True},
    {"model": "test_efficientnet"},
    {"model": "test_convnext", "out_index": 0},
    *[{"model": model, "out_index": index} for model, index in SPREAD],
    {"model": "hrnet_w18_small"},  # timm leaves in layers that the map does not need
]


@pytest.mark.parametrize(
    "options", [*TINY, *[pytest.param(options, marks=pytest.mark.slow) for options in LONGER]], ids=str
)
def test_each_family_keeps_every_promise_of_an_auto_encoder(options):
    recipe = Timm(**SMALL | {"model": "test_resnet", "out_index": 1} | options)
    report = run_checks(recipe, "autoencoder", autoencoder_checks, effort="low")
    assert [outcome.line for outcome in report.failed] == []
    left_out = ["images_do_not_meet_in_training"] if options.get("norm") == "batch" else []
    assert [outcome.check.name for outcome in report.skipped] == left_out


@pytest.mark.parametrize("initial", ["random weights", "a file"])
def test_a_run_on_timm_resumes_bit_for_bit(tmp_path, initial):
    """Checkpoints contain the statistics of batch norms, which change every step, and weights whose file is gone."""
    weights_file = tmp_path / "weights.safetensors"
    options = "norm=batch,model=test_resnet,out_index=1,latent=4,decoder_width=16"
    if initial == "a file":
        saved_weights("test_resnet").rename(weights_file)
        options += f",weights={weights_file}"
    flags = {"autoencoder": f"timm:{options}", "mixer": "dirichlet:k=3", "objective": "amr:beta=0.1"}
    numbers = {"steps": 6, "batch_images": 8, "log_every": 1, "checkpoint_every": 3, "evaluate_every": 3}
    zoo = zoo_with_timm()
    start(zoo, toy_config(zoo, flags=flags, **numbers), tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(zoo, toy_config(zoo, flags=flags, **numbers), tmp_path / "stopped", lambda *_: StopAt(2))
    weights_file.unlink(missing_ok=True)
    resume(zoo, tmp_path / "stopped")
    assert without_clock(tmp_path / "stopped") == without_clock(tmp_path / "whole")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    opened = open_run(zoo, tmp_path / "stopped", "cpu")
    assert opened.players.autoencoder.f.net.model.bn1.num_batches_tracked == 2 * 6


def test_the_call_of_the_document_works():
    (code,) = blocks(TIMM, "python")
    names = {"images": torch.rand(2, 3, 32, 32) * 2 - 1}
    exec(code, names)  # the document's own text
    assert names["h"].shape == (2, 32, 4, 4)


def zoo_with_timm():
    """The toys and `timm`, even if mixzoo was installed before it had that plugin."""
    zoo = toy_zoo()
    if not any(entry.name == "timm" for entry in zoo.registered):
        zoo.registered.append(RegisteredPart("autoencoder", "timm", Plugin("timm", "mixzoo", mixzoo.__version__), Timm))
    return zoo
