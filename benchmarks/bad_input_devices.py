"""Rows of bad_input.py: devices that a run cannot use."""

from bad_input import TINY, Row, mixzoo

DIGITS = (*TINY[: TINY.index("--device")], "--data", "digits")  # needs no files
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}  # the same result on a machine with a GPU


def _train(device: str, says: str, *more: str) -> Row:
    return Row(
        f"--device {device} {' '.join(more)}".strip(),
        lambda folder: mixzoo(folder, "train", *DIGITS, "--device", device, *more, env=NO_GPU),
        2,
        says,
    )


ROWS = [
    _train("gpu", "--device 'gpu' cannot be used here (torch has no device of that name); use cuda"),
    _train("GPU:1", "use cuda:1"),
    _train("0", "use cuda:0"),
    _train("toaster", "use auto, cpu, cuda or cuda:NUMBER"),
    _train("cuda:1", "--device 'cuda:1' cannot be used here ("),
    _train("vulkan", "cannot be used here (Could not run 'aten::empty.memory_format' with arguments from the 'Vulkan' "
                     "backend); use auto or cpu"),
    _train("hpu", "cannot be used here (No module named 'torch.hpu'); use auto or cpu"),
    _train("meta", "its tensors have no values"),
    _train("cpu:3", "a machine has one CPU device, whatever its cores"),
    _train("gpu", "use cuda", "--seeds", "1,2"),
    _train("cpu", "--engine graph captures CUDA graphs, but the run is on cpu; use eager or auto", "--engine", "graph"),
    _train("cpu", "--precision tf32 needs a GPU", "--precision", "tf32"),
]  # fmt: skip
