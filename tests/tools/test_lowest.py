"""The lower bounds become exact constraints."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.lowest import BoundError, constraints


def write(tmp_path: Path, dependencies: str) -> Path:
    """Write a pyproject with these dependencies and one extra."""
    path = tmp_path / "pyproject.toml"
    path.write_text(f"""
[project]
name = "resilient-client"
dependencies = {dependencies}
[project.optional-dependencies]
speed = ["uvloop>=0.21; platform_system != 'Windows'"]
all = ["resilient-client[speed]"]
""")
    return path


def test_each_lower_bound_becomes_a_constraint(tmp_path: Path) -> None:
    """Upper bounds and extras are dropped, markers are kept, and an extra of extras adds nothing."""
    path = write(tmp_path, '["aiohttp>=3.14,<4", "coverage[toml] >= 7.6"]')
    assert list(constraints(path)) == [
        "aiohttp==3.14",
        "coverage==7.6",
        "uvloop==0.21; platform_system != 'Windows'",
    ]


def test_requirement_without_a_lower_bound_is_refused(tmp_path: Path) -> None:
    """A dependency that any release satisfies cannot be tested at its lowest."""
    with pytest.raises(BoundError, match="'yarl<2' has no lower bound; write yarl>="):
        list(constraints(write(tmp_path, '["yarl<2"]')))


def test_every_dependency_of_the_project_has_a_lower_bound() -> None:
    """The project's own file yields a constraint for each runtime dependency."""
    names = {line.partition("==")[0] for line in constraints()}
    assert names >= {"aiohttp", "multidict", "pydantic", "tenacity", "typing_extensions", "yarl"}
