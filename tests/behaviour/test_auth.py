"""Authentication: one refresh for all callers that meet a 401, one resend each, no retry consumed, no secret shown.

The hit counter of the token endpoint is the oracle for refreshes, that of the API for what was sent with which token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

import pytest
from tests.behaviour.support import TIME_LIMIT, client, failure, soon

from resilient_client import (
    APIClient,
    APIKeyAuth,
    Auth,
    BearerAuth,
    Call,
    OAuth2ClientCredentials,
    Success,
    Token,
)
from resilient_client._core.events import Event, TokenRefreshed
from resilient_client._core.kinds import Stage
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client.testing._fault_server import FaultServer, refused_url
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.faults import hold, redirect, reply

CALLERS = 100


@pytest.fixture
async def issuer() -> AsyncIterator[FaultServer]:
    """A token endpoint, another server than the API: token-1, token-2 ... one for each request."""
    async with FaultServer() as issuer:

        async def issue(request: ReceivedRequest, wire: Wire) -> None:
            token = {"access_token": f"token-{issuer.hits}", "token_type": "Bearer", "expires_in": 3600}
            await reply(json=token)(request, wire)

        issuer.script(issue)
        yield issuer


class ThreadedIssuer:
    """A token endpoint in a thread, for tests with event loops of their own: 503, or 200 with an answer."""

    def __init__(self, answer: bytes = b"") -> None:
        self.requests = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                issuer.requests += 1
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def do_GET(self) -> None:
                self.send_response(200 if answer else 503)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is the base's
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(TIME_LIMIT)
        self._server.server_close()


def credentials(issuer: FaultServer | str, **options: Any) -> OAuth2ClientCredentials:
    """Return an ``Auth`` that gets its tokens from the issuer."""
    url = issuer if isinstance(issuer, str) else issuer.url
    return OAuth2ClientCredentials(f"{url}/token", "me", "canary-secret", **options)


def revoke_first_token(server: FaultServer) -> None:
    """Have the API answer 401 to token-1 once all callers have sent it, and 200 to any other token."""

    async def answer(request: ReceivedRequest, wire: Wire) -> None:
        refused = request.headers["Authorization"] == "Bearer token-1"
        if refused:
            await server.wait_for_hits(CALLERS)
        await reply(401 if refused else 200)(request, wire)

    server.script(answer)


def sent(server: FaultServer) -> list[str]:
    """The credentials that arrived, in order."""
    return [request.headers.get("Authorization", "") for request in server.requests]


async def test_hundred_401s_cause_one_refresh(server: FaultServer, issuer: FaultServer) -> None:
    """The endpoint issues two tokens, the refused one and its successor. Each call is sent twice."""
    revoke_first_token(server)
    async with client(server, auth=credentials(issuer)) as api:
        replies = await soon(asyncio.gather(*(api.get(f"/{number}") for number in range(CALLERS))))
    assert {response.status for response in replies} == {200}
    assert issuer.hits == 2
    assert sorted(sent(server)) == ["Bearer token-1"] * CALLERS + ["Bearer token-2"] * CALLERS
    assert sorted(request.path for request in server.requests) == sorted(2 * [f"/{n}" for n in range(CALLERS)])


async def test_without_single_flight_each_refreshes(server: FaultServer) -> None:
    """Negative control: a middleware that refreshes by itself for each caller gets a token for each."""
    refreshes, token = 0, "token-1"

    async def naive(request: Request, call_next: Handler) -> Response:
        nonlocal refreshes, token
        first, again = request.copy(), request.copy()
        first.headers["Authorization"] = f"Bearer {token}"
        response = await call_next(first)
        if response.status != 401:
            return response
        refreshes += 1
        token = f"token-{refreshes + 1}"
        again.headers["Authorization"] = f"Bearer {token}"
        return await call_next(again)

    revoke_first_token(server)
    async with client(server, attempt_middleware=[naive]) as api:
        await soon(asyncio.gather(*(api.get("/") for _ in range(CALLERS))))
    assert refreshes == CALLERS


async def test_resend_after_401_is_no_retry(server: FaultServer) -> None:
    """With ``retry=None`` a call is still sent again with fresh credentials, within its one attempt."""
    tokens = iter(["old", "new"])

    async def provide() -> str:
        return next(tokens)

    server.script(reply(401), reply(200))
    async with client(server, auth=BearerAuth(provide)) as api:
        response = await soon(api.get("/"))
    assert (response.attempts, response.history[0].reauthenticated, server.hits) == (1, True, 2)


async def test_second_401_is_returned(server: FaultServer, issuer: FaultServer) -> None:
    """Fresh credentials that are refused, too, end the matter: one refresh, two requests, no loop."""
    server.script(reply(401))
    async with client(server, auth=credentials(issuer)) as api:
        error = await failure(api.get("/"))
    assert getattr(error, "status", None) == 401
    assert (issuer.hits, server.hits) == (2, 2)


async def test_late_401_uses_renewed_token(server: FaultServer) -> None:
    """A token renewed because it ended is not thrown away when the old one's 401 arrives."""
    given: list[str] = []

    async def provide() -> Token:
        given.append(f"token-{len(given) + 1}")
        return Token(given[-1], expires_in=3600)

    late = hold(reply(401))
    server.script(late, reply(200))
    auth = BearerAuth(provide)
    async with client(server, auth=auth) as api:
        task = asyncio.create_task(api.get("/late"))
        await soon(server.wait_for_hits(1))
        auth._keeper._expires_at = 0.0  # its end has come, without waiting for it
        await soon(api.get("/next"))
        late.release()
        assert (await soon(task)).status == 200
    assert len(given) == 2
    assert sent(server) == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


