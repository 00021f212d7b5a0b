"""One attempt is one request on the wire, and a reply is returned whole or not at all."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.behaviour.support import TIME_LIMIT, client, failure, soon

from resilient_client import (
    APIClient,
    APIConnectionError,
    APIStatusError,
    BadRequestError,
    BearerAuth,
    Call,
    CircuitBreaker,
    CircuitState,
    ClientClosedError,
    ConnectionSettings,
    ErrorKind,
    RedirectError,
    ResponseTooLargeError,
    Retry,
    Stage,
)
from resilient_client._transport import hooks, transport
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import ReceivedRequest, Step, Wire
from resilient_client.testing.faults import (
    bad_chunk,
    bomb,
    close_idle,
    corrupt_gzip,
    drop,
    echo,
    endless_redirect,
    garbage,
    redirect,
    reply,
    reset,
    truncated_coding,
    wrong_length,
)

pytestmark = pytest.mark.usefixtures("both_paths")

EAGER = Retry(max_attempts=3, backoff=lambda _: 0.0)
"""Three attempts, no pause."""


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session of the caller's own."""
    async with aiohttp.ClientSession() as session:
        yield session


# --- no hidden resend ---


@pytest.mark.parametrize("owner", ["ours", "theirs"])
@pytest.mark.parametrize("fault", [drop(), reset()], ids=str)
async def test_three_attempts_are_three_requests(
    server: FaultServer, session: aiohttp.ClientSession, owner: str, fault: Step
) -> None:
    """Aiohttp's own resend of a lost request is off, in our session and in a caller's."""
    server.script(fault)
    async with APIClient(server.url, retry=EAGER, session=session if owner == "theirs" else None) as api:
        error = await failure(api.get("/"))
    assert (server.hits, error.attempts) == (3, 3)


