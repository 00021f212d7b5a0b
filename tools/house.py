"""Draw ``docs/images/house.svg`` from the imports of ``src/resilient_client``, or check that it is current.

::

    python tools/house.py            writes the picture
    python tools/house.py --check    fails when the committed picture differs from the code

The layers contract of import-linter in ``pyproject.toml`` gives the floors, from top to bottom. Each package below
``resilient_client`` is a room, and each import between two rooms is a line from the importing room to the imported
one. The picture shows nothing that changes with every commit: lines of code and numbers of imports appear as three
classes each. Needs the standard library only, and writes the same bytes for the same code.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = "resilient_client"
PICTURE = ROOT / "docs" / "images" / "house.svg"

FRONT_DOOR = ""
"""The room of the package's own modules: ``resilient_client/__init__.py`` and the public modules beside it."""

CAPTIONS = {
    "_cli": "the command line",
    "simulation": "whole systems in virtual time",
    "testing": "mock upstreams, fault server",
    "health": "probes and reports",
    "auth": "credentials and tokens",
    "_client": "what users hold",
    "_call": "one call, start to finish",
    "_fanout": "many calls at once",
    "_middleware": "acts: one file per pattern",
    "_transport": "touches the wire once",
    "telemetry": "reports: logs and their names",
    "_waiting": "queues for permits and slots",
    "_policies": "decides: no I/O, no clock",
    "_settings": "describes: frozen models",
    "_core": "nouns that travel the chain",
}
"""What stands in each room. A new room needs a caption of at most about 30 characters."""

PATH = ("_client", "_call", "_middleware", "_transport")
"""The rooms that a call passes, from the caller to the wire."""

NOT_DRAWN = {"__main__", "_version"}


class Room(NamedTuple):
    """A room of the house: a package, or the package's own modules."""

    name: str
    floor: int
    lines: int

    @property
    def is_public(self) -> bool:
        """Whether users may import it."""
        return not self.name.startswith("_")


class House(NamedTuple):
    """What the picture shows: rooms from top to bottom, and the number of imports for each pair of rooms."""

    rooms: list[Room]
    imports: dict[tuple[str, str], int]


class PlanError(Exception):
    """The code has a room that the contract or the captions do not know."""


# --- Reading the code -------------------------------------------------------------------------------------------------


def read_house(source: Path = ROOT / "src" / PACKAGE, pyproject: Path = ROOT / "pyproject.toml") -> House:
    """Read rooms and imports from the source tree, and the floors from the layers contract.

    Raises:
        PlanError: A package stands in no layer of the contract.
    """
    floor_of = dict(floors(pyproject))
    files = {module_of(path, source): path for path in sorted(source.rglob("*.py"))}
    lines, imports = Counter[str](), Counter[tuple[str, str]]()
    for module, path in files.items():
        here = room_of(module, floor_of, is_package=path.name == "__init__.py")
        if here is None:
            continue
        text = path.read_text(encoding="utf-8")
        lines[here] += text.count("\n")
        for imported in sorted(imported_modules(module, path, text, files)):
            there = room_of(imported, floor_of)
            if there is not None and there != here:
                imports[here, there] += 1
    floor_of[FRONT_DOOR] = -1
    rooms = [Room(name, floor, lines[name]) for name, floor in floor_of.items() if lines[name]]
    return House(sorted(rooms, key=lambda room: room.floor), dict(sorted(imports.items())))


def floors(pyproject: Path) -> Iterator[tuple[str, int]]:
    """Yield each package of the layers contract with its floor: 0 is the top, and the packages of a layer share one."""
    contracts = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    for floor, layer in enumerate(layers):
        for package in layer.replace(":", "|").split("|"):
            yield package.strip().strip("()").removeprefix(f"{PACKAGE}."), floor


def module_of(path: Path, source: Path) -> str:
    """Return the dotted name of a file below the source tree."""
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join([PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)])


