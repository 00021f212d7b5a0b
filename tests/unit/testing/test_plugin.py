"""The pytest plugin, in separate test runs: its fixtures under each async runner, and what it imports."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ASYNC_USE = """
    from resilient_client import APIClient
    from resilient_client.testing import faults, reply

    {mark}
    async def test_both(mock_upstream, fault_server):
        mock_upstream.script(reply(201))
        fault_server.script(faults.reply(202))
        async with fault_server, APIClient(transport=mock_upstream) as memory, APIClient() as wire:
            assert (await memory.get("https://api.example.com/")).status == 201
            assert (await wire.get(fault_server.url + "/")).status == 202
"""


def run_pytest(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a subprocess, where the plugin is loaded through its entry point as for any user."""
    (folder / "test_it.py").write_text(textwrap.dedent(code), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options, "test_it.py"]
    return subprocess.run(  # noqa: S603 -- our own interpreter on our own code
        command, cwd=folder, capture_output=True, text=True, check=False
    )


def test_plugin_in_a_test_run_loads_nothing_heavy(tmp_path: Path) -> None:
    """A test run that uses none of the fixtures does not import the client."""
    code = """
    import sys

    def test_nothing_heavy():
        heavy = {"aiohttp", "pydantic", "tenacity", "multidict", "yarl", "resilient_client._client.client"}
        assert "resilient_client.testing.plugin" in sys.modules
        assert heavy.isdisjoint(sys.modules), heavy & set(sys.modules)
    """
    # Other plugins of this environment may import heavy modules themselves.
    run = run_pytest(tmp_path, code, "-p", "no:hypothesispytest", "-p", "no:asyncio", "-p", "no:anyio")
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(
    ("mark", "options"),
    [
        ("", ["-o", "asyncio_mode=auto"]),
        ("import pytest; @pytest.mark.asyncio", ["-o", "asyncio_mode=strict"]),
        ("import pytest; @pytest.mark.anyio", ["-p", "no:asyncio", "-k", "asyncio"]),
    ],
    ids=["pytest-asyncio auto", "pytest-asyncio strict", "anyio"],
)
def test_plugin_fixtures_work_under_every_async_runner(tmp_path: Path, mark: str, options: list[str]) -> None:
    """The fixtures are plain functions, so they work with every async runner."""
    code = ASYNC_USE.replace("{mark}", "\n    ".join(mark.split("; ")))
    if options[0] == "-o":
        options = [*options, "-o", "asyncio_default_fixture_loop_scope=function"]
    run = run_pytest(tmp_path, code, *options)
    assert run.returncode == 0, run.stdout
    assert "1 passed" in run.stdout


def test_plugin_run_virtual_needs_no_async_runner(tmp_path: Path) -> None:
    """A plain test can run a coroutine for a virtual hour."""
    code = """
    import asyncio

    async def hour():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    def test_hour(run_virtual):
        assert run_virtual(hour()) == 3600.0
    """
    run = run_pytest(tmp_path, code, "-p", "no:asyncio", "-p", "no:anyio")
    assert run.returncode == 0, run.stdout


def test_plugin_fixtures_have_descriptions(tmp_path: Path) -> None:
    """``pytest --fixtures`` describes each fixture."""
    run = run_pytest(tmp_path, "", "--fixtures", "-p", "no:asyncio")
    assert "An upstream in memory" in run.stdout
    assert "A misbehaving server on loopback" in run.stdout


def test_plugin_with_a_virtual_loop_for_every_test(tmp_path: Path) -> None:
    """The recipe from the docs: a hook in conftest.py makes pytest-asyncio use the virtual loop."""
    (tmp_path / "conftest.py").write_text(
        "from resilient_client.testing import VirtualTimeLoop\n"
        "def pytest_asyncio_loop_factories(config, item):\n"
        "    return {'virtual': VirtualTimeLoop}\n",
        encoding="utf-8",
    )
    code = """
    import asyncio

    async def test_hour():
        await asyncio.sleep(3600)
        assert asyncio.get_running_loop().time() >= 3600.0
    """
    options = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    run = run_pytest(tmp_path, code, *options)
    assert run.returncode == 0, run.stdout
