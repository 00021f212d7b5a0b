"""Addressing: what a caller passes is sent below the base URL, or nothing is sent.

The tables of paths and parameters are in ``tests/unit/policies/http``; these tests show what the server gets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import pytest

from resilient_client import (
    APIClient,
    APIKeyAuth,
    Call,
    ConfigurationError,
    Handler,
    InvalidRequestError,
    Request,
    Response,
)
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import echo, garbage, redirect

pytestmark = pytest.mark.one_loop

PREFIX = "/v1/tenant"


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """A client whose base URL has a path of its own."""
    server.script(echo())
    async with APIClient(f"{server.url}{PREFIX}", headers={"Authorization": "Bearer client-token"}) as api:
        yield api


async def refused(server: FaultServer, api: APIClient, path: str, **options: Any) -> InvalidRequestError:
    """Return the error of a call that must not open a connection."""
    with pytest.raises(InvalidRequestError) as caught:
        await api.get(path, **options)
    assert (server.hits, server.connections) == (0, 0)
    return caught.value


# --- what is sent ---


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/users", "/v1/tenant/users"),
        ("?page=2", "/v1/tenant?page=2"),
        ("/users#/../x", "/v1/tenant/users"),
        ("/users/a%2Fb", "/v1/tenant/users/a%2Fb"),
        ("@evil.example", "/v1/tenant/@evil.example"),
    ],
)
async def test_path_below_the_base_is_appended_to_it(
    server: FaultServer, api: APIClient, path: str, target: str
) -> None:
    """A path is appended to the base path, and reaches the server as it is encoded."""
    await api.get(path)
    assert [request.target for request in server.requests] == [target]


SIGNED = "/A_%26_B%2f%7E?sig=ab%2Bc%3D&f=%2A%27%27s"


@pytest.mark.usefixtures("both_paths")
async def test_escapes_reach_the_server_as_written(server: FaultServer, api: APIClient) -> None:
    """In the path of a call, in a redirect, and in the absolute URL of a client without a base."""
    server.route("GET", f"{PREFIX}/hub", redirect(SIGNED))
    await api.get(SIGNED)
    await api.get("/hub")
    async with APIClient() as anywhere:
        await anywhere.get(server.url + SIGNED)
    targets = [request.target for request in server.requests]
    assert targets == [PREFIX + SIGNED, f"{PREFIX}/hub", SIGNED, SIGNED]


@pytest.mark.usefixtures("both_paths")
async def test_bytes_of_a_location_are_kept(server: FaultServer, api: APIClient) -> None:
    """A byte that is not UTF-8 is escaped, not dropped: without it the path names another resource."""
    head = "HTTP/1.1 302 Found\r\nLocation: /caf\xe9\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    server.route("GET", f"{PREFIX}/old", garbage(head.encode("latin-1")))
    await api.get("/old")
    assert server.requests[1].target == "/caf%E9"


class Word(str, Enum):  # noqa: UP042 - unlike that of a StrEnum, its str() is not its value
    ROUTE = "/users"
    METHOD = "LIST"
    NAME = "X-Word"
    VALUE = "word"


@pytest.mark.usefixtures("both_paths")
async def test_members_of_an_enum_are_sent_by_value(server: FaultServer, api: APIClient) -> None:
    """``str()`` of a ``(str, Enum)`` is ``Word.VALUE``, and ``Word.ROUTE`` appended to a host is another host."""
    await api.post(
        Word.ROUTE, data={Word.VALUE: Word.VALUE}, headers={Word.NAME: Word.VALUE}, idempotency_key=Word.VALUE
    )
    async with APIClient(server.url, auth=APIKeyAuth(Word.VALUE, name=Word.NAME)) as keyed:
        await keyed.request(Word.METHOD, "/", files={Word.VALUE: (Word.VALUE, b"x")})
    form, files = server.requests
    assert (form.target, form.body) == (f"{PREFIX}/users", b"word=word")
    assert (form.headers["X-Word"], form.headers["Idempotency-Key"]) == ("word", "word")
    assert (files.method, files.headers["X-Word"]) == ("LIST", "word")
    assert b'name="word"; filename="word"' in files.body
    assert repr(Call.get(Word.ROUTE)) == "<Call GET /users>"


@pytest.mark.usefixtures("both_paths")
async def test_two_spellings_of_a_header_are_one_name(server: FaultServer, api: APIClient) -> None:
    """Both values are sent, as lines of their own, on either path (RFC 9110 section 5.3)."""
    await api.get("/", headers={"Accept": "text/csv", "accept": "application/json"})
    assert server.requests[0].headers.getall("Accept") == ["text/csv", "application/json"]


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("body", [None, b"x", [b"x"]], ids=["no body", "bytes", "upload"])
async def test_spellings_of_a_middleware_are_one_name(server: FaultServer, body: Any) -> None:
    """A middleware may add a line to a header in a spelling of its own. A session would keep the last spelling only."""
    server.script(echo())

    async def add(request: Request, call_next: Handler) -> Response:
        request.headers.add("x-trace", "2")
        return await call_next(request)

    async with APIClient(server.url, attempt_middleware=[add]) as api:
        await api.put("/", headers={"X-Trace": "1"}, **({} if body is None else {"content": body}))
    assert server.requests[0].headers.getall("X-Trace") == ["1", "2"]


async def test_connect_is_refused_by_name(server: FaultServer, api: APIClient) -> None:
    """It is not a request to a resource (RFC 9110 section 9.3.6)."""
    with pytest.raises(InvalidRequestError, match="CONNECT opens a tunnel"):
        await api.request("connect", "/")
    assert server.connections == 0


async def test_path_param_is_quoted_into_one_segment(server: FaultServer, api: APIClient) -> None:
    """The quoting of a path parameter reaches the server."""
    await api.get("/users/{id}/posts", path_params={"id": "a/b ü"})
    assert server.requests[0].target == f"{PREFIX}/users/a%2Fb%20%C3%BC/posts"


# --- what is refused before anything is sent ---


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("https://evil.example/x", {}),
        ("//evil.example/x", {}),
        ("/%2e%2e/admin", {}),
        ("/a\r\nHost: evil", {}),
        ("/users/{id}", {}),
        ("/users/{id}", {"path_params": {"id": ".."}}),
        ("/users", {"params": {"q": "x\ud800y"}}),
    ],
)
async def test_url_outside_the_base_opens_no_connection(
    server: FaultServer, api: APIClient, path: str, options: dict[str, Any]
) -> None:
    """A path, a parameter or a query that is refused is refused before anything is sent."""
    await refused(server, api, path, **options)


async def test_query_line_break_is_quoted(server: FaultServer, api: APIClient) -> None:
    """A query value cannot break out of its parameter."""
    await api.get("/users", params={"q": "a\r\nHost: evil&b=1#c"})
    assert server.requests[0].query["q"] == "a\r\nHost: evil&b=1#c"


# --- headers ---


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"host": "evil.example"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"X-Test": "a\r\nX-Injected: 1"},
        {"X-Test": "a\nb"},
        {"X-Test": "a\rb"},
        {"X-Test": "a\x00b"},
        {"X-Test": "a\ud800b"},
        {"X-Test\r\nX-Injected": "1"},
        {"X Test": "1"},
        {"X-Test:": "1"},
        {"": "1"},
        {"X-Test": 1},
        {"X-Test": None},
        {"X-Test": b"raw"},
    ],
)
async def test_message_breaking_header_refused(server: FaultServer, api: APIClient, headers: Any) -> None:
    """Framing headers belong to the client, and no name or value can start a line of its own."""
    await refused(server, api, "/users", headers=headers)


async def test_idempotency_key_line_break_refused(server: FaultServer, api: APIClient) -> None:
    """A key is a header value and is checked like one."""
    await refused(server, api, "/users", idempotency_key="a\r\nX-Injected: 1")


@pytest.mark.parametrize("headers", [{"Host": "x"}, {"X": "a\r\nb"}, {"a b": "c"}])
def test_unsendable_client_header_refused(headers: dict[str, str]) -> None:
    """An invalid header of the client is an invalid setting, found at construction."""
    with pytest.raises(ConfigurationError):
        APIClient("https://api.example.com", headers=headers)


# --- without a base URL ---


@pytest.mark.parametrize("url", ["/users", "//h/x", "http://user:canary@h/"])
async def test_without_a_base_only_an_absolute_url_is_called(server: FaultServer, url: str) -> None:
    """A client without base URL refuses everything but an absolute http(s) URL without credentials."""
    async with APIClient() as api:
        assert "canary" not in str(await refused(server, api, url))
