"""The rule of redirects: followed by us, at home only unless told otherwise, and nothing secret leaves home."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from tests.behaviour.support import client, ends_after, failure, in_use, soon

from resilient_client import (
    APIClient,
    APIKeyAuth,
    BearerAuth,
    ConnectionSettings,
    InvalidRequestError,
    RedirectError,
    Retry,
)
from resilient_client.testing._fault_server import FaultServer, refused_url
from resilient_client.testing.faults import endless_redirect, redirect, reply

pytestmark = [pytest.mark.usefixtures("both_paths"), pytest.mark.one_loop]


@pytest.fixture
async def elsewhere() -> AsyncIterator[FaultServer]:
    """Another origin."""
    async with FaultServer() as elsewhere:
        yield elsewhere


@pytest.fixture
def bodies(tmp_path: Path) -> dict[str, Any]:
    """The options of a call for each kind of body."""
    path = tmp_path / "body.bin"
    path.write_bytes(b"x" * 200_000)
    return {"json": {"json": {"a": 1}}, "path": {"content": path}, "multipart": {"files": {"f": path}}}


async def test_redirect_within_origin_followed(server: FaultServer) -> None:
    """The caller gets the reply of the target, and learns its address."""
    server.route("GET", "/old", redirect("/new?page=2"))
    server.route("GET", "/new", reply(200, body=b"here"))
    async with client(server) as api:
        response = await api.get("/old")
    assert (response.content, str(response.url)) == (b"here", f"{server.url}/new?page=2")
    assert server.hits == 2


async def test_redirect_recorded_without_query(server: FaultServer) -> None:
    """One attempt, one hop in its record, and no secret that the target's query may hold."""
    server.route("GET", "/old", redirect("/new?token=secret"))
    async with client(server) as api:
        response = await api.get("/old")
    assert response.attempts == 1
    assert response.history[0].redirects == (f"{server.url}/new",)


async def test_redirect_to_other_origin_refused(server: FaultServer, elsewhere: FaultServer) -> None:
    """Another port is another origin (RFC 6454); the other server never hears of us."""
    server.script(redirect(f"{elsewhere.url}/"))
    async with client(server) as api:
        error = await failure(api.get("/"))
        assert in_use(api) == 0
    assert isinstance(error, RedirectError)
    assert error.response is not None
    assert (error.response.status, elsewhere.connections) == (302, 0)
    assert "follow_redirects='any'" in str(error)


async def test_redirect_switched_off_is_given_back(server: FaultServer) -> None:
    """With None the 302 is the answer."""
    server.script(redirect("/new"))
    async with client(server, follow_redirects=None) as api:
        response = await api.get("/")
    assert (response.status, response.headers["Location"], server.hits) == (302, "/new", 1)


@pytest.mark.parametrize("status", [300, 304])
async def test_redirect_without_single_target_returned(server: FaultServer, status: int) -> None:
    """300 and 304 are no redirects to follow, nor is one without a Location."""
    server.script(reply(status), reply(302))
    async with client(server) as api:
        assert (await api.get("/")).status == status
        assert (await api.get("/")).status == 302


SECRETS = {
    "Authorization": "Bearer secret",
    "Cookie": "session=secret",
    "X-Api-Key": "secret",
    "X-Anything": "secret",
    "Idempotency-Key": "secret",
    "Proxy-Authorization": "secret",
}


async def test_redirect_abroad_drops_secrets(server: FaultServer, elsewhere: FaultServer) -> None:
    """No header of the caller's crosses, known or custom."""
    server.script(redirect(elsewhere.url))
    async with client(server, follow_redirects="any", headers={"X-Client": "secret"}) as api:
        await api.get("/", headers=SECRETS, idempotency_key="secret")
    assert "secret" not in str(elsewhere.requests[0].headers)
    assert elsewhere.requests[0].headers["User-Agent"].startswith("resilient-client/")


async def test_redirect_within_origin_keeps_secrets(server: FaultServer) -> None:
    """Negative control: at home every one of them goes along."""
    server.route("GET", "/", redirect("/new"))
    async with client(server) as api:
        await api.get("/", headers=SECRETS)
    assert {name: server.requests[1].headers.get(name) for name in SECRETS} == SECRETS


