"""Base URLs: which are accepted, and which sets of endpoints serve the same."""

from enum import Enum

import pytest
from yarl import URL

from resilient_client._core.errors import ConfigurationError
from resilient_client._policies.http.urls import parse_base, parse_endpoints, rebase


class Base(str, Enum):  # noqa: UP042 - unlike that of a StrEnum, its str() is not its value
    WITH_SPACE = "https://api.example.com/ a"


# --- base URLs ---


@pytest.mark.parametrize(
    "text",
    [
        "https://api.example.com",
        "http://localhost:8080/",
        "HTTPS://API.example.com/v1/",
        "https://[::1]:8443/v1",
        "https://bücher.example/a%2Fb",
    ],
)
def test_base_is_accepted(text):
    """Any http or https URL with a host is a base URL."""
    assert parse_base(text) == URL(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "needs the scheme http or https and a host"),
        ("api.example.com", "needs the scheme http or https and a host"),
        ("ftp://api.example.com", "needs the scheme http or https and a host"),
        ("https://", "needs the scheme http or https and a host"),
        ("//api.example.com", "needs the scheme http or https and a host"),
        ("https://api.example.com/a b", "without spaces"),
        ("https://api.example.com/\n", "without spaces"),
        (Base.WITH_SPACE, "without spaces"),
        ("https://api.example.com:port", "is not a URL"),
        (5, "base URL '5' is not a URL"),
        ("https://ada:secret@api.example.com", "https://api.example.com carries credentials; pass auth="),
        ("https://api.example.com/v1?key=secret", "has a query or fragment; pass params="),
        ("https://api.example.com/v1#secret", "has a query or fragment; pass params="),
        ("https://api.example.com/..%2fx", "the path has a dot segment"),
    ],
)
def test_base_is_refused_with_a_reason(text, part):
    """What cannot be a base URL is a wrong setting; the message never shows a secret."""
    with pytest.raises(ConfigurationError) as caught:
        parse_base(text)
    assert part in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["/v1/../x", "/v1/%2e%2e/x", "/./x"])
def test_base_with_dot_segments_is_refused(path):
    """Nobody writes them on purpose, and a server may read them in another way."""
    with pytest.raises(ConfigurationError, match="dot segment"):
        parse_base(f"https://api.example.com{path}")


@pytest.mark.parametrize("text", ["https://ada:secret@", "ada:secret@api.example.com", "https://ada:secret@h:port"])
def test_base_that_does_not_parse_shows_no_credentials(text):
    """Text before an at sign may be a password, even in a URL that cannot be parsed."""
    with pytest.raises(ConfigurationError) as caught:
        parse_base(text)
    assert "secret" not in str(caught.value)


# --- endpoints ---

A, B = "https://a.example/v1", "https://b.example/v1"


def test_endpoints_keep_their_order():
    """The order counts for the strategy ``ordered``."""
    assert parse_endpoints([B, A]) == (URL(B), URL(A))
    assert parse_endpoints(iter((A,))) == (URL(A),)


@pytest.mark.parametrize(
    ("texts", "part"),
    [
        ([], "the list of endpoints is empty; give at least one base URL"),
        ([A, A], "endpoint https://a.example is given twice; give each once"),
        ([A, "https://a.example:443/v1"], "endpoint https://a.example is given twice"),
        ([A, "https://A.example/v1"], "endpoint https://a.example is given twice"),
        ([A, "https://b.example/v2"], "https://a.example/v1 and https://b.example/v2 differ in their path"),
        ([A, "https://b.example/v1/"], "differ in their path"),
        ([A, "http://b.example/v1"], "https://a.example and http://b.example differ in their scheme"),
        ([A, "b.example/v1"], "base URL 'b.example/v1' needs the scheme http or https"),
        ([A, "https://user:canary@b.example/v1"], "base URL https://b.example carries credentials"),
        ([A, 5], "base URL '5' is not a URL"),
        (A, "the endpoints are str; give a list of base URLs"),
        (b"https://a.example", "the endpoints are bytes; give a list of base URLs"),
        (5, "the endpoints are int; give a list of base URLs"),
    ],
)
def test_endpoints_are_refused_with_a_reason(texts, part):
    """None, one given twice, or such that a call would not mean the same on each."""
    with pytest.raises(ConfigurationError) as caught:
        parse_endpoints(texts)
    assert part in str(caught.value)
    assert "canary" not in str(caught.value)


def test_endpoints_on_other_ports_are_different():
    """An endpoint is scheme, host and port."""
    assert len(parse_endpoints(["https://a.example:1", "https://a.example:2"])) == 2


@pytest.mark.parametrize(
    ("text", "part"), [("https://c.example/v2", "differ in their path"), ("http://c.example/v1", "in their scheme")]
)
def test_endpoints_agree_with_the_model(text, part):
    """Endpoints that replace others must have the scheme and path of those."""
    with pytest.raises(ConfigurationError, match=part):
        parse_endpoints([text], URL(A))
    assert parse_endpoints(["https://c.example/v1"], URL(A)) == (URL("https://c.example/v1"),)


@pytest.mark.parametrize("path", ["/v1/a%2Fb", "/v1/%7Bx%7D?q=a%26b&r=%C3%BC", "/v1?next=https://x", "/v1/"])
def test_rebase_changes_the_origin_only(path):
    """Path and query go to the other endpoint exactly as they were encoded."""
    url = URL(f"https://a.example{path}", encoded=True)
    assert str(rebase(url, URL("http://b.example:81/v1"))) == f"http://b.example:81{path}"
