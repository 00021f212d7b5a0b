"""The two paths to a server: which one is taken, and that the server sees no difference."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import aiohttp
import pytest
from aiohttp import web
from aioresponses import aioresponses
from tests.behaviour.support import failure

from resilient_client import APIClient, ConnectionSettings, ErrorKind, Timeout
from resilient_client._transport import transport
from resilient_client._transport.session_path import SessionPath
from resilient_client.testing._aioresponses_compat import install_aioresponses_compat
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.faults import reply

Use = Callable[[APIClient], Awaitable[object]]


@pytest.fixture
def session_requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests that went through a session."""
    taken: list[str] = []
    send = SessionPath.send

    async def noting(self: SessionPath, request: Any, *others: Any) -> aiohttp.ClientResponse:
        taken.append(request.url.path)
        return await send(self, request, *others)

    monkeypatch.setattr(SessionPath, "send", noting)
    return taken


USES: dict[str, Use] = {
    "get": lambda api: api.get("/a/b?q=1&r=%20"),
    "get with headers": lambda api: api.get("/", headers=[("X-One", "1"), ("X-One", "2"), ("Accept", "text/plain")]),
    "head": lambda api: api.head("/"),
    "options": lambda api: api.options("/"),
    "delete": lambda api: api.delete("/"),
    "post nothing": lambda api: api.post("/"),
    "post an empty body": lambda api: api.post("/", content=b""),
    "post json": lambda api: api.post("/", json={"a": 1}),
    "put bytes": lambda api: api.put("/", content=bytes(60_000)),
    "patch a form": lambda api: api.patch("/", data={"a": "b c"}),
    "own method": lambda api: api.request("PURGE", "/"),
    "own content type": lambda api: api.post("/", content=b"x", headers={"Content-Type": "text/x"}),
}


@pytest.mark.parametrize("keepalive", [0, 5])
@pytest.mark.parametrize("name", USES)
@pytest.mark.one_loop
async def test_both_paths_send_the_same_bytes(
    name: str, keepalive: float, server: FaultServer, monkeypatch: pytest.MonkeyPatch, session_requests: list[str]
) -> None:
    """Method, target, every header and the body: but for the order of the headers."""
    for needs_session in ("", "this test"):
        monkeypatch.setattr(transport, "needs_session", lambda _settings, needed=needs_session: needed)
        async with APIClient(server.url, connection=ConnectionSettings(keepalive=keepalive), retry=None) as api:
            await USES[name](api)
    direct, session = server.requests
    assert len(session_requests) == 1
    assert (direct.method, direct.target, direct.body) == (session.method, session.target, session.body)
    assert sorted(direct.headers.items()) == sorted(session.headers.items())


async def test_post_without_a_body_declares_no_type(server: FaultServer) -> None:
    """There is nothing that could have one (RFC 9110 section 8.3), but it has a length (section 8.6)."""
    async with APIClient(server.url) as api:
        await api.post("/")
    headers = server.requests[0].headers
    assert ("Content-Type" in headers, headers["Content-Length"]) == (False, "0")


@pytest.mark.usefixtures("both_paths")
async def test_informational_replies_are_skipped(server: FaultServer) -> None:
    """103 Early Hints is not the answer (RFC 8297)."""

    async def hints_first(_request: ReceivedRequest, wire: Wire) -> None:
        await wire.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")

    server.script(hints_first)
    async with APIClient(server.url) as api:
        assert (await api.get("/")).status == 204


@pytest.mark.usefixtures("both_paths")
async def test_unasked_switch_of_protocols_is_no_answer(server: FaultServer) -> None:
    """A 101 that nobody asked for is not HTTP any more (RFC 9110 section 15.2.2), and its connection is closed."""

    async def switch(_request: ReceivedRequest, wire: Wire) -> None:
        await wire.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")

    server.script(switch, reply())
    async with APIClient(server.url, retry=None) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.PROTOCOL
        assert (await api.get("/")).status == 200
    assert server.connections == 2


async def test_direct_path_is_the_default(server: FaultServer, session_requests: list[str]) -> None:
    """Without settings that need a session, none is made."""
    async with APIClient(server.url) as api:
        await api.get("/")
    assert (server.hits, session_requests) == (1, [])