def room_of(module: str, floor_of: dict[str, int], *, is_package: bool = False) -> str | None:
    """Return the room of a module, or None if it is not drawn."""
    head, _, rest = module.removeprefix(PACKAGE).removeprefix(".").partition(".")
    if head in floor_of:
        return head
    if head in NOT_DRAWN:
        return None
    if head and (is_package or rest or head.startswith("_")):
        raise PlanError(f"{module}: {head} is in no layer of the contract; add it to [tool.importlinter]")
    return FRONT_DOOR


def imported_modules(module: str, path: Path, text: str, files: dict[str, Path]) -> set[str]:
    """Return the modules of the package that a file imports, lazily or not, except for type checkers only."""
    found = set[str]()
    parent = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in runtime_nodes(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), parent)
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(name if name in files else base)
    return {name for name in found if name == PACKAGE or name.startswith(f"{PACKAGE}.")}


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those below ``if TYPE_CHECKING:``, as the contract ignores these too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from runtime_nodes(other)
        else:
            yield child
            yield from runtime_nodes(child)


# --- Drawing ----------------------------------------------------------------------------------------------------------

WIDTH = 960
WALLS = (72, 944)  # the outer walls, from left to right
EAVES = 116  # where the roof ends and the first floor begins
ROW = 52  # height of one room with its gap
BOX = 40  # height of one room's box
LEFT = 130  # where the boxes begin
PATH_X = 102  # the path of a call, between the wall and the boxes
COLUMNS = (436, 916)  # the first and the last of the lines that run down
BOX_WIDTHS = (224, 248, 272)  # for fewer than 1,000, fewer than 3,000, and more lines
DOTS = (2.4, 3.8, 5.2)  # for fewer than 5, fewer than 20, and more imports
LANE = 9  # a room's imports leave above its middle, imports of it arrive below

# Lines of neighbouring columns must be told apart at a glance, on white and on near black.
COLOURS = ("#2f81f7", "#d9730d", "#1a9e6f", "#a371f7", "#d1467f", "#1799b5", "#8a8f98")

STYLE = """
text { font: 13.5px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif }
.name, .title { font: 600 15px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.title { font-size: 22px }
.halo, .lead, .line, .path { fill: none }
.halo { stroke-width: 5 }
.lead { stroke-width: 1.4 }
.line { stroke-width: 1.6 }
.path, .stop, .ground { stroke-width: 3; stroke-linecap: round }
.room, .slab { stroke-width: 1.2 }
.wall { stroke-width: 2; stroke-linejoin: round }
.name, .title, .tip { fill: #1f2328 } .small, .key { fill: #59636e }
.path, .stop { stroke: #1f2328 } .page, .room, .stop { fill: #ffffff } .slab { stroke: #d1d9e0 }
.wall { fill: #f6f8fa } .wall, .ground { stroke: #8c959f } .halo { stroke: #f6f8fa }
.room, .lead { stroke: #afb8c1 } .public { fill: #ddf4ff; stroke: #2f81f7 }
@media (prefers-color-scheme: dark) {
  .name, .title, .tip { fill: #e6edf3 } .small, .key { fill: #9198a1 }
  .path, .stop { stroke: #e6edf3 } .page, .room, .stop { fill: #0d1117 } .slab { stroke: #2a313c }
  .wall { fill: #151b23 } .wall, .ground { stroke: #656c76 } .halo { stroke: #151b23 }
  .room, .lead { stroke: #59636e } .public { fill: #0c2d4d; stroke: #4493f8 }
}
"""


class Place(NamedTuple):
    """Where a room's box is."""

    x: int
    y: int
    width: int

    @property
    def right(self) -> int:
        """The x of the right side."""
        return self.x + self.width

    @property
    def middle(self) -> int:
        """The y of the middle."""
        return self.y + BOX // 2

    @property
    def exit(self) -> int:
        """The height of the line of the room's own imports. In the roof it runs low, where the roof is widest."""
        return self.middle + (LANE if self.middle < EAVES else -LANE)


def size_class(value: int, bounds: tuple[int, int]) -> int:
    """Return 0, 1 or 2: below the first bound, below the second, or above both."""
    return sum(value >= bound for bound in bounds)


