"""EMNIST: handwritten letters and digits, in the files of MNIST."""

from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Annotated, Literal

from mixzoo import Dataset
from mixzoo.errors import escaped
from mixzoo_datasets.idx import pairs_there, read_pair
from mixzoo_datasets.reading import located
from mixzoo_datasets.splits import Root, TrainImages, assembled, cut

CLASSES = {  # "letters" holds both cases of a letter as one class; "balanced" those lower-case ones that look different
    "letters": tuple(ascii_lowercase),
    "balanced": (*digits, *ascii_uppercase, *"abdefghnqrt"),
    "digits": tuple(digits),
}
FIRST = {"letters": 1}  # the label of the first class, 0 where not here


@dataclass(frozen=True, kw_only=True)
class EMNIST:
    """EMNIST (Cohen et al. 2017): handwritten letters (26 classes), both and digits (47), or digits (10), 32x32.

    Reads root/EMNIST/raw/emnist-SPLIT-train-images-idx3-ubyte[.gz] and the three like it, as torchvision unpacks them
    from the publishers' gzip.zip; it is not fetched. Images lie on their side in the files, and are turned and resized
    from 28x28. Of the shuffled train images as many as there are test images validate: letters 104,000 / 20,800 /
    20,800, balanced 94,000 / 18,800 / 18,800, digits 200,000 / 40,000 / 40,000.
    """

    root: Root = "data"
    split: Annotated[Literal["letters", "balanced", "digits"], "which of the publishers' selections"] = "letters"
    train_images: TrainImages | None = None

    def data_files(self) -> dict[str, bool]:
        """Every file that `load` reads, and whether it is there."""
        stem = f"EMNIST/raw/emnist-{self.split}"
        return pairs_there(located(self.root), f"{stem}-train", f"{stem}-test")

    def load(self, seed: int) -> Dataset:
        root, names = located(self.root), CLASSES[self.split]
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
        return assembled(
            [*cut(train, max(0, len(train) - len(test))), test],
            class_names=names,
            source=escaped(f"EMNIST {self.split} under {root / 'EMNIST' / 'raw'}, 28x28 resized to 32x32"),
            needed="more train images than test images, and one of each",
            train_images=self.train_images,
            seed=seed,
        )
