"""Registers mixzoo's data sets through the hook that any plugin uses."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_datasets() -> Mapping[str, type[Any]]:
    from mixzoo_datasets.celeba import CelebA
    from mixzoo_datasets.cifar import CIFAR10
    from mixzoo_datasets.digits import Digits
    from mixzoo_datasets.emnist import EMNIST
    from mixzoo_datasets.folder import Folder
    from mixzoo_datasets.hf import HF
    from mixzoo_datasets.idx import KMNIST, MNIST, FashionMNIST
    from mixzoo_datasets.lines import Lines
    from mixzoo_datasets.spiral import Spiral
    from mixzoo_datasets.sprites import Sprites
    from mixzoo_datasets.svhn import SVHN

    return {
        "digits": Digits,
        "mnist": MNIST,
        "kmnist": KMNIST,
        "fashion_mnist": FashionMNIST,
        "emnist": EMNIST,
        "cifar10": CIFAR10,
        "svhn": SVHN,
        "celeba": CelebA,
        "folder": Folder,
        "hf": HF,
        "spiral": Spiral,
        "lines": Lines,
        "sprites": Sprites,
    }