def places_of(house: House) -> dict[str, Place]:
    """Return the place of each room: one below the other, the front door in the roof."""
    places = {}
    row = 0
    for room in house.rooms:
        if room.name == FRONT_DOOR:
            places[room.name] = Place(LEFT, EAVES - BOX - 10, COLUMNS[0] + 16 - LEFT)
        else:
            y = EAVES + row * ROW + (ROW - BOX) // 2
            places[room.name] = Place(LEFT, y, BOX_WIDTHS[size_class(room.lines, (1000, 3000))])
            row += 1
    return places


def draw(house: House) -> str:
    """Return the picture as SVG."""
    places = places_of(house)
    ground = max(place.y for place in places.values()) + BOX + 14
    height = ground + 104
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>The packages of {PACKAGE} and their imports, from the command line down to the nouns</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="10"/>',
        *shell(house, places, ground),
        *wiring(house, places),
        *(element for room in house.rooms for element in box(room, places[room.name])),
        *path_of_a_call(places),
        *legend(ground),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def shell(house: House, places: dict[str, Place], ground: int) -> Iterator[str]:
    """Draw roof, walls, and a slab below each floor."""
    left, right = WALLS
    yield (
        f'<path class="wall" d="M {left} {ground} V {EAVES} H {left - 22} L {left + 104} 18 H {right - 104} '
        f'L {right + 12} {EAVES} H {right} V {ground} Z"/>'
    )
    yield f'<path class="slab" d="M {left + 1} {EAVES} H {right - 1}"/>'
    yield f'<text class="title" x="{(left + right) // 2}" y="50" text-anchor="middle">{PACKAGE}</text>'
    for room, below in zip(house.rooms, house.rooms[1:], strict=False):
        if room.floor != below.floor and room.name != FRONT_DOOR:
            y = places[below.name].y - (ROW - BOX) // 2
            yield f'<path class="slab" d="M {left + 1} {y} H {right - 1}"/>'


def wiring(house: House, places: dict[str, Place]) -> Iterator[str]:
    """Draw the imports: a grey line from each importing room, and a coloured one down to each imported room."""
    imported = [room.name for room in house.rooms if any(pair[1] == room.name for pair in house.imports)]
    distance = (COLUMNS[1] - COLUMNS[0]) // max(1, len(imported) - 1)
    column_of = {name: COLUMNS[0] + distance * index for index, name in enumerate(imported)}
    for room in house.rooms:
        targets = [column_of[there] for here, there in house.imports if here == room.name]
        if targets:
            place = places[room.name]
            yield f'<path class="lead" d="M {place.right} {place.exit} H {max(targets)}"/>'
    for index, name in enumerate(imported):
        colour = COLOURS[index % len(COLOURS)]
        x, place = column_of[name], places[name]
        levels = {here: places[here].exit for here, there in house.imports if there == name}
        if name == FRONT_DOOR:
            line, tip = f"M {x} {max(levels.values())} V {place.y + BOX + 8}", (x, place.y + BOX + 1, "up")
        else:
            y = place.middle + LANE
            line = f"M {x} {min(levels.values())} V {y - 8} Q {x} {y} {x - 8} {y} H {place.right + 8}"
            tip = (place.right + 1, y, "left")
        yield f'<path class="halo" d="{line}"/>'
        yield f'<path class="line" stroke="{colour}" d="{line}"/>'
        yield arrow(*tip, f'fill="{colour}"')
        for here, y in levels.items():
            radius = DOTS[size_class(house.imports[here, name], (5, 20))]
            yield f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{colour}"/>'


def arrow(x: int, y: int, towards: str, attributes: str) -> str:
    """Draw an arrowhead whose tip is at x, y."""
    wings = {"left": "l 9 -4.5 v 9 z", "right": "l -9 -4.5 v 9 z", "up": "l -4.5 9 h 9 z"}[towards]
    return f'<path {attributes} d="M {x} {y} {wings}"/>'


