"""A deadline is one absolute end over everything that a call does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.behaviour.support import cancelled, client, ends_after, failure, soon, stuck_in, with_server

from resilient_client import (
    APIClient,
    APIError,
    APITimeoutError,
    BearerAuth,
    Call,
    ConnectionSettings,
    DeadlineExceededError,
    ErrorKind,
    Failure,
    Handler,
    InternalServerError,
    InvalidRequestError,
    Request,
    Response,
    Retry,
    Stage,
    Timeout,
    deadline,
)
from resilient_client.testing._fault_server import FaultServer, black_hole
from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing._wire import Step
from resilient_client.testing.faults import (
    drip,
    drop,
    endless_body,
    hang_before_headers,
    hang_in_body,
    hang_in_headers,
    hold,
    redirect,
    reply,
)

pytestmark = pytest.mark.usefixtures("both_paths")

END = 0.2
"""The deadline of most calls here, in seconds: short, so that the suite is."""
EAGER = Retry(max_attempts=3, backoff=lambda _: 0.0)
"""Retries at once."""


async def never(*_: object) -> Any:
    """Wait for ever."""
    await asyncio.Event().wait()


# --- wherever the call stands ---


@pytest.mark.virtual_time
async def test_deadline_cuts_dripping_body(server: FaultServer) -> None:
    """A 0.5 s deadline ends at 0.5 s although the body goes on for 2 s, and each byte comes in time."""
    server.script(drip(bytes(20), interval=0.1))
    async with client(server, timeout=0.5) as api:
        with ends_after(0.5):
            error = await failure(api.get("/"))
    assert isinstance(error, DeadlineExceededError)
    assert (error.kind, error.stage, error.maybe_processed, error.attempts) == (ErrorKind.DEADLINE, Stage.BODY, True, 1)


def test_deadline_cuts_dripping_stream() -> None:
    """The deadline covers a body that the caller reads piece by piece, and what came before is read."""

    async def scenario(server: FaultServer) -> None:
        server.script(drip(bytes(20), interval=0.1))
        read = bytearray()
        began = asyncio.get_running_loop().time()
        async with client(server, timeout=0.55) as api:
            with pytest.raises(DeadlineExceededError) as caught:
                async with api.stream("GET", "/") as reply:
                    async for piece in reply.iter_bytes():
                        read += piece
        assert asyncio.get_running_loop().time() - began == pytest.approx(0.55, abs=0.01)
        assert (caught.value.stage, len(read)) == (Stage.BODY, 5)

    with_server(scenario)


@pytest.mark.parametrize(
    ("step", "stage"),
    [
        (hang_before_headers(), Stage.HEADERS),
        (hang_in_headers(), Stage.HEADERS),
        (hang_in_body(), Stage.BODY),
    ],
)
async def test_deadline_names_the_stage(server: FaultServer, step: Step, stage: Stage) -> None:
    """A silent server, or one that sends endlessly, holds no call past its deadline."""
    server.script(step)
    async with client(server, retry=EAGER) as api:

        async def call(limit: float) -> APIError:
            with ends_after(limit):
                return await failure(api.get("/", timeout=limit))

        error = await stuck_in(stage, call)
    assert (error.kind, error.stage, error.attempts) == (ErrorKind.DEADLINE, stage, 1)


async def test_deadline_ends_fast_stream(server: FaultServer) -> None:
    """A reader that never has to wait is stopped all the same."""
    server.script(endless_body())
    async with client(server, timeout=END) as api:
        with ends_after(END), pytest.raises(DeadlineExceededError):
            async with api.stream("GET", "/") as answer:
                async for _ in answer.iter_bytes():
                    pass


@pytest.mark.virtual_time
async def test_deadline_passed_between_reads(
    server: FaultServer,
) -> None:
    """What has arrived meanwhile is not handed out after the end."""
    server.script(reply(body=bytes(200_000)))
    async with client(server, timeout=END) as api, api.stream("GET", "/") as answer:
        pieces = answer.iter_bytes()
        assert await anext(pieces)
        await asyncio.sleep(END)  # the caller's own work
        with pytest.raises(DeadlineExceededError):
            await anext(pieces)


async def test_deadline_in_stage_pool(server: FaultServer) -> None:
    """Waiting for a connection of our own is inside the deadline, and nothing was sent."""
    gate = hold()
    server.script(gate)
    async with client(server, connection=ConnectionSettings(pool_size=1)) as api:
        busy = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(1))
        with ends_after(END):
            error = await failure(api.get("/", timeout=END))
        assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.DEADLINE, Stage.POOL, False)
        gate.release()
        assert (await soon(busy)).status == 200
    assert server.hits == 1


async def test_deadline_in_stage_connect() -> None:
    """A host that ignores the handshake holds no call past its deadline, and has not processed it."""
    with black_hole(connects=False) as url:
        async with client(url, timeout=END, retry=EAGER) as api:
            with ends_after(END):
                error = await failure(api.get("/"))
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.DEADLINE, Stage.CONNECT, False)


@pytest.mark.parametrize("scope", ["middleware", "attempt_middleware"])
@pytest.mark.virtual_time
async def test_deadline_in_a_middleware(server: FaultServer, scope: str) -> None:
    """Middleware of the user's own is inside the deadline, in both scopes."""
    async with APIClient(server.url, timeout=END, **{scope: [never]}) as api:  # type: ignore[arg-type]  # by name
        with ends_after(END):
            error = await failure(api.get("/"))
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.DEADLINE, Stage.LOCAL, False)
    assert server.hits == 0


