"""The plain trainer that mixzoo's step is measured against takes the same step."""

import numpy as np
import pytest
import torch
from PIL import Image

from agreement import TOLERANCE, disagreement
from mixzoo.benchmark.steps import stepper
from mixzoo.data.batches import to_images
from mixzoo.registry.config import resolve
from mixzoo.registry.zoo import load_zoo
from plain import Method, OneByOne, Trainer, draw

pytestmark = pytest.mark.scripts

ZOO = load_zoo()
METHODS = {
    "aegan:lam=5": (Method("aegan", lam=5), "mixup"),
    "amr:lam=10": (Method("amr", lam=10), "mixup"),
    "amr:lam=20": (Method("amr", k=3, lam=20), "dirichlet:k=3"),
    "amr:lam=7": (Method("amr", k=8, lam=7), "dirichlet:k=8"),
    "acai:variant=amr,lam=2": (Method("acai", lam=2), "mixup"),
}


def apart(objective, method, mixer, batch=6):
    """The largest difference between the gradients of mixzoo and the plain trainer, by player."""
    flags = {"objective": objective, "mixer": mixer, "autoencoder": "amr:depth=4", "discriminator": "amr:depth=4"}
    torch.manual_seed(0)
    with stepper(ZOO, resolve(ZOO, None, flags, {"batch_images": batch})) as step:
        return disagreement(step, Trainer(method, depth=4))


@pytest.mark.parametrize("objective", METHODS)
def test_its_gradients_equal_those_of_mixzoo(objective):
    method, mixer = METHODS[objective]
    found = apart(objective, method, mixer)
    assert set(found) == {"autoencoder", "discriminator", "probe"}
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("other", [Method("amr", lam=10.1), Method("aegan", lam=10), Method("acai", lam=10)])
def test_a_different_objective_is_noticed(other):
    assert max(apart("amr:lam=10", other, "mixup").values()) > 1e-4


def test_its_discriminator_passes_once_for_each_source_and_again_for_the_autoencoder():
    x, labels = torch.randn(4, 1, 32, 32), torch.arange(4)
    for objective, passes in {"aegan": 4, "amr": 5, "acai": 4}.items():
        trainer, seen = Trainer(Method(objective), depth=2), []
        trainer.D.register_forward_hook(lambda module, given, out, seen=seen: seen.append(len(out)))
        log = trainer.step(x, labels, draw(2, 4))
        assert seen == [4] * passes
        assert all(isinstance(value, float) for value in log.values())


def test_it_can_leave_the_autoencoder_unchanged():
    trainer = Trainer(Method("amr"), depth=2)
    before = [p.clone() for p in (*trainer.f.parameters(), *trainer.D.parameters())]
    trainer.step(torch.randn(4, 1, 32, 32), torch.arange(4), draw(2, 4), update_autoencoder=False)
    after = [*trainer.f.parameters(), *trainer.D.parameters()]
    count = len(list(trainer.f.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(before[:count], after[:count]))
    assert not all(torch.equal(a, b) for a, b in zip(before[count:], after[count:]))


@pytest.mark.parametrize("k", [2, 5])
def test_its_weights_are_on_the_simplex_and_its_partners_permutations(k):
    share, partners = draw(k, 16)
    assert share.shape == (k, 16, 1, 1, 1)
    torch.testing.assert_close(share.sum(0), torch.ones(16, 1, 1, 1))
    assert share.min() >= 0
    assert all(sorted(row.tolist()) == list(range(16)) for row in partners)
    assert len(partners) == k - 1


@pytest.mark.bit_exact
@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_its_images_equal_those_of_mixzoo(shape):
    stored = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    x, label = OneByOne(stored, np.array([3, 4]))[1]
    enlarged = np.array(Image.fromarray(stored[1]).resize((32, 32), Image.Resampling.BILINEAR)).reshape(32, 32, -1)
    assert torch.equal(x, to_images(torch.from_numpy(enlarged).permute(2, 0, 1)[None])[0])
    assert label == 4