async def test_late_401_uses_token_of_other_client(server: FaultServer, issuer: FaultServer) -> None:
    """Two clients that share an Auth share its refreshes, even when their 401s come one after the other."""
    early, late = hold(reply(401)), hold(reply(401))
    server.route("GET", "/early", early, reply(200))
    server.route("GET", "/late", late, reply(200))
    auth = credentials(issuer)
    async with client(server, auth=auth) as one, client(server, auth=auth) as other:
        first, second = asyncio.create_task(one.get("/early")), asyncio.create_task(other.get("/late"))
        await soon(server.wait_for_hits(2))
        early.release()
        await soon(first)
        late.release()
        assert (await soon(second)).status == 200
    assert issuer.hits == 2


async def test_early_refresh_delays_no_call(server: FaultServer, issuer: FaultServer) -> None:
    """No call waits for the early refresh, it is done once, and later calls carry its token."""
    auth = credentials(issuer)
    async with client(server, auth=auth) as api:
        await soon(api.get("/"))
        auth._keeper._refresh_at = 0.0  # the time of early refresh has come, without waiting for it
        answer = hold(reply(json={"access_token": "early", "token_type": "Bearer"}))
        issuer.script(answer)
        await soon(asyncio.gather(*(api.get("/") for _ in range(10))))
        await soon(issuer.wait_for_hits(2))
        renewal = auth._keeper._fetching._flight
        assert renewal is not None
        answer.release()
        await soon(asyncio.wait((renewal.task,)))
        await soon(api.get("/"))
    assert sent(server) == ["Bearer token-1"] * 11 + ["Bearer early"]
    assert issuer.hits == 2


@pytest.mark.virtual_time
async def test_unreachable_token_endpoint_is_named(server: FaultServer) -> None:
    """Without a token no request leaves for the API, and the error says whose fault that is."""
    down = refused_url()
    async with client(server, auth=credentials(down, timeout=0.3)) as api:
        error = await failure(api.get("/"))
    assert str(error).startswith(f"no token from {down.rstrip('/')}: ")
    assert (error.stage, error.maybe_processed, server.connections) == (Stage.LOCAL, False, 0)


async def outage(*apis: APIClient, calls: int = 100, pause: float = 0.1) -> None:
    """Make calls that all fail, by turns, with a pause after each."""
    for number in range(calls):
        await failure(apis[number % len(apis)].get("/"))
        await asyncio.sleep(pause)


@pytest.mark.virtual_time
@pytest.mark.parametrize("pause", [0.0, 0.1, 1.0])
async def test_token_endpoint_down_gets_no_flood(server: FaultServer, issuer: FaultServer, pause: float) -> None:
    """It gets no more requests than the same calls cause at an API that is down, and no request reaches the API."""
    issuer.script(reply(503))
    async with APIClient(server.url, auth=credentials(issuer)) as api:
        await outage(api, pause=pause)
    assert server.hits == 0
    server.script(reply(503))
    async with APIClient(server.url) as api:
        await outage(api, pause=pause)
    assert 3 <= issuer.hits <= server.hits < 100


@pytest.mark.virtual_time
async def test_client_per_fetch_floods_endpoint(issuer: FaultServer) -> None:
    """Negative control: a new client for each fetch has neither a circuit nor a budget that remembers anything."""
    issuer.script(reply(503))
    for _ in range(10):
        async with APIClient(issuer.url) as api:
            await outage(api, calls=1)
    assert issuer.hits == 30


@pytest.mark.virtual_time
async def test_clients_share_circuit_of_token_endpoint(server: FaultServer, issuer: FaultServer) -> None:
    """Clients with the same Auth cause no more token requests than one client, whether they come or stay."""
    issuer.script(reply(503))
    auth = credentials(issuer)
    async with APIClient(server.url, auth=auth) as one, APIClient(server.url, auth=auth) as other:
        await outage(one, other, calls=50)
    for _ in range(10):
        async with APIClient(server.url, auth=auth) as api:
            await outage(api, calls=5)
    assert issuer.hits <= 13


