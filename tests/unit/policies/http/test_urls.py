"""The URL of a call: what a caller passes stays below the base URL, or is refused."""

import re
from enum import Enum
from urllib.parse import unquote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from yarl import URL

from resilient_client._core.errors import InvalidRequestError
from resilient_client._policies.http.urls import build_url, parse_base, query_pairs, rebase

PREFIX = "/v1/tenant"
ORIGIN = "https://api.example.com:8443"
BASE = parse_base(f"{ORIGIN}{PREFIX}")


def target(path, path_params=None, params=None, base=BASE):
    """The path and query of a call, as they are sent."""
    url = build_url(base, path, path_params, params)
    assert url.origin() == base.origin()
    return url.raw_path_qs


def refused(path, path_params=None, params=None, base=BASE):
    """The message of a call that is refused."""
    with pytest.raises(InvalidRequestError) as caught:
        build_url(base, path, path_params, params)
    return str(caught.value)


# --- paths ---


@pytest.mark.parametrize(
    ("path", "expected"),
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
def test_path_is_appended_to_the_base(path, expected):
    """A path is appended to the base path; joining as in RFC 3986 would drop ``/v1/tenant``."""
    assert target(path) == expected


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("https://h", "", "/"),
        ("https://h", "/a", "/a"),
        ("https://h", "a", "/a"),
        ("https://h/", "/a", "/a"),
        ("https://h/v1/", "/a", "/v1/a"),
        ("https://h/v1/", "", "/v1/"),
        ("https://h/v1/", "?q=1", "/v1/?q=1"),
        ("https://h/v1//", "a", "/v1/a"),
    ],
)
def test_path_and_base_meet_in_one_slash(base, path, expected):
    """A slash at the end of the base, at the start of the path, at both or at neither makes no difference."""
    assert target(path, base=parse_base(base)) == expected


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
def test_path_to_another_origin_is_refused(path):
    """Nothing that is passed as a path names another origin than the base URL."""
    refused(path)


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
        "/users/..;/keys",
        "/users/..;a=b/keys",
        "/.;/x",
        "/%2e%2e%3Bx/keys",
    ],
)
def test_dot_segment_is_refused(path):
    """However it is written: plain, encoded, mixed, or behind an encoded slash."""
    assert "has a dot segment" in refused(path)


@pytest.mark.parametrize("path", ["/a b", "/a\r\nHost: evil", "/a\x00", "/a\tb", "/a\x7f", "\n/a", "/a\ud800"])
def test_control_character_is_refused(path):
    """What could break the request line, or would be dropped from it silently, is refused."""
    assert "control character, lone surrogate or backslash" in refused(path)


@pytest.mark.parametrize("path", [None, 5, b"/users", URL("/users")])
def test_path_that_is_not_text_is_refused(path):
    """The message names the type and shows an example."""
    assert f"the path is {type(path).__name__}; give text such as '/users/{{id}}'" in refused(path)


# --- placeholders ---


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("ü", "%C3%BC"),
        ("50%", "50%25"),
        ("{id}", "%7Bid%7D"),
        (7, "7"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        ("//evil", "%2F%2Fevil"),
        ("...", "..."),
    ],
)
def test_path_param_fills_one_segment(value, segment):
    """A path parameter is one segment, whatever it holds."""
    assert target("/users/{id}/posts", {"id": value}) == f"{PREFIX}/users/{segment}/posts"


def test_placeholder_may_occur_twice():
    """Both places get the same value."""
    assert target("/{a}/{b}/{a}", {"a": 1, "b": 2}) == f"{PREFIX}/1/2/1"


def test_placeholder_in_the_query_is_filled():
    """A query in the path may hold placeholders; their values cannot add parameters."""
    assert target("/users?name={name}", {"name": "a&b=c"}) == f"{PREFIX}/users?name=a%26b%3Dc"


@pytest.mark.parametrize("value", ["", None, ".", "..", "../x", "x/..", "%2e%2e", "%2E%2e/x", "a\\..", "x\ud800", [1]])
def test_path_param_that_changes_the_path_is_refused(value):
    """An empty or dotted value would address another resource: ``DELETE /users/`` instead of one user."""
    assert "path_params['id']" in refused("/users/{id}", {"id": value})


def test_dot_segment_made_by_filling_is_refused():
    """The filled path is checked, too, not only each value."""
    assert "has a dot segment" in refused("/users/.%2{rest}/x", {"rest": "e"})


