"""What the library uses of aiohttp beyond its documentation: listed and checked in one file, used from nowhere else."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

import resilient_client
from resilient_client import APIClient, ConfigurationError
from resilient_client._transport import aiohttp_internals
from resilient_client._transport.aiohttp_internals import NEEDED, Internal

PACKAGE = Path(resilient_client.__file__).parent
DOCUMENTED = {"aiohttp", "aiohttp.abc", "aiohttp.hdrs"}
"""Modules of aiohttp whose names its documentation knows."""
TEST_KIT = {"_aioresponses_compat.py", "_mock_session.py", "_mock_wire.py"}
"""Plays aiohttp's part in memory, for which it needs some of its parts."""


@pytest.fixture(autouse=True)
def checked_anew() -> Iterator[None]:
    """The check is made once per process; here it is made in each test."""
    aiohttp_internals.check_supported.cache_clear()
    yield
    aiohttp_internals.check_supported.cache_clear()


@pytest.mark.parametrize("internal", NEEDED, ids=str)
def test_internal_exists_in_this_release(internal: Internal) -> None:
    """The installed release has every name that is used."""
    assert hasattr(internal.owner, internal.name), internal.purpose


def imported_modules(file: Path) -> set[str]:
    """The modules of aiohttp that a file imports from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {module for module in found if module.split(".")[0] == "aiohttp"}


def test_undocumented_modules_are_imported_in_one_file() -> None:
    """Outside the test kit, only ``aiohttp_internals`` reaches below the documented modules."""
    files = [file for file in PACKAGE.rglob("*.py") if file.name not in {"aiohttp_internals.py", *TEST_KIT}]
    reaching = {file.name: imported_modules(file) - DOCUMENTED for file in files}
    assert {name: modules for name, modules in reaching.items() if modules} == {}


def test_private_attributes_of_a_session_are_read_in_one_file() -> None:
    """``ClientSession._request`` and ``_middlewares`` are named nowhere else."""
    files = [file for file in (PACKAGE / "_transport").glob("*.py") if file.name != "aiohttp_internals.py"]
    assert [file.name for file in files if "ClientSession._request" in file.read_text().replace("``", "")] == []


def test_client_on_a_release_without_a_needed_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what is missing and the releases that are supported; headers are never lost in silence."""
    monkeypatch.delattr(aiohttp.ClientRequest, "update_headers")
    with pytest.raises(ConfigurationError, match=r"ClientRequest\.update_headers.*aiohttp>=3\.14,<4"):
        APIClient("https://api.example.com")


def test_replaced_methods_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a wrapper that carries the name of what it wraps, as those of mocks and tracers do."""
    assert not aiohttp_internals.sessions_are_replaced()
    for name in ("__init__", "_request"):
        own = getattr(aiohttp.ClientSession, name)
        with monkeypatch.context() as patch:
            patch.setattr(aiohttp.ClientSession, name, functools.wraps(own)(lambda *_, **__: None))
            assert aiohttp_internals.sessions_are_replaced()


def test_supported_releases_are_those_of_the_metadata() -> None:
    """The error message promises what the package declares."""
    project = (PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"{aiohttp_internals.SUPPORTED}"' in project