def box(room: Room, place: Place) -> Iterator[str]:
    """Draw a room with its name and its caption."""
    style = "room public" if room.is_public else "room"
    yield f'<rect class="{style}" x="{place.x}" y="{place.y}" width="{place.width}" height="{BOX}" rx="6"/>'
    if room.name == FRONT_DOOR:
        yield label(place.x + 12, place.middle + 5, "the front door: public names, loaded on first use")
        return
    if room.name not in CAPTIONS:
        raise PlanError(f"{room.name} has no caption; add one to CAPTIONS in tools/house.py")
    yield f'<text class="name" x="{place.x + 12}" y="{place.y + 17}">{escape(room.name)}</text>'
    yield label(place.x + 12, place.y + 33, CAPTIONS[room.name])


def path_of_a_call(places: dict[str, Place]) -> Iterator[str]:
    """Draw the way of a call from outside through the rooms of ``PATH`` and out to the wire."""
    stops = [places[name].middle for name in PATH if name in places]
    first, last = stops[0], stops[-1]
    left = WALLS[0]
    yield (
        f'<path class="path" d="M {left - 40} {first} H {PATH_X - 10} Q {PATH_X} {first} {PATH_X} {first + 10} '
        f'V {last - 10} Q {PATH_X} {last} {PATH_X - 10} {last} H {left - 40}"/>'
    )
    yield arrow(left - 50, last, "left", 'class="tip"')
    for y in stops:
        yield f'<path class="path" d="M {PATH_X} {y} H {LEFT - 2}"/>'
        yield f'<circle class="stop" cx="{PATH_X}" cy="{y}" r="5"/>'
    yield label(left - 44, first - 12, "a call")
    yield label(left - 44, last + 24, "wire")


def legend(ground: int) -> Iterator[str]:
    """Draw the ground, and explain the signs below it."""
    yield f'<path class="ground" d="M 20 {ground} H {WIDTH - 4}"/>'
    x, y = WALLS[0], ground + 32
    for style, meaning in (("room public", "public"), ("room", "internal")):
        yield f'<rect class="{style}" x="{x}" y="{y - 12}" width="24" height="15" rx="4"/>'
        yield label(x + 32, y, meaning)
        x += 98
    yield label(x, y, "box width: under 1,000 · under 3,000 · more lines")
    x += 356
    for radius, meaning in zip(DOTS, ("under 5", "under 20", "more imports"), strict=True):
        yield f'<circle class="key" cx="{x}" cy="{y - 4}" r="{radius}"/>'
        yield label(x + 11, y, meaning)
        x += 82
    x, y = WALLS[0], y + 28
    yield f'<path class="lead" d="M {x} {y - 5} H {x + 34}"/>'
    yield f'<path class="line" stroke="{COLOURS[0]}" d="M {x + 17} {y - 12} V {y + 6}"/>'
    yield f'<circle cx="{x + 17}" cy="{y - 5}" r="{DOTS[1]}" fill="{COLOURS[0]}"/>'
    yield label(
        x + 44, y, "a dot: the room on the left of the grey line imports the room at the arrow of the coloured line"
    )
    y += 28
    yield f'<path class="slab" d="M {x} {y - 5} H {x + 34}"/>'
    yield label(
        x + 44, y, "a floor: below the roof, imports only go down, and rooms on the same floor do not import each other"
    )


def label(x: int, y: int, text: str) -> str:
    """Write a small text that begins at x, on the base line y."""
    return f'<text class="small" x="{x}" y="{y}">{escape(text)}</text>'


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the picture, and return the exit code."""
    parser = argparse.ArgumentParser(description="Draw docs/images/house.svg from the imports.")
    parser.add_argument("--check", action="store_true", help="fail when the committed picture differs from the code")
    options = parser.parse_args(arguments)
    try:
        picture = draw(read_house())
    except PlanError as error:
        print(f"tools/house.py: {error}", file=sys.stderr)
        return 1
    if not options.check:
        PICTURE.write_text(picture, encoding="utf-8", newline="\n")
    elif not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != picture:
        print("docs/images/house.svg differs from the code; run python tools/house.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
