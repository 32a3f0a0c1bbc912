"""Manifold mixup (Verma et al. 2018) with any mixer, in a plain loop around a timm classifier: real digits, on a CPU.

python docs/examples/manifold_mixup.py cutmix:k=3        (pip install timm)
"""

import random
import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

import mixzoo
from mixzoo.data.batches import to_images
from mixzoo_timm.library import timm

mixer = sys.argv[1] if len(sys.argv) > 1 else "mixup"
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 300
torch.manual_seed(0)
where = random.Random(0)
data = mixzoo.create("dataset", "digits").load(seed=0)
x, y = to_images(data.train.images), data.train.labels
try:
    model = timm().create_model("resnet10t", in_chans=1, num_classes=10)
except mixzoo.MixzooError as err:
    sys.exit(f"manifold_mixup.py: {err}")
stem = nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool)
stages = [stem, model.layer1, model.layer2]  # a mix happens before one of these
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

for step in range(steps):
    batch = torch.randint(len(x), (64,), generator=torch.Generator().manual_seed(step))
    h, target, chosen = x[batch], one_hot(y[batch], 10).float(), where.randrange(len(stages))
    for i, stage in enumerate(stages):
        if i == chosen:
            mixed = mixzoo.mix(h, mixer, seed=0, step=step)  # images at i = 0, feature maps after
            h, target = mixed.h, mixed.of(target)
        h = stage(h)
    loss = cross_entropy(model.forward_head(model.layer4(model.layer3(h))), target)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

model.eval()
with torch.no_grad():
    correct = (model(to_images(data.test.images)).argmax(1) == data.test.labels).float().mean()
print(f"{mixer}: {100 * correct:.1f} % of {len(data.test)} test images after {steps} steps")