class _HangingAuth:
    def __init__(self, *, applies: bool) -> None:
        self._applies = applies

    async def apply(self, request: Request) -> None:
        await asyncio.sleep(0) if self._applies else await never()

    async def refresh(self, rejected: Response) -> bool:
        await never()
        return True


@pytest.mark.parametrize(
    ("auth", "hits"),
    [(_HangingAuth(applies=False), 0), (_HangingAuth(applies=True), 1), (BearerAuth(never), 0)],
    ids=["apply", "refresh", "provider"],
)
@pytest.mark.virtual_time
async def test_deadline_in_authentication(server: FaultServer, auth: Any, hits: int) -> None:
    """Getting credentials, first or fresh ones, is inside the deadline."""
    server.script(reply(401))
    async with client(server, auth=auth, timeout=END) as api:
        with ends_after(END):
            error = await failure(api.get("/"))
    assert (error.kind, error.stage, server.hits) == (ErrorKind.DEADLINE, Stage.LOCAL, hits)


@pytest.mark.virtual_time
async def test_deadline_covers_redirect_hops(server: FaultServer) -> None:
    """A hop gets no time of its own."""
    server.route("GET", "/", redirect("/slow"))
    server.route("GET", "/slow", hang_before_headers())
    async with client(server, timeout=END) as api:
        with ends_after(END):
            error = await failure(api.get("/"))
    assert (error.kind, server.hits, error.attempts) == (ErrorKind.DEADLINE, 2, 1)


@pytest.mark.virtual_time
async def test_no_deadline_reads_dripping_body(server: FaultServer) -> None:
    """The control: without a deadline the same call takes as long as the server likes."""
    server.script(drip(bytes(4), interval=0.1))
    async with client(server, timeout=None) as api:
        with ends_after(0.4):
            assert len((await api.get("/")).content) == 4


# --- attempts and sleeps inside it ---


def test_attempt_limit_or_rest_of_deadline() -> None:
    """Of 0.5 s, the first attempt takes its 0.3 s and the second the rest."""

    async def scenario(server: FaultServer) -> None:
        server.script(hang_before_headers())
        async with client(server, timeout=Timeout(total=0.5, attempt=0.3, connect=None), retry=EAGER) as api:
            error = await failure(api.get("/"))
        assert [record.kind for record in error.history] == [ErrorKind.TIMEOUT, ErrorKind.DEADLINE]
        assert [record.elapsed for record in error.history] == pytest.approx([0.3, 0.2], abs=0.01)
        assert server.hits == 2

    with_server(scenario)


@pytest.mark.virtual_time
async def test_backoff_beyond_deadline_not_started(server: FaultServer) -> None:
    """The last real error is raised at once, and says why there was no further attempt."""
    server.script(drop())
    async with client(server, timeout=5, retry=Retry(backoff=lambda _: 60.0)) as api:
        with ends_after(0):
            error = await failure(api.get("/"))
    assert (error.kind, server.hits) == (ErrorKind.DISCONNECTED, 1)
    assert "does not fit" in str(error)


@pytest.mark.virtual_time
async def test_backoff_beyond_callers_deadline(server: FaultServer) -> None:
    """A sleep that fits the call's own timeout but not the deadline around it is not started either."""
    server.script(reply(503))
    async with client(server, timeout=60, retry=Retry(backoff=lambda _: 10.0)) as api:
        with ends_after(0), deadline(after=5), pytest.raises(InternalServerError):
            await api.get("/")
    assert server.hits == 1


@pytest.mark.parametrize("body", ["buffered", "streamed"])
async def test_passed_deadline_sends_nothing(server: FaultServer, body: str) -> None:
    """No connection is opened for a call whose deadline has passed."""
    async with client(server) as api:
        with deadline(after=0), pytest.raises(DeadlineExceededError) as caught:
            if body == "buffered":
                await api.get("/")
            else:
                await api.stream("GET", "/").__aenter__()
    assert (server.hits, server.connections, caught.value.attempts) == (0, 0, 0)
    assert caught.value.maybe_processed is False


@pytest.mark.parametrize("value", [0, -1, float("nan"), "soon"])
@pytest.mark.one_loop
@pytest.mark.one_path
async def test_invalid_timeout_refused(server: FaultServer, value: Any) -> None:
    """A wrong timeout is a wrong call, and nothing is sent."""
    async with client(server) as api:
        with pytest.raises(InvalidRequestError, match="timeout"):
            await api.get("/", timeout=value)
    assert server.connections == 0


