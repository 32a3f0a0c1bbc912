"""Options that several mixers have: their types, ranges and descriptions."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

K = Annotated[int, Ge(2), Le(64), "sources of one mix"]
Concentration = Annotated[float, Ge(0.01), Le(1e6), "concentration: below 1 near the sources, above 1 near their mean"]
AreaConcentration = Annotated[float, Ge(0.01), Le(1e6), "concentration of the areas: below 1 one source has nearly all"]
FirstChance = Annotated[float, Ge(0), Le(1), "chance of the first source; drawn uniformly if not given"]
PPer = Annotated[Literal["unit", "example", "batch"], "what has one drawn p"]
