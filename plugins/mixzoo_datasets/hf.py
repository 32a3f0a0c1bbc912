"""Any image data set in the format of Hugging Face's `datasets`, from the hub or from a folder."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Le

from mixzoo import Dataset, Split
from mixzoo_datasets.files import hold_in_memory
from mixzoo_datasets.folder import (
    Decode,
    check_decode,
    class_numbers,
    common_size,
    image_size,
    read_pixels,
    stack_images,
    train_validation_test,
)
from mixzoo_datasets.hf_columns import NO_LABELS, class_of_each_row, image_column, join_images, label_column
from mixzoo_datasets.hf_opening import choose_splits, open_splits
from mixzoo_datasets.hf_rows import ImageRows
from mixzoo_datasets.splits import PHOTOS, TrainImages, build_dataset

HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class HF:
    """Any image data set in the format of Hugging Face's `datasets`: hub=OWNER/NAME of the hub, or path=FOLDER.

    A folder holds Parquet or Arrow files, images in a folder for each class, or what `save_to_disk` wrote. Needs
    `pip install "mixzoo[hf]"`. Whatever is not a table on disk yet becomes one first, in the cache of that package.

    Labels are a column of ClassLabel, integers, true and false, or words. Splits called valid, validation or val, and
    test, are used; each of the two that is missing, or has no labels, is a tenth of the train split, by the fixed
    shuffle. Images are read as those of `folder` are; streamed ones (`--data-on stream`) never fill memory.
    """

    hub: Annotated[str, "OWNER/NAME of a data set of the hub"] | None = None
    path: Annotated[str, "a folder, instead of hub"] | None = None
    config: Annotated[str, "configuration, if the data set has several"] | None = None
    revision: Annotated[str, "branch, tag or commit on the hub"] | None = None
    split: Annotated[str, "split with the train images"] = "train"
    image: Annotated[str, "column of the images; without it, the only one of images"] | None = None
    label: Annotated[str, "column of the labels, or none; without it, the only one of classes, or label"] | None = None
    size: Annotated[int, Ge(4), Le(1024), "side in pixels; without it all images must have one size"] | None = None
    mode: Annotated[Literal["auto", "grey", "rgb"], "channels"] = "auto"
    train_images: TrainImages | None = None
    decode: Decode = "exact"

    run_defaults: ClassVar[Mapping[str, Any]] = PHOTOS

    def __post_init__(self) -> None:
        if (self.hub is None) == (self.path is None):
            raise ValueError("give hub=OWNER/NAME, a data set of the hub, or path=FOLDER, and not both")
        if self.hub is not None and not HUB_NAME.fullmatch(self.hub):
            raise ValueError(f"hub={self.hub!r} must be OWNER/NAME, such as ylecun/mnist; a folder is path=FOLDER")
        if self.path is not None and self.revision is not None:
            raise ValueError("revision has no effect with path; leave it out")
        check_decode(self.decode, self.size)

    def load(self, seed: int) -> Dataset:
        return self._data(seed, whole=True)

    def stream(self, seed: int) -> Dataset:
        """The same data: headers are read now, images when they are needed."""
        return self._data(seed, whole=False)

    def _data(self, seed: int, *, whole: bool) -> Dataset:
        opened = open_splits(hub=self.hub, path=self.path, config=self.config, revision=self.revision)
        splits, where = choose_splits(opened, self.split), opened.where
        notes = [f"{key}={value}" for key in ("config", "revision") if (value := getattr(self, key))]

        # Labels first, because a held-out split without any is left out.
        features = splits["train"].features
        column, label = image_column(features, self.image, where), label_column(features, self.label, where)
        names = {split: [NO_LABELS] * len(rows) for split, rows in splits.items()}
        class_names: tuple[str, ...] = (NO_LABELS,)
        if label is not None:
            names, class_names = class_of_each_row(splits, label, where)
            notes += [f"{split} has no labels and is not used" for split in splits if split not in names]
        labels = class_numbers(names, class_names, where)

        # Decode every image, or, for a stream, read only the headers.
        counts = {split: len(rows) for split, rows in names.items()}
        table = join_images([splits[split] for split in names], column, where)
        decode = partial(read_pixels, size=self.size, mode=self.mode, decode=self.decode)
        images = ImageRows(table, counts, where, opened.roots, decode, (0, 0, 0), torch.arange(len(labels)))
        if whole:
            pixels = stack_images(list(images.each(decode)), where)
            size = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        else:
            size = common_size(list(images.each(partial(image_size, size=self.size, mode=self.mode))), where)

        data = build_dataset(
            train_validation_test(Split(replace(images, size=size), labels), counts),
            class_names=class_names if label is not None else (),
            source="; ".join([f"hf {where}", *notes]),
            needed="at least 10, so that a tenth can be held out",
            train_images=self.train_images,
            seed=seed,
        )
        return hold_in_memory(data, pixels) if whole else data