# --- nested and shared ---


@pytest.mark.parametrize(("outer", "inner"), [(END, 10), (10, END)])
@pytest.mark.virtual_time
async def test_nested_deadlines_take_the_earliest(server: FaultServer, outer: float, inner: float) -> None:
    """No inner deadline extends an outer one."""
    server.script(hang_before_headers())
    async with client(server, timeout=20) as api:
        with ends_after(END), deadline(after=outer), deadline(after=inner):
            error = await failure(api.get("/"))
    assert error.kind is ErrorKind.DEADLINE


@pytest.mark.virtual_time
async def test_deadline_around_unlimited_call(server: FaultServer) -> None:
    """``timeout=None`` takes away the call's own limits, not those of the code around it."""
    server.script(hang_before_headers())
    async with client(server, timeout=None) as api:
        with ends_after(END), deadline(after=END):
            error = await failure(api.get("/"))
    assert error.kind is ErrorKind.DEADLINE


@pytest.mark.virtual_time
async def test_deadline_reaches_child_tasks(server: FaultServer) -> None:
    """Every call of every task inside shares the one deadline, and none outside does."""
    server.script(hang_before_headers())
    async with client(server, timeout=20) as api:
        outside = asyncio.create_task(api.get("/"))
        with ends_after(END), deadline(after=END):
            outcomes = [asyncio.create_task(api.run(Call.get("/"))) for _ in range(3)]
            done = await soon(asyncio.gather(*outcomes))
        assert [outcome.kind for outcome in done if isinstance(outcome, Failure)] == [ErrorKind.DEADLINE] * 3
        assert not outside.done()
        await cancelled([outside])


# --- exactly, in virtual time ---


def _virtual(main: Callable[[], Awaitable[object]]) -> float:
    async def timed() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await main()
        return loop.time() - began

    return run_virtual(timed())


@pytest.fixture
def closed_host() -> Iterator[str]:
    """The URL of a host that never completes the handshake."""
    with black_hole(connects=False) as url:
        yield url


def test_connect_limit_is_not_rounded_up(closed_host: str) -> None:
    """Aiohttp rounds timeouts above 5 s up to whole seconds. Ours are exact."""

    async def main() -> None:
        async with client(closed_host, timeout=Timeout(total=60, attempt=50, connect=7.25)) as api:
            with pytest.raises(APITimeoutError) as caught:
                await api.get("/")
            assert (caught.value.kind, caught.value.stage) == (ErrorKind.TIMEOUT, Stage.CONNECT)

    assert _virtual(main) == pytest.approx(7.25, abs=0.01)


@pytest.mark.parametrize(
    ("timeout", "kind", "end"),
    [
        (Timeout(total=60, attempt=50, idle=7.25), ErrorKind.TIMEOUT, 7.25),
        (Timeout(total=60, attempt=17.75), ErrorKind.TIMEOUT, 17.75),
        (Timeout(total=6.75), ErrorKind.DEADLINE, 6.75),
    ],
)
def test_limits_are_not_rounded_up(timeout: Timeout, kind: ErrorKind, end: float) -> None:
    """Idle, attempt and total limits end to the millisecond, however long they are."""

    async def main() -> None:
        async with FaultServer() as server:
            server.script(hang_before_headers())
            async with client(server, timeout=timeout) as api:
                with pytest.raises(APITimeoutError) as caught:
                    await api.get("/")
                assert caught.value.kind is kind

    assert _virtual(main) == pytest.approx(end, abs=0.01)


@pytest.mark.virtual_time
async def test_postponed_timeout_fires_once(server: FaultServer) -> None:
    """A timeout that was postponed twice fires once, as an error and never as a cancellation."""
    holds = [hold(reply(503)), hold(reply(503))]
    server.script(*holds, hang_before_headers())
    async with client(server, timeout=Timeout(total=5, attempt=0.3), retry=Retry(backoff=lambda _: 0.01)) as api:
        call = asyncio.create_task(api.get("/"))
        for number, held in enumerate(holds, 1):
            await server.wait_for_hits(number)
            asyncio.get_running_loop().call_later(0.2, held.release)
        error = await failure(call)
    assert (error.kind, error.attempts, call.cancelling()) == (ErrorKind.TIMEOUT, 3, 0)


@pytest.mark.virtual_time
async def test_attempt_in_other_task_ends_in_time(server: FaultServer) -> None:
    """A middleware that runs the rest in a task of its own does not take the attempts out of their limits."""
    server.script(hang_before_headers())

    async def elsewhere(request: Request, call_next: Handler) -> Response:
        async def rest() -> Response:
            return await call_next(request)

        return await asyncio.wait_for(rest(), 5)

    limits = Timeout(total=5, attempt=0.1)
    async with client(server, timeout=limits, middleware=[elsewhere], retry=EAGER, retry_budget=None) as api:
        with ends_after(0.3):
            error = await failure(api.get("/"))
    assert [record.kind for record in error.history] == [ErrorKind.TIMEOUT] * 3
