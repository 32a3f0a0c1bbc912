"""The columns of a data set in the Hugging Face format: which has the images, which the labels, and what those mean."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mixzoo import DataError, escaped, truncated_repr

IMAGE = "image"  # what the column of images is called here, whatever its own name
LABEL = "label"  # the column of the labels, if none is named and none is of classes
NO_LABELS = "none"  # label=none: the images have no labels
NAMED = 20  # columns that one message names


def image_column(features: Mapping[str, Any], wanted: str | None, where: str) -> str:
    """The column of the images. Raises DataError if it is not there, holds something else, or could be several."""
    from datasets import Image, Value

    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    if wanted is None:
        if len(images) == 1:
            return images[0]
        found = f"{len(images)} columns of images ({listed(images)})" if images else "no column of images"
        raise DataError(f"{where}: {found}; give image=COLUMN, one of {listed(images or features)}")
    if wanted not in features:
        raise DataError(f"{where}: no column image={wanted}; the columns are {listed(features)}")
    feature = features[wanted]
    is_bytes = isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")
    is_row_of_image = isinstance(feature, dict) and set(feature) == {"bytes", "path"}  # written by another tool
    if wanted not in images and not is_bytes and not is_row_of_image:
        raise DataError(f"{where}: column {wanted} is no column of images; those are {listed(images) or 'none'}")
    return wanted


def join_images(splits: list[Any], column: str, where: str) -> Any:
    """One table of the images of all splits, as they are stored: none is decoded by the package."""
    from datasets import Image, concatenate_datasets

    try:
        encoded = [rows.select_columns([column]).cast_column(column, Image(decode=False)) for rows in splits]
        whole = concatenate_datasets(encoded).with_format("arrow")
        return whole if column == IMAGE else whole.rename_column(column, IMAGE)
    except Exception as err:
        raise DataError(f"{where}: column {column} cannot be read as images ({type(err).__name__})") from err


def label_column(features: Mapping[str, Any], wanted: str | None, where: str) -> str | None:
    """The column of the labels, or None if there is none. Raises DataError if it cannot be, or could be several."""
    from datasets import ClassLabel

    if wanted is None:
        classes = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
        if len(classes) > 1:
            several = f"{len(classes)} columns of labels ({listed(classes)})"
            raise DataError(f"{where}: {several}; give label=COLUMN or label={NO_LABELS}")
        if not classes and not _holds_labels(features.get(LABEL)):
            return None
        return classes[0] if classes else LABEL
    if wanted == NO_LABELS and wanted not in features:
        return None
    if wanted not in features:
        raise DataError(
            f"{where}: no column label={wanted}; the columns are {listed(features)}, and label={NO_LABELS} reads none"
        )
    if not _holds_labels(features[wanted]):
        raise DataError(
            f"{where}: column {wanted} holds {truncated_repr(features[wanted])}; labels are classes, integers, true "
            "and false, or words"
        )
    return wanted


def _holds_labels(feature: Any) -> bool:
    from datasets import ClassLabel, Value

    kind = feature.dtype.rstrip("0123456789") if isinstance(feature, Value) else ""
    return isinstance(feature, ClassLabel) or kind in ("int", "uint", "bool", "string", "large_string")


def class_of_each_row(
    splits: Mapping[str, Any], column: str, where: str
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """The name of each image's class, of each split that has labels; and the classes of the train images, in order.

    Raises DataError if only some images of a split have a label, a label is not one of the classes, or two classes
    would be displayed alike.
    """
    values = {split: labels_of(rows, column, split, where) for split, rows in splits.items()}
    if not values["train"]:
        raise DataError(f"{where}: the train images have no labels in column {column}; give label={NO_LABELS}")
    values = {split: labels for split, labels in values.items() if labels}
    names = {split: _class_names(splits[split].features[column], set(labels)) for split, labels in values.items()}
    class_names = tuple(names["train"][label] for label in sorted(names["train"]))
    repeated = [name for name, count in Counter(class_names).items() if count > 1]
    if repeated:
        raise DataError(f"{where}: two classes of column {column} are both displayed as {repeated[0]}; rename one")
    return {split: [names[split][label] for label in labels] for split, labels in values.items()}, class_names


def _class_names(feature: Any, labels: set[Any]) -> dict[Any, str]:
    """The printable name of each label."""
    names = getattr(feature, "names", None)  # of a ClassLabel
    return {label: escaped(str(names[label] if names else label)) for label in labels}


def labels_of(rows: Any, column: str, split: str, where: str) -> list[Any]:
    """The labels of a split, each an integer or a word; an empty list if all are missing."""
    from datasets import ClassLabel

    values = rows.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    feature = rows.features[column]
    is_class = isinstance(feature, ClassLabel)
    if is_class:
        values = [None if value == -1 else value for value in values]  # what the format has for a test without labels
    values = [None if isinstance(value, str) and not value.strip() else value for value in values]
    missing = values.count(None)
    if missing == len(values):
        return []
    if missing:
        raise DataError(
            f"{where}: {missing} of {len(values)} {split} images have no label in column {column}, such as row "
            f"{values.index(None)}; give another column, or label={NO_LABELS}"
        )
    last = len(feature.names) - 1 if is_class else 0
    wrong = [row for row, value in enumerate(values) if is_class and not 0 <= value <= last]
    if wrong:
        raise DataError(
            f"{where}: label {values[wrong[0]]} of {split} row {wrong[0]} is not in 0..{last}, the classes of column "
            f"{column}"
        )
    return values


def listed(names: Any) -> str:
    """Names of columns or splits for a message."""
    some = [escaped(str(name)) for name in names]
    return ", ".join(some[:NAMED]) + (f" and {len(some) - NAMED} more" if len(some) > NAMED else "")
