"""EMNIST: handwritten letters and digits, in files of MNIST's format."""

from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Annotated, Literal

from mixzoo import CheckedFile, Dataset
from mixzoo_datasets.idx import check_pair, find_pairs, read_pair
from mixzoo_datasets.reading import resolve_path
from mixzoo_datasets.splits import Root, TrainImages, build_dataset, shuffle_and_split

CLASSES = {  # "letters" merges the two cases of each letter; "balanced" keeps lower-case letters that look different
    "letters": tuple(ascii_lowercase),
    "balanced": (*digits, *ascii_uppercase, *"abdefghnqrt"),
    "digits": tuple(digits),
}
FIRST = {"letters": 1}  # the label of the first class, otherwise 0


@dataclass(frozen=True, kw_only=True)
class EMNIST:
    """EMNIST (Cohen et al. 2017): handwritten letters (26 classes), both and digits (47), or digits (10), 32x32.

    Reads root/EMNIST/raw/emnist-SPLIT-train-images-idx3-ubyte[.gz] and its three counterparts, as torchvision unpacks
    them from the publishers' gzip.zip; there is no download. The images, which are stored transposed, are turned
    upright and resized from 28x28. As many of the shuffled train images as there are test images form the validation
    split: letters 104,000 / 20,800 / 20,800, balanced 94,000 / 18,800 / 18,800, digits 200,000 / 40,000 / 40,000.
    """

    root: Root = "data"
    split: Annotated[Literal["letters", "balanced", "digits"], "which of the publishers' selections"] = "letters"
    train_images: TrainImages | None = None

    def data_files(self) -> dict[str, bool]:
        """Every file that `load` reads, and whether it exists."""
        stem = f"EMNIST/raw/emnist-{self.split}"
        return find_pairs(resolve_path(self.root), f"{stem}-train", f"{stem}-test")

    def check_files(self) -> Iterator[CheckedFile]:
        """Each file, checked by itself."""
        for part in ("train", "test"):
            stem, first = f"EMNIST/raw/emnist-{self.split}-{part}", FIRST.get(self.split, 0)
            yield from check_pair(resolve_path(self.root), stem, CLASSES[self.split], first)

    def load(self, seed: int) -> Dataset:
        root, names = resolve_path(self.root), CLASSES[self.split]
        train, test = (
            read_pair(
                root,
                f"EMNIST/raw/emnist-{self.split}-{part}",
                len(names),
                "; unpack the publishers' gzip.zip there",
                first=FIRST.get(self.split, 0),
                transposed=True,
            )
            for part in ("train", "test")
        )
        return build_dataset(
            [*shuffle_and_split(train, max(0, len(train) - len(test))), test],
            class_names=names,
            source=f"EMNIST {self.split} under {root / 'EMNIST' / 'raw'}, 28x28 resized to 32x32",
            needed="more train images than test images, and one of each",
            train_images=self.train_images,
            seed=seed,
        )