@pytest.mark.parametrize(
    "auth",
    [BearerAuth("secret"), APIKeyAuth("secret"), APIKeyAuth("secret", location="query")],
    ids=["bearer", "key", "query"],
)
async def test_redirect_abroad_drops_credentials(server: FaultServer, elsewhere: FaultServer, auth: Any) -> None:
    """Auth stands outside redirects, so it does not put its token back on a foreign hop."""
    server.script(redirect(f"{elsewhere.url}/landing"))
    async with client(server, follow_redirects="any", auth=auth) as api:
        await api.get("/")
    landed = elsewhere.requests[0]
    assert "secret" not in f"{landed.target} {landed.headers}"


async def test_redirect_there_and_back_drops_secrets(server: FaultServer, elsewhere: FaultServer) -> None:
    """What was dropped on the way out does not come back on the way home."""
    server.route("GET", "/", redirect(elsewhere.url))
    elsewhere.script(redirect(f"{server.url}/home"))
    async with client(server, follow_redirects="any") as api:
        await api.get("/", headers={"Authorization": "Bearer secret"})
    assert "Authorization" not in server.requests[1].headers


@pytest.mark.parametrize("status", [307, 308])
async def test_redirect_abroad_carries_no_body(server: FaultServer, elsewhere: FaultServer, status: int) -> None:
    """Not even with "any"."""
    server.script(redirect(elsewhere.url, status))
    async with client(server, follow_redirects="any") as api:
        error = await failure(api.post("/", json={"card": 4111}))
    assert isinstance(error, RedirectError)
    assert (error.maybe_processed, elsewhere.connections) == (True, 0)


@pytest.mark.parametrize(
    ("method", "status", "becomes"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("PUT", 303, "GET"),
        ("HEAD", 303, "HEAD"),
        ("PUT", 301, "PUT"),
        ("DELETE", 302, "DELETE"),
        ("POST", 307, "POST"),
        ("PATCH", 308, "PATCH"),
    ],
)
async def test_redirect_changes_method(server: FaultServer, method: str, status: int, becomes: str) -> None:
    """Section 15.4: 303 turns all but HEAD to GET, 301 and 302 only POST, 307 and 308 nothing."""
    server.route(method, "/", redirect("/new", status))
    async with client(server) as api:
        await soon(api.request(method, "/"))
    assert [request.method for request in server.requests] == [method, becomes]


@pytest.mark.parametrize("kind", ["json", "path", "multipart"])
async def test_redirect_307_sends_the_body_again(server: FaultServer, bodies: dict[str, Any], kind: str) -> None:
    """The target gets what the first address got."""
    server.route("POST", "/", redirect("/new", 307))
    async with client(server) as api:
        await soon(api.post("/", **bodies[kind]))
    first, second = server.requests
    assert (first.body, first.headers["Content-Type"]) == (second.body, second.headers["Content-Type"])


@pytest.mark.parametrize("kind", ["json", "path", "multipart"])
async def test_redirect_303_drops_body(server: FaultServer, bodies: dict[str, Any], kind: str) -> None:
    """A GET with the length of a body that does not come would hang the server."""
    server.route("POST", "/", redirect("/new", 303))
    async with client(server) as api:
        await soon(api.post("/", **bodies[kind]))
    landed = server.requests[1]
    assert (landed.method, landed.body) == ("GET", b"")
    assert {"Content-Type", "Content-Length", "Transfer-Encoding"}.isdisjoint(landed.headers)


async def test_redirect_of_one_shot_body_refused(server: FaultServer) -> None:
    """It was sent already, and is never sent again empty."""

    async def once() -> AsyncIterator[bytes]:
        yield b"once"

    server.script(redirect("/new", 307))
    async with client(server) as api:
        error = await failure(api.post("/", content=once()))
    assert isinstance(error, RedirectError)
    assert "one-shot" in str(error)
    assert server.hits == 1


async def test_redirect_loop_ends_after_five_hops(server: FaultServer) -> None:
    """The request and five hops are six; a seventh is never sent, and nothing is retried."""
    server.script(endless_redirect())
    async with APIClient(server.url) as api:
        error = await failure(api.get("/"))
    assert isinstance(error, RedirectError)
    assert (server.hits, error.attempts) == (6, 1)


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/", "javascript:alert(1)", "http://[", "http:///nowhere"])
async def test_redirect_to_non_http_refused(server: FaultServer, target: str) -> None:
    """Whatever a server writes there, it is a RedirectError and not a crash."""
    server.script(redirect(target))
    async with client(server, follow_redirects="any") as api:
        assert isinstance(await failure(api.get("/")), RedirectError)


