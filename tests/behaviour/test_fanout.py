"""The rule of the fan-out: one outcome a call, in order, by the shared deadline, and no call harms another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.behaviour.support import calls, cancelled, client, in_use, soon, turns, working

from resilient_client import (
    APIClient,
    APIError,
    Call,
    CallCancelledError,
    CircuitOpenError,
    ConnectionSettings,
    ErrorKind,
    Failure,
    InvalidRequestError,
    NotFoundError,
    Response,
    Success,
    deadline,
)
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._fanout import gather
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer


async def test_gather_keeps_the_order_of_its_calls(server: FaultServer, api: APIClient) -> None:
    """Whichever answers first."""
    server.route("GET", "/0", faults.reply(200, body=b"late", delay=0.05))
    result = await soon(api.gather(calls(5)))
    assert [outcome.key for outcome in result] == [0, 1, 2, 3, 4]
    assert result.values[0].content == b"late"


async def test_gather_of_nothing_is_an_empty_result(api: APIClient) -> None:
    """No calls, no outcomes, nothing to raise."""
    result = await api.gather([])
    assert (len(result), result.values, result.failures, result.by_kind()) == (0, [], [], {})
    result.raise_for_failures()


@pytest.mark.parametrize("concurrency", [1, 7])
async def test_gather_bounds_concurrency(server: FaultServer, api: APIClient, concurrency: int) -> None:
    """The server counts."""
    held = faults.hold()
    server.script(*[held] * concurrency, faults.reply(200))
    gathering = asyncio.create_task(api.gather(calls(40), concurrency=concurrency))
    await soon(server.wait_for_hits(concurrency))
    await turns()
    held.release()
    await soon(gathering)
    assert (server.peak, server.hits) == (concurrency, 40)


async def test_gather_consumes_its_calls_lazily(server: FaultServer, api: APIClient) -> None:
    """No more of the iterable is taken than can be in flight."""
    held, taken = faults.hold(), 0
    server.script(held)

    def endless() -> Iterator[Call[Response]]:
        nonlocal taken
        for call in calls(1000):
            taken += 1
            yield call

    gathering = asyncio.create_task(api.gather(endless(), concurrency=5))
    await soon(server.wait_for_hits(5))
    await turns()
    assert taken == 5
    held.release()
    assert len(await soon(gathering)) == 1000


async def test_gather_failure_spares_siblings(server: FaultServer, api: APIClient) -> None:
    """Each outcome is its own; gather never raises for a failed call."""
    server.route("GET", "/1", faults.reply(404))
    server.route("GET", "/2", faults.drop())
    server.route("GET", "/3", faults.garbage())
    result = await soon(api.gather(calls(6)))
    assert [outcome.ok for outcome in result] == [True, False, False, False, True, True]
    assert set(result.by_kind()) == {ErrorKind.CLIENT_ERROR, ErrorKind.DISCONNECTED, ErrorKind.PROTOCOL}
    match result[1], result[0]:
        case Failure(error=NotFoundError()), Success(value=Response()):
            pass
        case other:
            pytest.fail(f"the outcomes do not match: {other}")


@pytest.mark.virtual_time
async def test_gather_ends_at_its_deadline(server: FaultServer) -> None:
    """100 calls, 5 of them hang: at the deadline there are 95 values and 5 failures labelled so."""
    for number in (3, 20, 47, 80, 99):
        server.route("GET", f"/{number}", faults.hang_before_headers())
    loop = asyncio.get_running_loop()
    async with client(server) as api:
        began = loop.time()
        result = await soon(api.gather(calls(100), timeout=1))  # many times what 95 answers take
        took = loop.time() - began
        assert in_use(api) == 0
    assert [outcome.key for outcome in result.failures] == [3, 20, 47, 80, 99]
    assert set(result.by_kind()) == {ErrorKind.DEADLINE}
    assert len(result.values) == 95
    assert took == pytest.approx(1, abs=0.01)


@pytest.mark.virtual_time
async def test_gather_waits_for_slowest(server: FaultServer, api: APIClient) -> None:
    """Negative control: without the shared timeout the slow one is waited for."""
    server.route("GET", "/1", faults.reply(200, delay=0.2))
    assert len((await soon(api.gather(calls(3)))).values) == 3


@pytest.mark.virtual_time
async def test_gather_labels_unstarted_calls(server: FaultServer, api: APIClient) -> None:
    """Behind a hanging call of concurrency one, the rest fail at the deadline, with nothing sent."""
    server.script(faults.hang_before_headers())
    result = await soon(api.gather(calls(10), concurrency=1, timeout=0.3))
    assert {failure.kind for failure in result.failures} == {ErrorKind.DEADLINE}
    assert [failure.attempts for failure in result.failures] == [1] + [0] * 9
    assert [failure.error.maybe_processed for failure in result.failures] == [True] + [False] * 9
    assert server.hits == 1


@pytest.mark.virtual_time
async def test_gather_deadline_lengthens_no_call(server: FaultServer, api: APIClient) -> None:
    """The nearer end counts."""
    server.script(faults.hang_before_headers())
    loop = asyncio.get_running_loop()
    began = loop.time()
    await soon(api.gather([Call.get("/", timeout=0.05)], timeout=3))
    assert loop.time() - began < 0.5


async def test_gather_cancelled_awaits_children(server: FaultServer) -> None:
    """When the CancelledError is out, no task and no connection of it is left."""
    server.script(faults.hang_before_headers())
    async with client(server) as api:
        gathering = asyncio.create_task(api.gather(calls(50), concurrency=10))
        await soon(server.wait_for_hits(10))
        assert working() == 10
        await cancelled([gathering])
        assert gathering.cancelled()
        assert (in_use(api), working()) == (0, 0)
    assert server.hits == 10


async def test_gather_wraps_foreign_exceptions(server: FaultServer) -> None:
    """A bug in a middleware spoils its own call, and stands behind it as the cause."""

    async def picky(request: Request, call_next: Handler) -> Response:
        if request.url.path == "/1":
            raise KeyError("a bug of the user's")
        return await call_next(request)

    async with client(server, middleware=[picky]) as api:
        result = await soon(api.gather(calls(3)))
    (failed,) = result.failures
    assert (failed.key, failed.kind, len(result.values)) == (1, ErrorKind.UNEXPECTED, 2)
    assert isinstance(failed.error.__cause__, KeyError)


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_gather_call_cancelled_inside(server: FaultServer, concurrency: int) -> None:
    """A middleware that awaits something cancelled spoils its own call; the others are made, and all are told."""

    async def unlucky(request: Request, call_next: Handler) -> Response:
        if request.url.path in ("/0", "/2"):
            gone: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
            gone.cancel()
            return await gone
        return await call_next(request)

    async with client(server, attempt_middleware=[unlucky]) as api:
        result = await soon(api.gather(calls(4), concurrency=concurrency))
    assert [outcome.key for outcome in result] == [0, 1, 2, 3]
    assert [outcome.ok for outcome in result] == [False, True, False, True]
    assert {(type(failed.error), failed.kind) for failed in result.failures} == {
        (CallCancelledError, ErrorKind.CANCELLED)
    }
    assert isinstance(result.failures[0].error.__cause__, asyncio.CancelledError)


class Refusing:
    """A runner whose calls all fail without ever waiting, as those to an open circuit do."""

    def __init__(self) -> None:
        self.made = 0

    async def run(self, call: Call[Any]) -> Failure:
        self.made += 1
        return Failure(CircuitOpenError("refused"), key=call.key)


async def test_gather_yields_to_other_tasks() -> None:
    """Other tasks get their turns between calls that are refused on our side."""
    runner, seen = Refusing(), 0
    gathering = asyncio.create_task(gather(calls(1000), client=runner))
    while not gathering.done():
        await asyncio.sleep(0)
        seen += 1
    assert (runner.made, len(await gathering)) == (1000, 1000)
    assert seen >= 1000 / 20


async def test_gather_of_endless_iterable() -> None:
    """Past the deadline nothing more is drawn; what was drawn has its outcome, and a failure tells of the end."""
    drawn = 0

    def endless() -> Iterator[Call[Response]]:
        nonlocal drawn
        while True:
            yield Call.get("/", key=drawn)
            drawn += 1

    result = await soon(gather(endless(), client=Refusing(), timeout=0.05))
    assert 0 < len(result) <= drawn + 1
    assert [outcome.key for outcome in result] == list(range(len(result)))
    assert 1 <= len(result.by_kind()[ErrorKind.DEADLINE]) <= 20


async def test_gather_labels_rest_of_list() -> None:
    """A list is never cut short: what the deadline left over is labelled so, and costs no call."""
    runner = Refusing()
    with deadline(after=0):
        result = await soon(gather(calls(1000), client=runner))
    assert (len(result), runner.made) == (1000, 0)
    assert {(failed.kind, failed.attempts, failed.error.maybe_processed) for failed in result.failures} == {
        (ErrorKind.DEADLINE, 0, False)
    }


async def test_gather_starts_no_spare_workers() -> None:
    """However many calls may be in flight, a lazy iterable of three needs no thousand tasks."""
    most = 0

    class Counting(Refusing):
        async def run(self, call: Call[Any]) -> Failure:
            nonlocal most
            most = max(most, len(asyncio.all_tasks()))
            await asyncio.sleep(0)
            return await super().run(call)

    before = len(asyncio.all_tasks())
    assert len(await soon(gather(iter(calls(3)), client=Counting(), concurrency=1000))) == 3
    assert most - before <= 4 + 1  # one looks whether there is a fourth; soon() runs here


async def test_raise_for_failures_raises_all(server: FaultServer, api: APIClient) -> None:
    """As one group, in order, with a summary."""
    server.route("GET", "/1", faults.reply(404))
    server.route("GET", "/2", faults.reply(500))
    result = await soon(api.gather(calls(4)))
    with pytest.raises(ExceptionGroup, match="2 of 4 calls succeeded") as caught:
        result.raise_for_failures()
    assert list(caught.value.exceptions) == [failed.error for failed in result.failures]
    assert all(isinstance(error, APIError) for error in caught.value.exceptions)


@pytest.mark.parametrize(
    "limits",
    [
        {"concurrency": 0},
        {"concurrency": -1},
        {"concurrency": True},
        {"timeout": True},
        {"concurrency": 1.5},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"stop_on_failure": "no"},
    ],
    ids=str,
)
async def test_gather_invalid_limits(server: FaultServer, api: APIClient, limits: dict[str, Any]) -> None:
    """Before anything is sent, naming the limit."""
    with pytest.raises(InvalidRequestError, match=next(iter(limits))):
        await api.gather(calls(3), **limits)
    assert server.hits == 0


async def test_gather_of_non_calls_names_item(api: APIClient) -> None:
    """A path is no call."""
    wrong: Any = [Call.get("/"), "/users"]
    with pytest.raises(InvalidRequestError, match=r"item 1 .* is str"):
        await api.gather(wrong)


async def test_gather_iterable_error_is_raised(server: FaultServer, api: APIClient) -> None:
    """A bug in the caller's generator is the caller's, and cancels what is in flight."""
    server.script(faults.hang_before_headers())

    def broken() -> Iterator[Call[Response]]:
        yield Call.get("/")
        raise KeyError("a bug of the user's")

    with pytest.raises(KeyError):
        await soon(api.gather(broken()))
    assert in_use(api) == 0


async def test_gather_shares_pool_and_circuit(server: FaultServer) -> None:
    """It is the same client: its pool bounds the fan-out, too."""
    server.script(faults.reply(200, delay=0.002))
    async with client(server, connection=ConnectionSettings(pool_size=3)) as api:
        await soon(asyncio.gather(api.gather(calls(20)), api.gather(calls(20))))
    assert server.peak == 3


@pytest.mark.parametrize(
    ("calls", "options", "told"),
    [(Call.get("/"), {}, "calls is Call"), ([], {"timeout": "5"}, "timeout is '5'")],
)
async def test_fan_out_of_wrong_type_refused(
    server: FaultServer, calls: Any, options: dict[str, Any], told: str
) -> None:
    """One sentence, and nothing is sent."""
    async with client(server) as api:
        with pytest.raises(InvalidRequestError, match=told):
            await api.gather(calls, **options)
    assert server.hits == 0
