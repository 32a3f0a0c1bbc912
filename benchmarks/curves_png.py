"""A picture of curves on logarithmic axes, one panel each."""

from math import floor, log10
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 360, 260  # of a panel's axes
LEFT, TOP, BELOW, RIGHT = 70, 40, 40, 30  # around them
FINER = 2  # pixels per unit of the sizes above
INK, FAINT, LINE = "#222222", "#dddddd", "#1f77b4"
TEXT = 13


class Curve(NamedTuple):
    """A caption and points (x, y), both above 0."""

    caption: str
    points: list[tuple[float, float]]


def log_log(curves: list[Curve], unit: str, columns: int = 2) -> Image.Image:
    """A panel per curve; a decade has the same length on both axes of a panel, so slopes can be read off."""
    columns = min(columns, len(curves))
    rows = -(-len(curves) // columns)
    cell_w, cell_h = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BELOW
    paper = Image.new("RGB", (FINER * columns * cell_w, FINER * rows * cell_h), "white")
    for number, curve in enumerate(curves):
        corner = (number % columns * cell_w, number // columns * cell_h)
        _draw(ImageDraw.Draw(paper), curve, unit, corner)
    return paper


def _draw(pen: ImageDraw.ImageDraw, curve: Curve, unit: str, corner: tuple[int, int]) -> None:
    font = ImageFont.load_default(TEXT * FINER)
    xs, ys = ([log10(value) for value in column] for column in zip(*curve.points))
    decade = min(WIDTH / max(max(xs) - min(xs), 0.1), HEIGHT / max(max(ys) - min(ys), 0.1)) * 0.9
    middle_x, middle_y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2

    def at(x: float, y: float) -> tuple[float, float]:
        across = corner[0] + LEFT + WIDTH / 2 + (x - middle_x) * decade
        down = corner[1] + TOP + HEIGHT / 2 - (y - middle_y) * decade
        return FINER * across, FINER * down

    left, top = FINER * (corner[0] + LEFT), FINER * (corner[1] + TOP)
    right, bottom = left + FINER * WIDTH, top + FINER * HEIGHT
    pen.text((left, top - 2 * TEXT * FINER), f"{unit} {curve.caption}", fill=INK, font=font)
    for (size, _), x in zip(curve.points, xs):
        across = at(x, middle_y)[0]
        pen.line([(across, top), (across, bottom)], fill=FAINT, width=FINER)
        pen.text((across, bottom + FINER * 4), f"{size:g}", fill=INK, font=font, anchor="ma")
    for value in _round_numbers(middle_y - HEIGHT / 2 / decade, middle_y + HEIGHT / 2 / decade):
        down = at(middle_x, log10(value))[1]
        pen.line([(left, down), (right, down)], fill=FAINT, width=FINER)
        pen.text((left - FINER * 6, down), f"{value:g}", fill=INK, font=font, anchor="rm")
    pen.rectangle([(left, top), (right, bottom)], outline=INK, width=FINER)
    places = [at(x, y) for x, y in zip(xs, ys)]
    pen.line(places, fill=LINE, width=2 * FINER)
    for across, down in places:
        reach = 3 * FINER
        pen.ellipse([(across - reach, down - reach), (across + reach, down + reach)], fill=LINE)


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between 10^low and 10^high."""
    values = [step * 10.0**power for power in range(floor(low), floor(high) + 1) for step in (1, 2, 5)]
    return [value for value in values if low <= log10(value) <= high]
