"""Any image data set in the format of Hugging Face's `datasets`, from the hub or from a folder."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Le
from jaxtyping import Int
from torch import Tensor

from mixzoo import CheckedFile, DataError, Dataset, Split, truncated_repr
from mixzoo_datasets.files import check_each, hold_in_memory
from mixzoo_datasets.folder import (
    Decode,
    check_decode,
    class_numbers,
    common_size,
    different_sizes,
    image_size,
    read_pixels,
    size_and_mode,
    stack_images,
    train_validation_test,
)
from mixzoo_datasets.hf_columns import LABEL, NO_LABELS, class_of_each_row, image_column, join_images, label_column
from mixzoo_datasets.hf_opening import choose_splits, open_splits
from mixzoo_datasets.hf_rows import ImageRows
from mixzoo_datasets.splits import PHOTOS, TrainImages, build_dataset

HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


class _Rows(NamedTuple):
    """The images, not read yet, and labels of all splits, one after the other."""

    images: ImageRows
    labels: Int[Tensor, " n"]
    names: Mapping[str, list[str]]  # of each image's class, by split
    class_names: tuple[str, ...]  # empty without labels
    source: str


@dataclass(frozen=True, kw_only=True)
class HF:
    """Any image data set in the format of Hugging Face's `datasets`: hub=OWNER/NAME of the hub, or path=FOLDER.

    A folder holds Parquet or Arrow files, images in a folder for each class, zip archives of images without classes, or
    what `save_to_disk` wrote. Needs `pip install "mixzoo[hf]"`. Whatever is not a table on disk yet becomes one first,
    in the cache of that package.

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

    def check_files(self) -> Iterator[CheckedFile]:
        """Every image, decoded; then whether they have one size, if that is needed."""
        rows, sizes = self._rows(), Counter[str]()
        classes = chain.from_iterable(rows.names.values()) if rows.class_names else repeat("")
        named = ((name, image, class_name) for (name, image), class_name in zip(rows.images.named(), classes))
        measure = partial(size_and_mode, mode=self.mode)
        for checked in check_each(named, lambda image: rows.images.read_named(image, measure), skippable=False):
            sizes.update(checked.sizes)
            yield checked
        if len(sizes) > 1 and self.size is None:
            raise DataError(different_sizes(sizes, rows.images.where))

    def _rows(self) -> _Rows:
        """The rows of the splits, their images not read."""
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
        elif self.label is None and LABEL in features:
            notes.append(f"column {LABEL} holds {truncated_repr(features[LABEL])} and is not used")
        labels = class_numbers(names, class_names, where)

        counts = {split: len(rows) for split, rows in names.items()}
        table = join_images([splits[split] for split in names], column, where)
        decode = partial(read_pixels, size=self.size, mode=self.mode, decode=self.decode)
        images = ImageRows(table, counts, where, opened.roots, decode, (0, 0, 0), torch.arange(len(labels)))
        shown = class_names if label is not None else ()
        return _Rows(images, labels, names, shown, "; ".join([f"hf {where}", *notes]))

    def _data(self, seed: int, *, whole: bool) -> Dataset:
        rows = self._rows()
        images, where, counts = rows.images, rows.images.where, dict(rows.images.counts)

        # Decode every image, or, for a stream, read only the headers.
        if whole:
            pixels = stack_images(list(images.each(images.decode)), where)
            size = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        else:
            size = common_size(list(images.each(partial(image_size, size=self.size, mode=self.mode))), where)

        data = build_dataset(
            train_validation_test(Split(replace(images, size=size), rows.labels), counts),
            class_names=rows.class_names,
            source=rows.source,
            needed="at least 10, so that a tenth can be held out",
            train_images=self.train_images,
            seed=seed,
        )
        return hold_in_memory(data, pixels) if whole else data
