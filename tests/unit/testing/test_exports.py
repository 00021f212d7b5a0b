"""The public surface of the test kit: its modules, and names that need no private import."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

from resilient_client import testing

MODULES = ["cancellation", "faults", "plugin"]
PAGE = Path(__file__).parents[3] / "docs" / "testing.md"


def test_public_modules_are_exactly_the_agreed_ones() -> None:
    """A module without an underscore is a promise, so this list changes with it."""
    modules = [module.name for module in pkgutil.iter_modules(testing.__path__)]
    assert [name for name in modules if not name.startswith("_")] == MODULES


@pytest.mark.parametrize("name", ["cancellation", "faults"])
def test_module_all_lists_its_public_functions_and_classes(name: str) -> None:
    """Every public function and class that a module defines is in its ``__all__``."""
    module = importlib.import_module(f"resilient_client.testing.{name}")
    defined = {
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not key.startswith("_")
    }
    assert defined <= set(module.__all__)
    assert [key for key in module.__all__ if not hasattr(module, key)] == []


def test_docs_import_no_private_module() -> None:
    """The documentation never sends a user into a module with an underscore."""
    assert "testing._" not in PAGE.read_text(encoding="utf-8")
