"""Event loops and paths of the suite, the server that most tests talk to, and tools that CI must have."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Generator
from typing import TypeVar

import pytest
from hypothesis import settings

from resilient_client._transport import transport
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import VirtualTimeLoop

# Every run draws the same examples, so a failure in CI is a failure everywhere. `make proofs` draws ten times as many.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("thorough", derandomize=True, deadline=None, max_examples=1_000)
settings.load_profile("repeatable")

CI_REQUIRED = os.environ.get("CI_REQUIRED") == "1"
"""In CI every optional tool is installed: a test that skips there is a test that runs nowhere."""

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, LoopFactory]:
    """Both loops; one for tests marked ``one_loop``; the loop of virtual time for tests marked ``virtual_time``."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("one_loop"):
        return factories
    try:
        import uvloop
    except ImportError:
        return factories
    return factories | {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Start more workers than cores for ``-n auto``: many tests wait for a timeout or for a process."""
    return 2 * (os.cpu_count() or 1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that use ``both_paths`` on the direct path and through a session, or once if marked ``one_path``."""
    if "both_paths" in metafunc.fixturenames:
        once = metafunc.definition.get_closest_marker("one_path")
        metafunc.parametrize("both_paths", ["direct"] if once else ["direct", "session"], indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one in CI."""
    return _failed_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skipped module into a failed one in CI."""
    return _failed_in_ci((yield))


def _failed_in_ci(report: Report) -> Report:
    # pytest reports an expected failure as skipped, with the attribute ``wasxfail``; that is no missing server.
    if CI_REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although CI_REQUIRED=1: {report.longrepr}"
    return report


@pytest.fixture
def both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path that the test takes: ``direct``, over connections of our own, or ``session``."""
    if request.param == "session":
        monkeypatch.setattr(transport, "needs_session", lambda _settings: "this test")
    return str(request.param)


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    """A misbehaving upstream on loopback, whose hit counter is the oracle for attempts."""
    async with FaultServer() as server:
        yield server
