"""Print the lower bounds of ``pyproject.toml`` as constraints for pip: ``aiohttp>=3.14,<4`` becomes ``aiohttp==3.14``.

``make lowest`` installs the library under these constraints and tests it, so each bound names a release that works.
The bounds are those of the library and its extras; the tools of the dependency groups are left as they are.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[^\]]*\])?(?P<bounds>[^;]*)(?P<marker>;.*)?")


class BoundError(ValueError):
    """A requirement has no lower bound."""


def constraints(pyproject: Path = PYPROJECT) -> Iterator[str]:
    """Yield one constraint for each direct dependency, with its marker.

    Raises:
        BoundError: A requirement has no lower bound, so any release would do.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = [text for texts in project.get("optional-dependencies", {}).values() for text in texts]
    for text in sorted({*project["dependencies"], *extras}, key=str.lower):
        found = _REQUIREMENT.fullmatch(text)
        if found is None or found["name"] == project["name"]:  # an extra that consists of other extras
            continue
        lower = re.search(r">=\s*([\w.]+)", found["bounds"])
        if lower is None:
            raise BoundError(f"{text!r} has no lower bound; write {found['name']}>=...")
        yield f"{found['name']}=={lower[1]}{found['marker'] or ''}"


if __name__ == "__main__":
    try:
        print("\n".join(constraints()))
    except BoundError as error:
        sys.exit(f"tools/lowest.py: {error}")