@pytest.mark.virtual_time
async def test_token_endpoint_recovers_within_seconds(server: FaultServer, issuer: FaultServer) -> None:
    """After an outage the first token is there as soon as the circuit admits a request: within 2 s."""
    issuer.script(reply(503))
    async with APIClient(server.url, auth=credentials(issuer)) as api:
        await outage(api)
        issuer.script(reply(json={"access_token": "token", "token_type": "Bearer"}))
        outcomes = []
        for _ in range(20):
            outcomes.append(await soon(api.run(Call.get("/"))))
            await asyncio.sleep(0.1)
    assert isinstance(outcomes[-1], Success)
    assert set(sent(server)) == {"Bearer token"}


@pytest.mark.virtual_time
async def test_wrong_secret_is_sent_once_a_second(server: FaultServer, issuer: FaultServer) -> None:
    """A refused secret is not repeated by each call, which would lock the account or look like an attack."""
    issuer.script(reply(401, json={"error": "invalid_client"}))
    async with APIClient(server.url, auth=credentials(issuer)) as api:
        await outage(api, calls=1)
        error = await failure(api.get("/"))
        assert issuer.hits == 1
        await outage(api, calls=90)
    assert "status 401, error 'invalid_client'; no other token is requested for 0.9" in str(error)
    assert 9 <= issuer.hits <= 10


@pytest.mark.one_loop
def test_auth_remembers_outage_over_loops() -> None:
    """A program that runs each job with ``asyncio.run`` spares the token endpoint, too, and leaves no connection."""
    upstream = ThreadedIssuer()
    auth = credentials(upstream.url)

    async def job() -> None:
        async with APIClient(upstream.url, auth=auth) as api:
            auth._keeper._failure = None  # its second is over, without waiting for it
            await failure(api.get("/"))

    with upstream:
        for _ in range(10):
            asyncio.run(job())
    assert upstream.requests == 5


@pytest.mark.one_loop
def test_auth_serves_loops_at_the_same_time() -> None:
    """Loops in several threads may share one Auth. Each gets its token, and nothing belongs to another loop."""
    upstream = ThreadedIssuer(b'{"access_token": "token", "token_type": "Bearer"}')
    auth = credentials(upstream.url)
    statuses: list[int] = []

    async def job() -> None:
        async with APIClient(upstream.url, auth=auth) as api:
            statuses.extend(response.status for response in await asyncio.gather(api.get("/"), api.get("/")))

    with upstream:
        threads = [Thread(target=asyncio.run, args=(job(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIME_LIMIT)
    assert statuses == [200] * 8


@pytest.mark.virtual_time
async def test_slow_provider_keeps_deadline(server: FaultServer) -> None:
    """A call ends at its deadline, however long the cancelled provider needs to clean up."""
    cleanup = asyncio.Event()

    async def provide() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await cleanup.wait()
        return ""

    async with client(server, auth=BearerAuth(provide), timeout=0.1) as api:
        error = await failure(api.get("/"))
        cleanup.set()
    assert isinstance(error, TimeoutError)
    assert error.elapsed < 0.5


@pytest.mark.parametrize(
    "auth",
    [
        BearerAuth("canary"),
        APIKeyAuth("canary"),
        APIKeyAuth("canary", name="key", location="query"),
    ],
    ids=["bearer", "key header", "key query"],
)
async def test_refused_credentials_stay_hidden(
    server: FaultServer, auth: Auth, caplog: pytest.LogCaptureFixture
) -> None:
    """A 401 is reported in an error, in events and in the log, none of which shows the credentials."""
    caplog.set_level(logging.DEBUG)
    server.script(reply(401))
    events: list[Event] = []
    async with client(server, auth=auth) as api:
        api.subscribe(events.append)
        error = await failure(api.get("/"))
        texts = [repr(api), repr(auth), str(error), repr(error), repr(error.request), repr(error.history)]
    assert [event for event in events if isinstance(event, TokenRefreshed)]
    assert "canary" in server.requests[0].target + str(server.requests[0].headers)
    assert "canary" not in "".join([*texts, *map(repr, events), caplog.text])


@pytest.mark.parametrize("auth", [BearerAuth("canary"), APIKeyAuth("canary")], ids=["bearer", "key"])
async def test_redirect_drops_credentials(server: FaultServer, auth: Auth) -> None:
    """Credentials belong to one origin, and the 401 of another origin does not ask for them."""
    async with FaultServer() as elsewhere, APIClient(server.url, auth=auth, retry=None, follow_redirects="any") as api:
        elsewhere.script(reply(401))
        server.script(redirect(f"{elsewhere.url}/"))
        await failure(api.get("/"))
        assert "canary" in str(server.requests[0].headers)
        assert "canary" not in elsewhere.requests[0].target + str(elsewhere.requests[0].headers)
        assert (server.hits, elsewhere.hits) == (1, 1)
