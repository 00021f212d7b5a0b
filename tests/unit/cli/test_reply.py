"""The form of a reply on a terminal."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from tests.unit.cli.support import drawn

from resilient_client._cli.reply import format_body, format_head
from resilient_client._cli.text import format_seconds, sanitize, shorten_middle


def shown(content: bytes, media: str = "") -> list[str] | None:
    """Return the lines of a body, or ``None`` if it is binary."""
    picture = format_body(content, media, content.decode("utf-8", "replace"))
    return None if picture is None else drawn(picture)


@pytest.mark.parametrize("media", ["application/json", "application/problem+json; charset=utf-8", ""])
def test_json_is_indented(media: str) -> None:
    """A JSON body is indented, and its characters are not escaped."""
    assert shown(b'{"b":"\xc3\xa9","a":[1.5]}', media) == ["{", '  "b": "é",', '  "a": [', "    1.5", "  ]", "}"]


def test_json_is_coloured() -> None:
    """On a terminal with colours, keys and values have different colours."""
    picture = format_body(b'{"a": 1}', "application/json", '{"a": 1}')
    assert picture is not None
    assert "\x1b[" in "".join(drawn(picture, colours=True))


@pytest.mark.parametrize("media", ["application/json", "text/plain", "application/soap+xml"])
def test_invalid_json_is_shown_unchanged(media: str) -> None:
    """A body that is declared as JSON but cannot be parsed is shown as it is."""
    assert shown(b"{oops\n", media) == ["{oops"]


@pytest.mark.parametrize(
    ("content", "media"), [(bytes(range(256)), "image/png"), (b"a\x00b", ""), (b"\xff\xfe", "application/octet-stream")]
)
def test_binary_body_has_no_text_form(content: bytes, media: str) -> None:
    """Bytes that are not text are never printed."""
    assert shown(content, media) is None


def test_body_is_sanitized() -> None:
    """Escape sequences in a body are replaced, in JSON and in text."""
    assert shown(b"\x1b]0;gotcha\x07\xc2\x9b2J", "text/plain") == ["�]0;gotcha��2J"]
    assert "\x9b" not in "".join(shown(b'"\xc2\x9b2J"', "application/json") or ())


def test_header_is_sanitized() -> None:
    """A header is shown on one line, without control characters."""
    headers = CIMultiDictProxy(CIMultiDict({"X-One": "\x1b[2Jx"}))
    assert format_head(200, headers).plain == "200 OK\nX-One: �[2Jx"


def test_direction_marks_are_replaced() -> None:
    """Text cannot disguise itself by changing the text direction."""
    assert sanitize("ab\u202edc") == "ab�dc"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.00004, "0.0 ms"),
        (0.0049, "4.9 ms"),
        (0.00996, "10 ms"),
        (0.142, "142 ms"),
        (0.9996, "1.00 s"),
        (9.996, "10.0 s"),
        (75.2, "75 s"),
    ],
)
def test_duration_has_two_or_three_digits(seconds: float, expected: str) -> None:
    """Milliseconds below one second, seconds above."""
    assert format_seconds(seconds) == expected


@pytest.mark.parametrize(("width", "expected"), [(10, "0123456789"), (9, "0123…6789"), (4, "01…9"), (1, "…")])
def test_long_text_loses_its_middle(width: int, expected: str) -> None:
    """Both ends are kept."""
    assert shorten_middle("0123456789", width) == expected
