"""The size of a map, for mixers that mix its positions."""

from mixzoo import CodeShape


def map_size(mixer: object, shape: CodeShape) -> tuple[int, int]:
    """Returns height and width of the codes. Raises ValueError, with the mixer's name, if the codes are not maps."""
    if len(shape.latent) != 3:
        raise ValueError(
            f"{type(mixer).__name__.lower()} mixes positions of a map [channels, height, width]; "
            f"codes of shape {shape.latent} have none; use another mixer or an auto-encoder whose code is a map"
        )
    return shape.latent[1], shape.latent[2]
