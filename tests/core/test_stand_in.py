"""The batch that an objective is called on before a run: wrong calls are refused, and what is read is recorded."""

import pytest
import torch

from mixzoo.core.errors import PluginError
from mixzoo.core.stand_in import StandInBatch, requirements_of
from mixzoo.core.stand_in_case import Sizes
from mixzoo.registry.zoo import load_zoo

WRONG_CALLS = {
    "codes for images": (
        lambda b: b.encode(b.encode(b.x)),
        r"batch\.encode takes images \[batch, 1, 4, 4\], not a ten",
    ),
    "images for codes": (lambda b: b.mix(b.x), r"batch\.mix takes codes \[batch, 3\], not a tensor \[2, 1, 4, 4\]"),
    "a second mixer without a name": (
        lambda b: b.mix(b.encode(b.x), mixup()),
        r"needs a name .*b.*\.mix\(h, mixer, 's",
    ),
    "an input of D twice": (
        lambda b: [b.discriminate(real=b.x) for _ in "ab"],
        "got the name 'real' twice in one step",
    ),
    "inputs of two shapes": (lambda b: b.discriminate(real=b.x, code=b.encode(b.x)), "tensors of one shape, not"),
    "a draw like a number": (lambda b: b.noise("a", like=3), "draw 'a' needs a tensor .* as `like`, not a int"),
    "two draws of one name": (
        lambda b: (b.noise("a", like=b.x), b.uniform("a", like=b.x)),
        "two different draws have the name 'a'; give each its own name",
    ),
}


def mixup():
    return load_zoo().recipe("mixer", "mixup")


def stand_in():
    return StandInBatch(Sizes(2, (1, 4, 4), (3,)))


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_a_wrong_call_is_refused_with_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call(stand_in())


def test_an_objective_that_returns_something_else_is_refused():
    class Mapping:
        def losses(self, batch):
            return {"reconstruct": batch.x.mean()}

    with pytest.raises(PluginError, match=r"losses returned a dict; it must return Losses\(autoencoder=\{\.\.\.\}"):
        requirements_of(Mapping(), stand_in())


def test_outputs_of_the_discriminator_are_recorded_once_they_are_read():
    batch = stand_in()
    output = batch.discriminate(real=batch.x)
    assert list(output.label_logits) == ["real"]
    assert not batch.read
    assert torch.equal(output.label_logits["real"], batch.output.label_logits["real"])
    assert batch.read == {"label_logits"}