async def test_both_paths_fixture_selects_path(
    both_paths: str, server: FaultServer, session_requests: list[str]
) -> None:
    """The fixture ``both_paths`` selects the path that its parameter names."""
    async with APIClient(server.url) as api:
        await api.get("/")
    assert session_requests == ([] if both_paths == "direct" else ["/"])


async def _plain_middleware(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    return await handler(request)


@pytest.mark.parametrize(
    ("setting", "value"), [("cookies", True), ("trust_env", True), ("aiohttp_middlewares", (_plain_middleware,))]
)
async def test_session_features_use_session(
    setting: str,
    value: object,
    server: FaultServer,
    session_requests: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Cookies, proxies and aiohttp's middlewares are the session's business. ``explain`` and one log line say so."""
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.delenv("http_proxy", raising=False)
    caplog.set_level("INFO", "resilient_client")
    async with APIClient(server.url, connection=ConnectionSettings(**{setting: value})) as api:
        explained = api.explain("GET", "/")
        await api.get("/")
        await api.get("/")
    assert session_requests == ["/", "/"]
    assert explained.path == f"through an aiohttp session, for {setting}"
    assert [record.getMessage() for record in caplog.records] == [f"requests go {explained.path}"]


def test_explain_tells_the_direct_path() -> None:
    """Nothing is in the way of connections of our own."""
    assert "transport over connections of its own" in str(APIClient("https://api.example.com").explain("GET", "/"))


@pytest.mark.parametrize(
    ("size", "idle"), [(1_048_576, None), (1_048_577, None), (65_536, 5.0), (65_537, 5.0)], ids=str
)
@pytest.mark.one_loop
async def test_body_of_any_size_goes_directly(
    server: FaultServer, session_requests: list[str], size: int, idle: float | None
) -> None:
    """In one piece with its head or in many, which depends on its size."""
    body = bytes(range(256)) * 4097
    async with APIClient(server.url, timeout=Timeout(idle=idle)) as api:
        await api.post("/", content=body[:size])
    assert server.requests[0].body == body[:size]
    assert session_requests == []


@pytest.mark.usefixtures("both_paths")
async def test_expectation_holds_the_body_back() -> None:
    """``Expect: 100-continue``: until the server asks for it."""
    app = web.Application()

    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=await request.text())

    app.router.add_post("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    async with APIClient(f"http://{host}:{port}") as api:
        assert (await api.post("/", content=b"held", headers={"Expect": "100-continue"})).text == "held"
    await runner.cleanup()


async def test_session_mocked_later_is_respected(server: FaultServer) -> None:
    """A mocked session method is used by a client that already sent requests."""
    uninstall = install_aioresponses_compat()
    async with APIClient(server.url) as api:
        await api.get("/")
        with aioresponses() as mocked:
            mocked.get(f"{server.url}/", status=204)
            assert (await api.get("/")).status == 204
        assert (await api.get("/")).status == 200
    uninstall()
    assert server.hits == 2


async def test_wrapping_tracer_sees_every_request(server: FaultServer) -> None:
    """Third-party tracers that wrap the method see each request."""
    seen: list[str] = []
    original = aiohttp.ClientSession._request

    async def traced(self: aiohttp.ClientSession, method: str, *args: Any, **options: Any) -> aiohttp.ClientResponse:
        seen.append(method)
        return await original(self, method, *args, **options)

    with mock.patch.object(aiohttp.ClientSession, "_request", traced):
        async with APIClient(server.url) as api:
            await api.get("/")
    assert (seen, server.hits) == (["GET"], 1)


async def test_trace_configs_are_respected(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, session_requests: list[str]
) -> None:
    """Instrumentations add a trace config to each session that is made."""
    ended: list[str] = []
    config = aiohttp.TraceConfig()

    async def on_end(_session: Any, _context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        ended.append(params.method)

    config.on_request_end.append(on_end)
    plain = aiohttp.ClientSession.__init__

    def instrumented(self: aiohttp.ClientSession, *args: Any, **options: Any) -> None:
        plain(self, *args, trace_configs=[config], **options)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", instrumented)
    async with APIClient(server.url) as api:
        await api.get("/")
    assert (ended, session_requests) == (["GET"], ["/"])