async def test_redirect_https_to_http_refused(server: FaultServer) -> None:
    """What began encrypted does not go on in the clear, not even with "any"."""
    authority = trustme.CA()
    serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(trusting)
    connection = ConnectionSettings(tls=trusting)
    async with FaultServer(tls=serving) as secure:
        secure.script(redirect(server.url))
        async with client(secure, follow_redirects="any", connection=connection) as api:
            error = await failure(api.get("/"))
    assert isinstance(error, RedirectError)
    assert server.connections == 0


@pytest.mark.virtual_time
async def test_redirect_hops_share_attempt_time(server: FaultServer) -> None:
    """The whole chain of hops has one attempt's time, not each hop its own."""
    server.route("GET", "/", redirect("/slow"))
    server.route("GET", "/slow", reply(200, delay=5))
    async with client(server, timeout=0.1) as api:
        with ends_after(0.1):
            await failure(api.get("/"))


async def test_redirect_of_a_stream_is_followed(server: FaultServer) -> None:
    """A stream opens where the redirect leads."""
    server.route("GET", "/", redirect("/new"))
    server.route("GET", "/new", reply(200, body=b"here"))
    async with client(server) as api, api.stream("GET", "/") as reply_:
        assert await reply_.read() == b"here"


@pytest.mark.parametrize("secret", [{"headers": {"X-Api-Key": "secret"}}, {"headers": {"Authorization": "secret"}}])
async def test_session_headers_stop_redirect_abroad(
    server: FaultServer, elsewhere: FaultServer, secret: dict[str, Any]
) -> None:
    """What a caller's session adds by itself cannot be taken off, so such a redirect is refused."""
    server.script(redirect(f"{elsewhere.url}/"))
    elsewhere.script(reply())
    own = aiohttp.ClientSession(**secret)
    async with own as session, client(server, session=session, follow_redirects="any") as api:
        assert isinstance(await failure(api.get("/")), RedirectError)
    assert (server.hits, elsewhere.hits) == (1, 0)


async def test_plain_session_follows_redirect_abroad(server: FaultServer, elsewhere: FaultServer) -> None:
    """The control: a plain session of the caller follows as our own does."""
    server.script(redirect(f"{elsewhere.url}/"))
    elsewhere.script(reply())
    async with aiohttp.ClientSession() as session, client(server, session=session, follow_redirects="any") as api:
        assert (await api.get("/")).status == 200
    assert elsewhere.hits == 1


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
async def test_redirect_to_unencodable_host_refused(server: FaultServer, host: str) -> None:
    """A name that no resolver takes is the server's mistake, and told as such."""
    server.script(redirect(f"http://{host}/"))
    async with client(server, follow_redirects="any") as api:
        error = await failure(api.get("/"))
    assert isinstance(error, RedirectError)
    assert server.hits == 1


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
async def test_call_to_unencodable_host_is_invalid(host: str) -> None:
    """The same name given by the caller is the caller's mistake."""
    async with client(f"http://{host}") as api:
        error = await failure(api.get("/"))
    assert isinstance(error, InvalidRequestError)


async def test_unreachable_redirect_names_both_urls(server: FaultServer) -> None:
    """In one sentence without contradictions: the first server has the call, and only the second got nothing."""
    nobody = refused_url()
    server.script(redirect(f"{nobody}/new?token=canary", 307))
    async with client(server, follow_redirects="any", retry=Retry()) as api:
        error = await failure(api.post("/old"))
    told, _, advice = str(error).partition("; not retried: ")
    where = f"POST {server.url}/old: redirected to {nobody}/new"
    assert told == f"{where}: cannot connect (Connection refused); nothing more was sent"
    assert advice.startswith("the server may have acted on this POST")
    assert (error.maybe_processed, server.hits) == (True, 1)


async def test_redirect_loop_names_call(server: FaultServer) -> None:
    """With the path and the method its caller gave, whatever became of them on the way."""
    server.script(redirect("/new"))
    async with client(server) as api:
        error = await failure(api.post("/old"))
    told = f"POST {server.url}/old: redirected to {server.url}/new: the redirect 302 is not followed"
    assert str(error).startswith(told)
