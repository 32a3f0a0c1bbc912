"""Data sets whose labels, images or splits do not belong together, in one way each."""

from dataclasses import replace

import torch
from correct_datasets import Many, Tagged

from mixzoo import Split


def of_many(name, change):
    """Many, its three splits changed: `change` gets and gives a table of them."""

    def load(self, seed):
        data = Many.load(self, seed)
        splits = {which: getattr(data, which) for which in ("train", "validation", "test")}
        return replace(data, **splits | change(splits))

    return type(name, (Many,), {"load": load})


def taken(split, index):
    return Split(split.images[index], split.labels[index])


def relabelled(split, labels):
    return Split(split.images, labels)


def turned(split):
    return relabelled(split, split.labels[torch.randperm(len(split), generator=torch.Generator().manual_seed(1))])


def spoilt(split, by):
    return Split((split.images.int() + by).clamp(0, 255).to(torch.uint8), split.labels)


def shuffled(split):
    return torch.randperm(len(split), generator=torch.Generator().manual_seed(2))


TestsOneClass = of_many("TestsOneClass", lambda s: {"test": taken(s["test"], s["test"].labels == 0)})
LosesAClass = of_many("LosesAClass", lambda s: {"validation": taken(s["validation"], s["validation"].labels != 1)})
TurnsAllLabels = of_many("TurnsAllLabels", lambda s: {name: turned(split) for name, split in s.items()})
ShufflesImages = of_many(
    "ShufflesImages", lambda s: {n: Split(taken(t, shuffled(t)).images, t.labels) for n, t in s.items()}
)
DrawsLabels = of_many(
    "DrawsLabels",
    lambda s: {
        n: relabelled(t, torch.randint(3, t.labels.shape, generator=torch.Generator().manual_seed(len(n))))
        for n, t in s.items()
    },
)
CountsOtherwise = of_many("CountsOtherwise", lambda s: {"test": relabelled(s["test"], (s["test"].labels + 1) % 3)})
TurnsTheNames = of_many(
    "TurnsTheNames", lambda s: {"validation": relabelled(s["validation"], 2 - s["validation"].labels)}
)
TurnsTestLabels = of_many("TurnsTestLabels", lambda s: {"test": turned(s["test"])})
ValidatesOnTest = of_many("ValidatesOnTest", lambda s: {"validation": s["test"]})
TestsOnBrightTrain = of_many("TestsOnBrightTrain", lambda s: {"test": spoilt(taken(s["train"], torch.arange(60)), 1)})
RepeatsAFew = of_many("RepeatsAFew", lambda s: {"train": taken(s["train"], torch.arange(120) % 12)})


class AttributeOfTrainAlone(Tagged):
    def changed(self, split):
        tagged = super().changed(split)
        tall = len(split) == 60
        return tagged if tall else replace(tagged, labels=tagged.labels * torch.tensor([1, 0]))


GO, CLASSES = "labels_go_with_their_images", "each_split_has_every_class"
DOUBTFUL = [  # what is most likely a mistake
    ("labels in another order", TurnsAllLabels, GO, "are images and labels in the same order"),
    ("images in another order", ShufflesImages, GO, "are images and labels in the same order"),
    ("labels drawn", DrawsLabels, GO, "% would by chance"),
    (
        "copies with another brightness",
        TestsOnBrightTrain,
        "no_copies_between_splits",
        "100% of the test .* are copies, within a grey level, of train",
    ),
    (
        "validates on test",
        ValidatesOnTest,
        "no_copies_between_splits",
        "100% of the test .* are copies, .* of validation",
    ),
    ("a few images again and again", RepeatsAFew, "images_are_many", "of the 120 train images .* only 12 are distinct"),
]
