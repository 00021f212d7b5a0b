"""Whether a redirect is followed and where it leads, as a plain function."""

import pytest
from multidict import CIMultiDict
from yarl import URL

from resilient_client._policies.http.redirect import Hop, Refusal, next_hop

ASKED = URL("https://h.example/a/b?x=1")


def decide(location, *, visited=(ASKED,), max_redirects=5, mode="any"):
    """The decision after a 302 of a GET."""
    return next_hop(
        status=302,
        location=location,
        method="GET",
        url=ASKED,
        headers=CIMultiDict(),
        has_body=False,
        sendable=True,
        visited=visited,
        mode=mode,
        max_redirects=max_redirects,
    )


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/o?sig=ab%2Bc%3D&f=%2A%27%27s", "https://h.example/o?sig=ab%2Bc%3D&f=%2A%27%27s"),
        ("https://s3.example/k%2Fey%7e?X=%2f", "https://s3.example/k%2Fey%7e?X=%2f"),
        ("c%3Ad", "https://h.example/a/c%3Ad"),
        ("../c", "https://h.example/c"),
        ("?y=%28", "https://h.example/a/b?y=%28"),
        ("//other.example", "https://other.example"),
        ("HTTPS://Other.Example:443/x", "https://other.example/x"),
        ("/caf\udce9", "https://h.example/caf%E9"),
        ("/caf\xe9 1", "https://h.example/caf%C3%A9%201"),
        (" /padded ", "https://h.example/padded"),
        ("/p#fragment", "https://h.example/p"),
        ("/\\evil.example", "https://h.example/%5Cevil.example"),
        ("https://user:pw@h.example/p", "https://h.example/p"),
        ("https://h.example/a/../b", "https://h.example/b"),
    ],
)
def test_target_is_asked_for_as_written(location, target):
    """Relative references are resolved by RFC 3986 section 5.2, and no escape is rewritten."""
    hop = decide(location)
    assert isinstance(hop, Hop)
    assert str(hop.url) == target


@pytest.mark.parametrize("location", ["", " ", "#top", "\t"])
def test_empty_location_is_refused(location):
    """It leads back to the same URL, which would redirect again."""
    refusal = decide(location)
    assert isinstance(refusal, Refusal)
    assert "empty" in refusal.reason


@pytest.mark.parametrize("location", ["mailto:a@b", "http:x", "https://", "http://[", "ftp://h/", "https://xn--/"])
def test_unusable_location_is_refused(location):
    """Only an http(s) URL with a host can be asked."""
    refusal = decide(location)
    assert isinstance(refusal, Refusal)
    assert "not an http(s) URL" in refusal.reason


def test_long_chain_is_not_called_a_circle():
    """One redirect too many to a new URL names the setting that allows more."""
    visited = [ASKED, *(URL(f"https://h.example/{hop}") for hop in range(3))]
    refusal = decide("/new", visited=visited, max_redirects=3)
    assert isinstance(refusal, Refusal)
    assert "max_redirects=3" in refusal.reason
    assert refusal.endless
    assert isinstance(decide("/new", visited=visited, max_redirects=4), Hop)


def test_circle_is_called_a_circle():
    """One redirect too many to a URL that was asked before names that URL, without its query."""
    visited = [ASKED, URL("https://h.example/c?token=secret")]
    refusal = decide("/c?token=secret", visited=visited, max_redirects=1)
    assert isinstance(refusal, Refusal)
    assert "circle, back to https://h.example/c" in refusal.reason
    assert "secret" not in refusal.reason
    assert refusal.endless