async def test_bare_aiohttp_sends_six_requests(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """The control, and the reason: a loop of three around aiohttp reaches the server six times."""
    server.script(drop())
    for _ in range(3):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(server.url)
    assert server.hits == 6


@pytest.mark.parametrize("owner", ["ours", "theirs"])
async def test_stale_connection_without_retry(server: FaultServer, session: aiohttp.ClientSession, owner: str) -> None:
    """``retry=None``: the request on the stale connection is the only one, in any session."""
    server.script(close_idle("request"))
    async with client(server, session=session if owner == "theirs" else None) as api:
        await api.get("/")
        error = await failure(api.get("/"))
    assert (error.kind, server.hits) == (ErrorKind.DISCONNECTED, 2)


# --- a caller's own session ---


async def _count(seen: list[str], request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> Any:
    seen.append(request.url.path)
    request.headers["X-Middleware"] = "ran"
    return await handler(request)


def counting(seen: list[str]) -> aiohttp.ClientMiddlewareType:
    """A middleware in aiohttp's sense, which sees each wire request."""
    return lambda request, handler: _count(seen, request, handler)


async def test_session_middlewares_run_per_request(server: FaultServer) -> None:
    """Our guard is added before the session's middlewares and does not replace them."""
    seen: list[str] = []
    server.script(drop(), echo())
    async with (
        aiohttp.ClientSession(middlewares=[counting(seen)]) as session,
        APIClient(server.url, retry=EAGER, session=session) as api,
    ):
        response = await soon(api.get("/a"))
    assert seen == ["/a", "/a"]
    assert response.json()["headers"]["x-middleware"] == "ran"
    assert server.hits == 2


async def test_aiohttp_middlewares_setting(server: FaultServer) -> None:
    """``ConnectionSettings(aiohttp_middlewares=...)`` runs once a wire request, redirect hops included."""
    seen: list[str] = []
    server.route("GET", "/a", redirect("/b"))
    server.route("GET", "/b", drop(), echo())
    async with APIClient(
        server.url, retry=EAGER, connection=ConnectionSettings(aiohttp_middlewares=(counting(seen),))
    ) as api:
        response = await soon(api.get("/a"))
    assert seen == ["/a", "/b", "/a", "/b"]
    assert response.json()["headers"]["x-middleware"] == "ran"
    assert server.hits == 4


async def test_callers_session_stays_open(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """The session is closed by its owner, after failures too."""
    server.script(reply(), drop(), reply())
    async with client(server, session=session) as api:
        await api.get("/")
        await failure(api.get("/"))
    assert not session.closed
    async with session.get(server.url) as answer:
        assert answer.status == 200


async def test_closed_callers_session_is_named(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """A closed session is reported by an error of the library, not of aiohttp."""
    async with client(server, session=session) as api:
        await session.close()
        with pytest.raises(ClientClosedError):
            await api.get("/")


@pytest.mark.virtual_time
async def test_session_settings_do_not_override(server: FaultServer) -> None:
    """Its ``raise_for_status``, decompression and total timeout do not reach into our attempts."""
    server.script(reply(404, text="no", coding="gzip"), reply(text="yes", coding="gzip", delay=0.1))
    timeout = aiohttp.ClientTimeout(total=0.01)
    async with (
        aiohttp.ClientSession(raise_for_status=True, timeout=timeout) as session,
        client(server, session=session) as api,
    ):
        error = await failure(api.get("/"))
        assert isinstance(error, APIStatusError)
        assert (error.status, error.response.text) == (404, "no")
        assert (await soon(api.get("/"))).text == "yes"


# --- redirects and the resend after a 401 ---


async def test_redirect_hops_are_recorded(server: FaultServer) -> None:
    """Two hops are three requests and one attempt, and the record names the hops without their queries."""
    server.route("GET", "/a", redirect("/b?token=canary"))
    server.route("GET", "/b", redirect("/c", 307))
    async with client(server) as api:
        response = await api.get("/a")
    assert [request.path for request in server.requests] == ["/a", "/b", "/c"]
    assert response.attempts == 1
    assert response.history[0].redirects == (f"{server.url}/b", f"{server.url}/c")


async def test_resend_after_401_is_recorded(server: FaultServer) -> None:
    """A resend with a fresh token is not a retry."""
    tokens = iter(["old", "new"])

    async def provide() -> str:
        return next(tokens)

    server.script(reply(401), reply())
    async with client(server, auth=BearerAuth(provide)) as api:
        response = await api.get("/")
    assert [request.headers["Authorization"] for request in server.requests] == ["Bearer old", "Bearer new"]
    assert (response.attempts, response.history[0].reauthenticated) == (1, True)


@pytest.mark.one_loop
async def test_redirect_to_other_origin_refused(server: FaultServer) -> None:
    """By default no redirect leaves the origin, and the error holds the redirect."""
    async with FaultServer() as other:
        server.script(redirect(f"{other.url}/x"))
        async with client(server) as api:
            error = await failure(api.get("/"))
        assert (other.hits, other.connections, server.hits) == (0, 0, 1)
    assert isinstance(error, RedirectError)
    assert error.response is not None
    assert error.response.status == 302


@pytest.mark.one_loop
async def test_redirect_abroad_carries_no_secret(server: FaultServer) -> None:
    """With ``"any"``: no credentials, keys, cookies or headers of the caller's own cross an origin."""
    async with FaultServer() as other:
        server.script(redirect(f"{other.url}/x", 307))
        other.script(echo())
        secrets = {"X-Api-Key": "canary", "Cookie": "a=canary", "X-Anything": "canary"}
        async with client(server, follow_redirects="any", auth=BearerAuth("canary")) as api:
            response = await api.get("/", headers=secrets, idempotency_key="canary")
    assert "canary" not in str(response.json())
    assert "canary" in str(server.requests[0].headers)


@pytest.mark.one_loop
async def test_redirect_abroad_carries_no_body(server: FaultServer) -> None:
    """A 307 asks to repeat the body, which is not sent to another origin."""
    async with FaultServer() as other:
        server.script(redirect(f"{other.url}/x", 307))
        async with client(server, follow_redirects="any") as api:
            error = await failure(api.put("/", json={"secret": "canary"}))
        assert other.connections == 0
    assert error.kind is ErrorKind.REDIRECT


@pytest.mark.one_loop
async def test_endless_redirect_ends(server: FaultServer) -> None:
    """Hops are bounded, and running in a circle is not retried."""
    server.script(endless_redirect())
    async with APIClient(server.url, retry=EAGER) as api:
        error = await failure(api.get("/"))
    assert (error.kind, error.attempts, server.hits) == (ErrorKind.REDIRECT, 1, 6)


@pytest.mark.one_loop
async def test_redirects_off_are_returned(server: FaultServer) -> None:
    """``follow_redirects=None``: a redirect is an answer."""
    server.script(redirect("/b"))
    async with client(server, follow_redirects=None) as api:
        response = await api.get("/")
    assert (response.status, response.headers["Location"], server.hits) == (302, "/b", 1)


# --- codings ---


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_coded_body_is_decoded(server: FaultServer, coding: Any) -> None:
    """Negative control for the tests of broken codings."""
    server.script(reply(text="hello " * 5000, coding=coding))
    async with client(server) as api:
        assert (await api.get("/")).text == "hello " * 5000


@pytest.mark.parametrize("read", ["buffered", "streamed"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_truncated_coded_body_is_a_disconnect(server: FaultServer, coding: Any, read: str) -> None:
    """HTTP's framing is whole, the compressed stream is not: never a short 200."""
    server.script(truncated_coding(coding))
    async with client(server) as api:
        error = await failure(api.get("/") if read == "buffered" else _streamed(api))
    assert type(error) is APIConnectionError
    assert (error.kind, error.stage, error.retryable) == (ErrorKind.DISCONNECTED, Stage.BODY, True)


async def _streamed(api: APIClient) -> bytes:
    async with api.stream("GET", "/") as answer:
        return await answer.read()


@pytest.mark.parametrize(
    "fault",
    [
        corrupt_gzip(),
        reply(body=b"plain text", headers={"Content-Encoding": "gzip"}),
        reply(body=b"x", headers={"Content-Encoding": ", ".join(["gzip"] * 6)}),
        reply(body=b"x", headers=[("Content-Encoding", "gzip")] * 6),
    ],
    ids=["corrupt", "not gzip", "six in one", "six in a row"],
)
async def test_undecodable_body_is_a_protocol_error(server: FaultServer, fault: Step) -> None:
    """A coding that is broken or stacked too high is reported as the server's fault."""
    server.script(fault)
    async with client(server) as api:
        error = await failure(api.get("/"))
    assert type(error) is APIConnectionError
    assert (error.kind, error.stage) == (ErrorKind.PROTOCOL, Stage.BODY)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_decompression_bomb_is_too_large(server: FaultServer, coding: Any) -> None:
    """256 MB in a small reply end at the limit, with memory of the order of the limit."""
    server.script(bomb(256 << 20, coding))
    limit = 1 << 20
    async with client(server, connection=ConnectionSettings(max_response_size=limit)) as api:
        tracemalloc.start()
        try:
            error = await failure(api.get("/"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(error, ResponseTooLargeError)
    assert (error.kind, error.retryable) == (ErrorKind.TOO_LARGE, False)
    assert peak < 16 * limit


async def test_plain_body_above_limit_is_too_large(server: FaultServer) -> None:
    """The limit holds without a coding, too, and another attempt would meet the same body."""
    server.script(reply(body=bytes(1001)))
    settings = ConnectionSettings(max_response_size=1000)
    async with APIClient(server.url, retry=EAGER, connection=settings) as api:
        error = await failure(api.get("/"))
        server.script(reply(body=bytes(1000)))
        assert len((await api.get("/")).content) == 1000
    assert (error.kind, error.attempts, server.hits) == (ErrorKind.TOO_LARGE, 1, 2)


# --- not HTTP ---


@pytest.mark.parametrize(
    "fault",
    [
        garbage(),
        garbage(b"<html>hello</html>"),
        garbage(b"HTTP/1.1 99999 X\r\n\r\n"),
        garbage(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        garbage(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
        bad_chunk(),
    ],
    ids=["smtp", "html", "status", "two lengths", "negative", "chunk"],
)
async def test_non_http_reply_is_a_protocol_error(server: FaultServer, fault: Step) -> None:
    """Aiohttp calls it a 400. It is not a reply, may be retried and counts against the upstream."""
    server.script(fault)
    async with client(server, circuit_breaker=CircuitBreaker(minimum_calls=1)) as api:
        error = await failure(api.get("/"))
        assert [circuit.state for circuit in api.circuits.values()] == [CircuitState.OPEN]
    assert type(error) is APIConnectionError
    assert (error.kind, error.retryable) == (ErrorKind.PROTOCOL, True)
    assert not hasattr(error, "status")


async def test_real_400_is_a_400(server: FaultServer) -> None:
    """The control: an answer of the server's own."""
    server.script(reply(400))
    async with client(server) as api:
        assert type(await failure(api.get("/"))) is BadRequestError


async def test_broken_reply_ends_the_connection(server: FaultServer) -> None:
    """What is left of a reply that was too long never passes for the next one."""
    server.script(wrong_length(), reply(text="mine"))
    async with client(server) as api:
        await api.run(Call.get("/"))
        await asyncio.sleep(0)
        assert (await api.get("/")).text == "mine"
    assert server.connections == 2


async def extra_reply_arrived(api: APIClient) -> None:
    """Wait until the only idle connection has received it. On the direct path that is the end of the connection."""
    transport: Any = api._runtime.transport  # who is idle shows nowhere else
    async with asyncio.timeout(TIME_LIMIT):
        while transport._direct_path is not None and len(transport._direct_path._idle):
            await asyncio.sleep(0)
        while transport._session is not None and not len(
            next(iter(transport._session.connector._conns.values()))[0][0]
        ):
            await asyncio.sleep(0)


async def answer_after_an_extra_reply(server: FaultServer) -> str:
    """Return the reply to a second request on a connection with an unsolicited reply."""
    asked_for_none = asyncio.Event()

    async def one_too_many(_request: ReceivedRequest, wire: Wire) -> None:
        await wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
        await asked_for_none.wait()
        await wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nextra")

    server.script(one_too_many, reply(text="second"))
    async with client(server, retry=EAGER) as api:
        assert (await api.get("/")).text == "first"
        asked_for_none.set()
        await extra_reply_arrived(api)
        return (await api.get("/")).text


async def test_unsolicited_reply_is_discarded(server: FaultServer) -> None:
    """A late extra reply on an idle connection would shift all answers by one, from one user to the next."""
    assert await answer_after_an_extra_reply(server) == "second"


@pytest.mark.one_path
async def test_unsolicited_reply_control(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: aiohttp takes what is in its buffer."""
    monkeypatch.setattr(transport, "needs_session", lambda _settings: "this test")
    monkeypatch.setattr(hooks, "has_unasked_data", lambda _connection: False)
    assert await answer_after_an_extra_reply(server) == "extra"