@pytest.mark.parametrize(
    ("path", "path_params", "part"),
    [
        ("/users/{id}", None, "the path '/users/{id}' needs 'id'; give path_params={'id': ...}"),
        ("/users/{id}/{post}", {"id": 1}, "needs 'post'; give path_params={'post': ...}"),
        ("/users/{id}", {"ID": 1}, "needs 'id'; give path_params={'id': ...} instead of 'ID'"),
        ("/users/{id}", {"id": 1, "extra": 2}, "path_params has 'extra', but the path '/users/{id}' has no such"),
        ("/users", {"id": 1}, "path_params has 'id', but the path '/users' has no such placeholder"),
        ("/users/{}", None, "needs ''"),
    ],
)
def test_placeholders_and_values_must_agree(path, path_params, part):
    """A missing or unused path parameter is named in the message."""
    assert part in refused(path, path_params)


@pytest.mark.parametrize(
    ("path", "path_params"), [("/users/{id}?token=canary", None), ("/users?token=canary", {"id": 1})]
)
def test_message_about_placeholders_hides_the_query(path, path_params):
    """The message shows the path, and never the query."""
    message = refused(path, path_params)
    assert "canary" not in message
    assert "/users" in message


# --- the query ---


@pytest.mark.parametrize(
    ("params", "pairs"),
    [
        ({}, []),
        ({"a": "b"}, [("a", "b")]),
        ({"a": ""}, [("a", "")]),
        ({"a": None}, []),
        ({"a": True, "b": False}, [("a", "true"), ("b", "false")]),
        ({"a": 1, "b": 1.5}, [("a", "1"), ("b", "1.5")]),
        ({"a": [1, None, "x", True]}, [("a", "1"), ("a", "x"), ("a", "true")]),
        ({"a": (1, 2)}, [("a", "1"), ("a", "2")]),
        ({"a": []}, []),
        ([("a", 1), ("b", 2), ("a", 3)], [("a", "1"), ("b", "2"), ("a", "3")]),
        ({"a": "b\r\nc&d=e"}, [("a", "b\r\nc&d=e")]),
    ],
)
def test_query_pairs_are_text(params, pairs):
    """Sequences are repeated, ``None`` is left out, booleans are in lower case."""
    assert list(query_pairs(params)) == pairs


@pytest.mark.parametrize("params", [{"q": "x\ud800y"}, {"\udfff": "x"}, {"q": {"a": 1}}, {"q": b"raw"}, {1: "x"}, 5])
def test_query_that_cannot_be_sent_is_refused(params):
    """A value is sent as a whole, or the call is refused."""
    assert "params" in refused("/users", params=params)


def test_params_are_added_to_the_query_of_the_path():
    """A query in the path stays, and comes first."""
    assert target("/users?page=2", params={"page": 3, "q": "a b"}) == f"{PREFIX}/users?page=2&page=3&q=a+b"


@given(st.text())
def test_query_value_stays_one_value(value):
    """Whatever text is passed as a query value is read back as it is."""
    assume(not re.search(r"[\ud800-\udfff]", value))
    url = build_url(BASE, "/users", None, {"q": value, "last": 1})
    assert list(url.query.items()) == [("q", value), ("last", "1")]


@pytest.mark.parametrize(
    "path", ["/A_%26_B", "/f%28x%29", "/http%3A%2F%2Fcdn", "/u%40h", "/%7Euser", "/a%2fb", "/100%25"]
)
@pytest.mark.parametrize("base", [BASE, None])
def test_escapes_stay_as_written(base, path):
    """A reserved character and its escape are not equivalent (RFC 3986 section 2.2)."""
    for query in ("", "?sig=ab%2Bc%3D&f=%2A%27s"):
        if base is None:
            assert str(build_url(None, f"https://h.example{path}{query}")) == f"https://h.example{path}{query}"
        else:
            assert target(path + query) == PREFIX + path + query
            assert target(path + query, params={"q": "a&b"}).startswith(PREFIX + path + query)


def test_escapes_in_the_base_stay_as_written():
    """A tenant may be named with a slash."""
    base = parse_base("https://h.example/tenants/a%2Fb%3A%7E")
    url = build_url(base, "/x")
    assert url.raw_path == "/tenants/a%2Fb%3A%7E/x"
    assert rebase(url, parse_base("https://i.example/tenants/a%2Fb%3A%7E")).raw_path == url.raw_path


@pytest.mark.parametrize(("value", "segment"), [("7;role=admin", "7%3Brole%3Dadmin"), ("a:b@c&d", "a%3Ab%40c%26d")])
def test_path_param_stays_quoted(value, segment):
    """Servlet containers take what follows a semicolon for parameters of the segment."""
    assert target("/users/{id}/keys", {"id": value}) == f"{PREFIX}/users/{segment}/keys"


