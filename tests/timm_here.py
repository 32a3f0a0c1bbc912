"""timm for the tests, also where torchvision's compiled operators cannot be loaded.

On Linux torchvision's wheel is built for CUDA and cannot load its operators beside a CPU build of torch; importing it
then ends in "operator torchvision::nms does not exist", and timm with it. timm uses none of those operators, so their
names are enough for the tests to run timm itself. A user sees what `mixzoo_timm.library` says of it.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

OPERATORS = (  # those whose absence stops the import
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared = []  # a library is there as long as somebody holds it


def timm_here() -> None:
    """Skip the test where timm or torchvision is not installed."""
    for name in ("timm", "torchvision"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed", allow_module_level=True)
    compiled = Path(find_spec("torchvision").origin).parent / "_C.so"
    if _declared or not compiled.exists():
        return
    try:
        torch.ops.load_library(compiled)
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in OPERATORS:
            library.define(operator)
        _declared.append(library)
