"""The positions of a map, for mixers that mix them."""

from mixzoo import CodeShape


def map_size(mixer: object, shape: CodeShape) -> tuple[int, int]:
    """Height and width of the codes; ValueError, with the mixer's name, where they are no maps."""
    if len(shape.latent) != 3:
        raise ValueError(
            f"{type(mixer).__name__.lower()} mixes positions of a map [channels, height, width]; "
            f"codes of shape {shape.latent} have none"
        )
    return shape.latent[1], shape.latent[2]
