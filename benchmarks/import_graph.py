"""The rooms of mixzoo, their floors, and the arrows between them, from the imports of its modules.

    python benchmarks/import_graph.py > benchmarks/results/import_graph.md

A room is a folder or module directly in mixzoo/. An arrow is a pair of rooms in which the first imports the second. A
floor is a set of rooms without arrows between them; they import only rooms of lower floors.
"""

from collections import defaultdict

import grimp


def arrows() -> set[tuple[str, str]]:
    """(importing room, imported room), for modules and folders directly in mixzoo/."""
    graph = grimp.build_graph("mixzoo")
    pairs = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = tuple(name.split(".")[1] if "." in name else "mixzoo" for name in (module, imported))
            if pair[0] != pair[1] and "mixzoo" not in pair:
                pairs.add(pair)
    return pairs


def floors(pairs: set[tuple[str, str]]) -> list[list[str]]:
    """Rooms by floor, the lowest first. Raises ValueError if imports form a cycle."""
    below: dict[str, set[str]] = defaultdict(set)
    for room, imported in pairs:
        below[room].add(imported)
        below[imported] |= set()
    levels: list[list[str]] = []
    while below:
        floor = sorted(room for room, needs in below.items() if not needs)
        if not floor:
            raise ValueError(f"an import cycle among {', '.join(sorted(below))}")
        levels.append(floor)
        below = {room: needs - set(floor) for room, needs in below.items() if room not in floor}
    return levels


def main() -> None:
    pairs = arrows()
    levels = floors(pairs)
    rooms = sum(map(len, levels))
    print(f"{rooms} rooms on {len(levels)} floors with {len(pairs)} arrows, none of them up, no circle.\n")
    print("| floor | rooms | import |\n|---|---|---|")
    for number, floor in reversed(list(enumerate(levels, 1))):
        for room in floor:
            imported = ", ".join(sorted(b for a, b in pairs if a == room)) or "nothing"
            print(f"| {number} | {room} | {imported} |")


if __name__ == "__main__":
    main()
