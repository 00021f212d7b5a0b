"""The delay before another attempt: what the server asks for, and what the deadline leaves. The server measures it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from tests.behaviour.support import ends_after, failure, soon

from resilient_client import APIClient, InternalServerError, Retry
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import reply

EAGER = Retry(max_attempts=3, backoff=lambda _: 0.0)
"""Three attempts, no pause."""


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """A client that retries at once, however many calls fail."""
    async with APIClient(server.url, retry=EAGER, circuit_breaker=None) as api:
        yield api


@pytest.mark.virtual_time
async def test_retry_after_beyond_deadline(server: FaultServer, api: APIClient) -> None:
    """``Retry-After: 3`` with 1 s left: the 503 comes back long before that is over, and says so."""
    server.script(reply(503, headers={"Retry-After": "3"}))
    await api.get("/", retry=None, raise_for_status=False)  # connected
    with ends_after(0):
        error = await failure(api.get("/", timeout=1))
    assert isinstance(error, InternalServerError)
    assert (error.retry_after, error.attempts, server.hits) == (3, 1, 2)
    assert "does not fit" in str(error)


@pytest.mark.one_loop
@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize(
    "fields",
    [
        [("Retry-After", "5"), ("Retry-After", "30")],
        [("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Retry-After", "Sun, 6 Nov 1994 08:50:07 UTC")],
    ],
    ids=["two fields", "another clock"],
)
async def test_retry_after_of_the_reply(server: FaultServer, fields: list[tuple[str, str]]) -> None:
    """The longer of two fields counts, and a date is relative to the clock of the server that wrote it."""
    server.script(reply(503, headers=fields))
    async with APIClient(server.url, retry=Retry(max_retry_after=20)) as api:
        error = await failure(api.get("/"))
    assert isinstance(error, InternalServerError)
    assert (error.retry_after, error.attempts, server.hits) == (30, 1, 1)


@pytest.mark.one_loop
async def test_retry_after_above_cap(server: FaultServer) -> None:
    """A requested delay above ``max_retry_after`` is not shortened to it."""
    server.script(reply(429, headers={"Retry-After": "3"}))
    retry = Retry(backoff=lambda _: 0.0, max_retry_after=2)
    async with APIClient(server.url, retry=retry, timeout=None) as api:
        error = await failure(api.get("/"))
    assert (error.attempts, server.hits) == (1, 1)
    assert "max_retry_after=2 s" in str(error)


@pytest.mark.parametrize(
    ("headers", "floor"), [({"retry-after-ms": "80"}, 0.08), ({"Retry-After": "0.08"}, 0.08), ({}, 0)]
)
@pytest.mark.virtual_time
async def test_retry_after_is_a_floor(
    server: FaultServer, api: APIClient, headers: dict[str, str], floor: float
) -> None:
    """The next attempt comes no earlier than the server asked, and at most a quarter later."""
    server.script(reply(503, headers=headers), reply())
    await soon(api.get("/"))
    pause = server.requests[1].at - server.requests[0].at
    assert floor - 0.002 <= pause <= floor * 1.25 + 0.05


@pytest.mark.virtual_time
async def test_throttled_without_retry_after_waits(server: FaultServer) -> None:
    """A server that asks for fewer requests is left alone for longer than one that fails, and for longer each time."""
    server.script(reply(500), reply(500), reply(), reply(429), reply(429), reply())
    async with APIClient(server.url) as api:
        await soon(api.get("/"))
        await soon(api.get("/"))
    pauses = [later.at - earlier.at for earlier, later in pairwise(server.requests)]
    assert pauses[0] <= 0.21
    assert pauses[1] <= 0.41
    assert 1 <= pauses[3] <= 2.01
    assert 2 <= pauses[4] <= 4.01


@pytest.mark.parametrize(
    ("retry", "headers", "longest"),
    [
        (Retry(), {"Retry-After": "0"}, 0.21),
        (Retry(throttled_delay=0), {}, 0.21),
        (Retry(backoff=lambda _: 0.1), {}, 0.11),
        (Retry(backoff={"initial": 0.001, "max_delay": 0.01}), {}, 0.02),
    ],
    ids=["the server says when", "off", "a callable", "max_delay"],
)
@pytest.mark.virtual_time
async def test_throttled_delay_yields_to_what_is_set(
    server: FaultServer, retry: Retry, headers: dict[str, str], longest: float
) -> None:
    """``Retry-After: 0`` means at once, a callable decides alone, and ``max_delay`` is the longest delay."""
    server.script(reply(429, headers=headers), reply())
    async with APIClient(server.url, retry=retry) as api:
        await soon(api.get("/"))
    assert server.requests[1].at - server.requests[0].at <= longest


@pytest.mark.virtual_time
async def test_retry_after_below_backoff(server: FaultServer) -> None:
    """``Retry-After`` never shortens the backoff."""
    server.script(reply(503, headers={"Retry-After": "0"}), reply())
    async with APIClient(server.url, retry=Retry(backoff=lambda _: 0.08)) as api:
        await soon(api.get("/"))
    assert server.requests[1].at - server.requests[0].at >= 0.078
