"""A ``Content-Type`` is read as RFC 9110 section 8.3.1 writes it."""

import pytest

from resilient_client._core.media_type import parse_media_type


@pytest.mark.parametrize(
    ("text", "essence", "charset"),
    [
        ("application/json", "application/json", None),
        ("Application/Problem+JSON", "application/problem+json", None),
        ("text/plain;charset=UTF-8", "text/plain", "utf-8"),
        ('text/plain ; Charset="utf-16" ; x=y', "text/plain", "utf-16"),
        ("text/plain; x-charset=latin-1", "text/plain", None),
        ('text/plain; title="a;charset=latin-1"; charset=utf-8', "text/plain", "utf-8"),
        (r'text/plain; title="\"; charset=latin-1"', "text/plain", None),
        ("text/plain; charset=utf-8; charset=latin-1", "text/plain", "utf-8"),
        ("text/plain; charset = latin-1", "text/plain", "latin-1"),
        ("text/plain;;charset=latin-1;", "text/plain", "latin-1"),
        ("text/plain; charset", "text/plain", None),
        ("application/problem+jsonx", "application/problem+jsonx", None),
        ("application/problem+json, text/plain", "", None),
        ("charset=utf-8", "", None),
        ("text/html; x; charset=latin-1", "text/html", "latin-1"),
        ("text/html; q=a b; charset=latin-1", "text/html", "latin-1"),
        ("text; charset=latin-1", "", "latin-1"),
        ('text/html; x="open; charset=latin-1', "text/html", None),
        ("", "", None),
    ],
)
def test_media_type_is_parsed(text, essence, charset):
    """Names are case-insensitive, and a parameter is found by its whole name outside quotes."""
    assert parse_media_type(text) == (essence, charset)


@pytest.mark.parametrize(
    ("text", "problem"), [("Application/Problem+JSON;v=1", True), ("application/problem+jsonx", False)]
)
def test_problem_is_its_whole_type(text, problem):
    """Another type that begins alike is another type."""
    assert parse_media_type(text).is_problem is problem
