"""The rule of addressing: what a caller passes stays below the base URL, or nothing is sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from resilient_client import APIClient, ConfigurationError, InvalidRequestError
from resilient_client._policies.http.urls import build_url, parse_base
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import echo

pytestmark = pytest.mark.one_loop

PREFIX = "/v1/tenant"
BASE = "https://api.example.com:8443/v1/tenant"


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """A client whose base URL has a path of its own."""
    server.script(echo())
    async with APIClient(f"{server.url}{PREFIX}", headers={"Authorization": "Bearer client-token"}) as api:
        yield api


async def refused(server: FaultServer, api: APIClient, path: str, **options: Any) -> InvalidRequestError:
    """The error of a call that must not get as far as opening a connection."""
    with pytest.raises(InvalidRequestError) as caught:
        await api.get(path, **options)
    assert (server.hits, server.connections) == (0, 0)
    return caught.value


# --- what is sent ---


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/users", "/v1/tenant/users"),
        ("users", "/v1/tenant/users"),
        ("", "/v1/tenant"),
        ("/", "/v1/tenant/"),
        ("?page=2", "/v1/tenant?page=2"),
        ("/users?next=/../x", "/v1/tenant/users?next=/../x"),
        ("/users#/../x", "/v1/tenant/users"),
        ("/users/a%2Fb", "/v1/tenant/users/a%2Fb"),
        ("/users:batch", "/v1/tenant/users:batch"),
        ("/@evil.example", "/v1/tenant/@evil.example"),
        ("@evil.example", "/v1/tenant/@evil.example"),
        (":80@evil.example", "/v1/tenant/:80@evil.example"),
        ("/go/https://evil.example", "/v1/tenant/go/https://evil.example"),
        ("/...", "/v1/tenant/..."),
    ],
)
async def test_path_is_appended_to_base(server: FaultServer, api: APIClient, path: str, target: str) -> None:
    """A path is appended to the base path; it is never joined by RFC 3986, which would drop ``/v1/tenant``."""
    await api.get(path)
    assert [request.target for request in server.requests] == [target]


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("ü", "%C3%BC"),
        (7, "7"),
        (True, "true"),
        ("//evil", "%2F%2Fevil"),
    ],
)
async def test_path_param_stays_one_segment(server: FaultServer, api: APIClient, value: Any, segment: str) -> None:
    """A path parameter is one segment, whatever it holds."""
    await api.get("/users/{id}/posts", path_params={"id": value})
    assert server.requests[0].target == f"{PREFIX}/users/{segment}/posts"


# --- what is refused before anything is sent ---


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/x",
        "HTTPS://evil.example/x",
        "http:evil.example",
        "https:/evil.example",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//evil.example/x",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/users\\..\\admin",
    ],
)
async def test_path_to_other_origin_refused(server: FaultServer, api: APIClient, path: str) -> None:
    """Nothing a caller passes as a path names another origin than the base URL."""
    await refused(server, api, path)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "/..",
        "/../admin",
        "/users/../../admin",
        "/users/./x",
        "/%2e%2e/admin",
        "/%2E%2e/admin",
        "/.%2E/admin",
        "/%2e/admin",
        "/..%2Fadmin",
        "/%2e%2e%2fadmin",
        "/..%5Cadmin",
        "/../a://b",
        "/users/../../a://b/../c",
        "../x?y=1",
        "/../x#y",
    ],
)
async def test_dot_segment_refused_in_any_spelling(server: FaultServer, api: APIClient, path: str) -> None:
    """Dot segments never leave the base path: plain, encoded, mixed, or behind an encoded slash."""
    await refused(server, api, path)


@pytest.mark.parametrize("path", ["/a b", "/a\r\nHost: evil", "/a\x00", "/a\tb", "/a\x7f", "\n/a", "/a\ud800"])
async def test_control_character_in_path_refused(server: FaultServer, api: APIClient, path: str) -> None:
    """What could break the request line, or would be dropped from it in silence, is refused."""
    await refused(server, api, path)


@pytest.mark.parametrize("value", ["", None, ".", "..", "../x", "x/..", "%2e%2e", "%2E%2e/x", "a\\..", "x\ud800"])
async def test_path_param_that_changes_path_refused(server: FaultServer, api: APIClient, value: Any) -> None:
    """An empty or dotted parameter would address another resource: ``DELETE /users/`` instead of one user."""
    error = await refused(server, api, "/users/{id}", path_params={"id": value})
    assert "path_params['id']" in str(error)


async def test_dot_segment_from_params_refused(server: FaultServer, api: APIClient) -> None:
    """The filled path is checked, too, not only each value."""
    await refused(server, api, "/users/.%2{rest}/x", path_params={"rest": "e"})


@pytest.mark.parametrize(
    ("path", "options", "named"),
    [
        ("/users/{id}", {}, "'id'"),
        ("/users/{id}/{post}", {"path_params": {"id": 1}}, "'post'"),
        ("/users/{id}", {"path_params": {"id": 1, "extra": 2}}, "'extra'"),
        ("/users", {"path_params": {"id": 1}}, "'id'"),
    ],
)
async def test_unmatched_placeholder_refused_by_name(
    server: FaultServer, api: APIClient, path: str, options: dict[str, Any], named: str
) -> None:
    """A missing or an unused path parameter is named in the error."""
    assert named in str(await refused(server, api, path, **options))


@pytest.mark.parametrize(
    ("path", "options"),
    [("/users/{id}?token=canary", {}), ("/users?token=canary", {"path_params": {"id": 1}})],
)
async def test_path_error_hides_query(server: FaultServer, api: APIClient, path: str, options: dict[str, Any]) -> None:
    """A complaint about placeholders shows the path, and the query never."""
    error = await refused(server, api, path, **options)
    assert "canary" not in str(error)
    assert "/users" in str(error)


@pytest.mark.parametrize("params", [{"q": "x\ud800y"}, {"\udfff": "x"}, {"q": {"a": 1}}, {"q": b"raw"}])
async def test_unsendable_query_value_refused(server: FaultServer, api: APIClient, params: Any) -> None:
    """A query value goes out whole, or the call is refused."""
    await refused(server, api, "/users", params=params)


async def test_query_line_break_is_quoted(server: FaultServer, api: APIClient) -> None:
    """A query value cannot break out of its place."""
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
    """A wrong header of the client is a wrong setting, told when it is made."""
    with pytest.raises(ConfigurationError):
        APIClient("https://api.example.com", headers=headers)


# --- without a base URL ---


@pytest.mark.parametrize("url", ["/users", "users", "ftp://h/x", "http://", "https:///x", "http:users", "//h/x", ""])
async def test_without_base_only_absolute_http_url(server: FaultServer, url: str) -> None:
    """A client without base URL refuses what is no absolute http(s) URL."""
    async with APIClient() as api:
        await refused(server, api, url)


async def test_without_base_url_credentials_refused(server: FaultServer) -> None:
    """Credentials belong into ``auth=``; the error about them does not repeat them."""
    async with APIClient() as api:
        for path in (
            f"http://user:canary@127.0.0.1:{server.port}/",
            "http://user:canary@h/{id}",
            "http://u:canary@h:x/",
        ):
            assert "canary" not in str(await refused(server, api, path))


# --- for every text there is ---

_PIECES = re.findall(
    r"\S+", "/ // . .. %2e %2E %2f %5c %25 \\ : :// http: @ ? # a evil.example { } {id} ; % %zz [ ] ． 。 ／"
)
_HOSTILE = st.lists(st.sampled_from([*_PIECES, " ", "\r\n", "\x00", "\ud800", "\u202e"]), max_size=8).map("".join)
_TEXT = st.one_of(_HOSTILE, st.text(max_size=12), st.text(alphabet="./\\%2eEfF:@?#a", max_size=12))


def _stays_below(url: URL) -> bool:
    """Whether a server that decodes first, and takes a backslash for a slash, still ends below the prefix."""
    told: list[str] = []
    for segment in re.split(r"[/\\]", unquote(url.raw_path)):
        if segment == "..":
            del told[-1:]
        elif segment != ".":
            told.append(segment)
    return "/".join(told).startswith(PREFIX)


@given(path=_TEXT)
@example("/../a://b")
@example("/..%2f..%2fadmin")
def test_any_path_stays_below_base(path: str) -> None:
    """Whatever text is passed as a path, origin and path prefix stay those of the base, or the call is refused."""
    try:
        url = build_url(parse_base(BASE), path)
    except InvalidRequestError:
        return
    assert url.origin() == URL(BASE).origin()
    assert url.user is None
    assert _stays_below(url)


@given(value=_TEXT)
def test_any_path_param_stays_one_segment(value: str) -> None:
    """Whatever text is passed as a parameter fills exactly its place."""
    try:
        url = build_url(parse_base(BASE), "/users/{id}/posts", {"id": value})
    except InvalidRequestError:
        return
    assert url.origin() == URL(BASE).origin()
    assert url.raw_query_string == ""
    before, segment, after = url.raw_path.rsplit("/", 2)
    assert (before, after) == (f"{PREFIX}/users", "posts")
    assert unquote(segment) == value
    assert _stays_below(url)
