"""What of a reply is shown on a terminal."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from tests.unit.cli.support import drawn

from resilient_client._cli.reply import format_body, format_head
from resilient_client._cli.text import format_seconds, sanitize, shorten_middle


def shown(content: bytes, media: str = "") -> list[str] | None:
    """The lines of a body."""
    picture = format_body(content, media, content.decode("utf-8", "replace"))
    return None if picture is None else drawn(picture)


@pytest.mark.parametrize("media", ["application/json", "application/problem+json; charset=utf-8", ""])
def test_json_is_indented(media: str) -> None:
    """A JSON body is laid out, its letters as they are."""
    assert shown(b'{"b":"\xc3\xa9","a":[1.5]}', media) == ["{", '  "b": "é",', '  "a": [', "    1.5", "  ]", "}"]


def test_json_is_coloured() -> None:
    """On a terminal with colours, keys and values are told apart."""
    picture = format_body(b'{"a": 1}', "application/json", '{"a": 1}')
    assert picture is not None
    assert "\x1b[" in "".join(drawn(picture, colours=True))


@pytest.mark.parametrize("media", ["application/json", "text/plain", "application/soap+xml"])
def test_text_that_is_no_json_is_shown_as_it_is(media: str) -> None:
    """Whatever a server calls JSON: what cannot be laid out is shown as it came."""
    assert shown(b"{oops\n", media) == ["{oops"]


@pytest.mark.parametrize(
    ("content", "media"), [(bytes(range(256)), "image/png"), (b"a\x00b", ""), (b"\xff\xfe", "application/octet-stream")]
)
def test_binary_body_is_not_for_a_terminal(content: bytes, media: str) -> None:
    """Bytes that are no text are never dumped."""
    assert shown(content, media) is None


def test_body_cannot_command_the_terminal() -> None:
    """Escape sequences of a body are replaced, in JSON as in text."""
    assert shown(b"\x1b]0;gotcha\x07\xc2\x9b2J", "text/plain") == ["�]0;gotcha��2J"]
    assert "\x9b" not in "".join(shown(b'"\xc2\x9b2J"', "application/json") or ())


def test_header_cannot_command_the_terminal() -> None:
    """A header is shown in one line, without control characters."""
    headers = CIMultiDictProxy(CIMultiDict({"X-One": "\x1b[2Jx"}))
    assert format_head(200, headers).plain == "200 OK\nX-One: �[2Jx"


def test_direction_marks_are_replaced() -> None:
    """Text cannot pretend to be other text by turning the direction of reading."""
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
def test_duration_is_shown_in_few_digits(seconds: float, expected: str) -> None:
    """Two or three digits tell enough."""
    assert format_seconds(seconds) == expected


@pytest.mark.parametrize(("width", "expected"), [(10, "0123456789"), (9, "0123…6789"), (4, "01…9"), (1, "…")])
def test_long_text_loses_its_middle(width: int, expected: str) -> None:
    """Both ends stay."""
    assert shorten_middle("0123456789", width) == expected
