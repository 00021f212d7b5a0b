"""Escapes stay as they are written; only what may not stand in a URL is escaped."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client._policies.http.quoting import quote_path, quote_query, split_reference

ESCAPES = "".join(f"%{byte:02x}%{byte:02X}" for byte in range(256))


@pytest.mark.parametrize("quoted", [quote_path, quote_query])
def test_escape_stays_as_written(quoted):
    """No escape is decoded, and none changes its case: a signature covers the very bytes."""
    assert quoted(ESCAPES) == ESCAPES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", "a%20b"),
        ("caf\xe9", "caf%C3%A9"),
        ("caf\udce9", "caf%E9"),
        ("100%", "100%25"),
        ("%zz%4", "%25zz%254"),
        ('"<>^`{|}', "%22%3C%3E%5E%60%7B%7C%7D"),
        ("[1]", "%5B1%5D"),
        ("-._~!$&'()*+,;=:@/", "-._~!$&'()*+,;=:@/"),
    ],
)
def test_other_character_is_escaped(text, expected):
    """What RFC 3986 does not allow is escaped as its bytes: UTF-8, or the byte that a header carried."""
    assert quote_path(text) == expected
    assert quote_query(text) == expected


def test_question_mark_is_escaped_in_a_path_only():
    """In a query it is an ordinary character (RFC 3986 section 3.4)."""
    assert (quote_path("a?b"), quote_query("a?b")) == ("a%3Fb", "a?b")


@given(st.text().filter(lambda text: not re.search(r"[\ud800-\udfff]", text)))
def test_quoted_text_is_ascii_and_means_the_same(text):
    """Quoting twice changes nothing, and what a server decodes is what it would have decoded before."""
    for quoted in (quote_path, quote_query):
        once = quoted(text)
        assert once.isascii()
        assert quoted(once) == once
        assert unquote_to_bytes(once) == unquote_to_bytes(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://h:1/p?q#f", ("https", "h:1", "/p", "q")),
        ("//h", (None, "h", "", None)),
        ("?q", (None, None, "", "q")),
        ("/p%2F?", (None, None, "/p%2F", "")),
        ("mailto:x", ("mailto", None, "x", None)),
        ("http:///p", ("http", "", "/p", None)),
        ("a\nb", (None, None, "a\nb", None)),
    ],
)
def test_reference_is_split_as_written(text, parts):
    """The parts of RFC 3986 appendix B, without the fragment."""
    assert split_reference(text) == parts