@pytest.mark.parametrize("value", ["..;", "..;x", ".;", "..;/keys", "%2e%2e;", "a/..;b"])
def test_path_param_with_dot_segment_and_parameters_is_refused(value):
    """Tomcat resolves ``/users/..;/keys`` to ``/keys``."""
    assert "dot segment" in refused("/users/{id}/keys", {"id": value})


class Route(str, Enum):  # noqa: UP042 - unlike that of a StrEnum, its str() is not its value
    USERS = "/users"
    NAME = "name"


def test_member_of_an_enum_is_its_value():
    """``class Route(str, Enum)``: its ``str()`` is the name of a class, which as a path named another host."""
    assert target(Route.USERS) == f"{PREFIX}/users"
    assert target("/{name}", {Route.NAME: Route.NAME}, {Route.NAME: Route.NAME}) == f"{PREFIX}/name?name=name"


# --- without a base URL ---


def test_absolute_url_is_called_as_it_is():
    """Without a base URL the path is an absolute URL; its fragment is dropped."""
    url = build_url(None, "https://h.example/{id}?a=1#x", {"id": "a/b"}, {"b": 2})
    assert str(url) == "https://h.example/a%2Fb?a=1&b=2"


@pytest.mark.parametrize("path", ["/users", "users", "ftp://h/x", "http://", "https:///x", "http:users", "//h/x", ""])
def test_relative_url_without_base_is_refused(path):
    """Without a base URL only an absolute http(s) URL can be called."""
    assert "this client has no base URL" in refused(path, base=None)


@pytest.mark.parametrize(
    "path", ["http://user:canary@127.0.0.1:80/", "http://user:canary@h/{id}", "http://u:canary@h:x/"]
)
def test_credentials_in_the_url_are_refused(path):
    """Credentials belong into ``auth=``; the message does not repeat them."""
    assert "canary" not in refused(path, base=None)


@pytest.mark.parametrize("path", ["https://h/../x", "https://h/%2e%2e/x", "https://h/a b", "https://h\\@evil.example/"])
def test_absolute_url_is_checked_like_a_path(path):
    """Dot segments, spaces and backslashes are refused without a base URL, too."""
    refused(path, base=None)


# --- for any text ---

_PIECES = re.findall(
    r"\S+", "/ // . .. %2e %2E %2f %5c %25 \\ : :// http: @ ? # a evil.example { } {id} ; % %zz [ ] ． 。 ／"
)
_HOSTILE = st.lists(st.sampled_from([*_PIECES, " ", "\r\n", "\x00", "\ud800", "\u202e"]), max_size=8).map("".join)
_TEXT = st.one_of(_HOSTILE, st.text(max_size=12), st.text(alphabet="./\\%2eEfF:@?#a", max_size=12))


def _stays_below(url):
    """Whether a server that decodes first, drops ``;parameters`` and takes a backslash for a slash ends below."""
    segments = []
    for segment in re.split(r"[/\\]", unquote(url.raw_path)):
        name = segment.partition(";")[0]
        if name == "..":
            del segments[-1:]
        elif name != ".":
            segments.append(segment)
    return "/".join(segments).startswith(PREFIX)


@given(path=_TEXT)
@example("/../a://b")
@example("/..%2f..%2fadmin")
def test_any_path_stays_below_the_base(path):
    """Whatever text is passed as a path, origin and path prefix are those of the base, or the call is refused."""
    try:
        url = build_url(BASE, path)
    except InvalidRequestError:
        return
    assert url.origin() == URL(ORIGIN)
    assert url.user is None
    assert _stays_below(url)


@given(value=_TEXT)
def test_any_path_param_stays_one_segment(value):
    """Whatever text is passed as a parameter fills exactly its place, or the call is refused."""
    try:
        url = build_url(BASE, "/users/{id}/posts", {"id": value})
    except InvalidRequestError:
        return
    assert url.origin() == URL(ORIGIN)
    assert url.raw_query_string == ""
    before, segment, after = url.raw_path.rsplit("/", 2)
    assert (before, after) == (f"{PREFIX}/users", "posts")
    assert unquote(segment) == value
    assert _stays_below(url)


@given(value=st.text(min_size=1, max_size=12))
def test_rebased_url_differs_in_its_origin_only(value):
    """A call means the same on every endpoint."""
    assume(not re.search(r"[\ud800-\udfff]", value) and value not in (".", ".."))
    try:
        url = build_url(BASE, "/{id}", {"id": value}, {"q": value})
    except InvalidRequestError:  # a dot segment within the value
        return
    rebased = rebase(url, URL(f"https://b.example{PREFIX}"))
    assert (rebased.raw_path, rebased.raw_query_string) == (url.raw_path, url.raw_query_string)
