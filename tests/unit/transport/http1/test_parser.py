"""How the parser reads the head of a response, with the section of the RFC that asks for it (9112 unless said)."""

from __future__ import annotations

import tracemalloc

import pytest
from tests.unit.transport.http1.replies import OK, ok, parse

from resilient_client._transport.http1 import fields
from resilient_client._transport.http1.parser import MAX_EMPTY_LINES, MAX_INTERIM_RESPONSES, ResponseParser

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


# -- the status line (RFC 9112 section 4)


def test_response_with_a_length_is_complete() -> None:
    """The usual response: status, fields in order, content, and a connection to use again."""
    got = parse(ok(b"Content-Type: text/plain\r\nContent-Length: 5", b"hello"))
    assert got == (200, [("Content-Type", "text/plain"), ("Content-Length", "5")], b"hello", True, True, None, False)


@pytest.mark.parametrize("phrase", [b"", b" ", b" OK", b" Not What You Expect", b" \xe4\xf6", b" a\tb", b"  "])
def test_reason_phrase_means_nothing(phrase: bytes) -> None:
    """A client ignores it (section 4). Some servers leave out the space in front of it, too."""
    got = parse(b"HTTP/1.1 200" + phrase + b"\r\nContent-Length: 0\r\n\r\n")
    assert (got.status, got.complete, got.reusable) == (200, True, True)


@pytest.mark.parametrize(
    "start",
    [
        b"RTSP/1.0 200 OK",
        b"ICY 200 OK",
        b"HTTP/2 200",
        b"HTTP/2.0 200 OK",
        b"http/1.1 200 OK",
        b"<html>",
        b"HTTP/0.9 200",
    ],
)
def test_other_protocol_is_refused_at_once(start: bytes) -> None:
    """The name is case-sensitive and the major version is 1 (section 2.3). No line end is waited for."""
    assert parse(start).detail == "no HTTP/1 status line"
    assert parse(start + b"\r\nContent-Length: 0\r\n\r\n").detail == "no HTTP/1 status line"


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1 OK",
        b"HTTP/1.1 20",
        b"HTTP/1.1 2000",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 -20 OK",
        b"HTTP/1.1 2\xb2\xb2 OK",
        b"HTTP/1.11 200 OK",
        b"HTTP/1.x 200 OK",
        b"HTTP/1.1 200 O\0K",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 OK\r",
    ],
)
def test_malformed_status_line_is_refused(line: bytes) -> None:
    """One space, three digits, one space, and no NUL or CR (section 4)."""
    got = parse(line + b"\r\nContent-Length: 0\r\n\r\n")
    assert (got.reason, got.detail, got.status) == ("violation", "a malformed status line", 0)


@pytest.mark.parametrize("version", [b"1.1", b"1.2", b"1.9"])
def test_higher_minor_version_is_read_as_1_1(version: bytes) -> None:
    """RFC 9110 section 2.5."""
    got = parse(b"HTTP/" + version + b" 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (got.complete, got.reusable) == (True, True)


@pytest.mark.parametrize("status", ["000", "099"])
def test_status_below_100_is_refused(status: str) -> None:
    """RFC 9110 section 15: such a code is invalid."""
    assert parse(f"HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n".encode()).detail == f"status {status}"


@pytest.mark.parametrize("status", [299, 450, 599, 600, 999])
def test_unknown_status_is_read(status: int) -> None:
    """RFC 9110 section 15: an unknown code counts as the first of its class, one from 600 on as a server error."""
    assert parse(f"HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n".encode()).status == status


@pytest.mark.parametrize("empty", [b"\r\n", b"\n", b"\r\n\r\n", b"\r\n" * (MAX_EMPTY_LINES // 2)])
def test_empty_lines_before_a_status_line_are_read_over(empty: bytes) -> None:
    """Section 2.2 asks servers to do so. Some servers send an empty line after their content."""
    assert parse(empty + ok(b"Content-Length: 2", b"hi")).body == b"hi"


def test_endless_empty_lines_are_refused() -> None:
    """They would keep a call waiting for a status line."""
    assert parse(b"\r\n" * 129).detail == "empty lines in place of a status line"


# -- interim responses (RFC 9110 section 15.2)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_interim_responses_are_read_over(method: str) -> None:
    """They have no content, whatever they announce, and a final response follows."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
    got = parse(hints * 2 + ok(b"Content-Length: 2", b"hi" if method == "GET" else b""), method)
    assert (got.status, got.headers, got.complete) == (200, [("Content-Length", "2")], True)
    assert (got.reusable, got.continued) == (True, False)


def test_continue_is_noted_when_its_head_is_complete() -> None:
    """The body may be sent then (RFC 9110 section 10.1.1)."""
    assert not parse(b"HTTP/1.1 100 Continue\r\n").continued
    got = parse(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert (got.continued, got.status, got.complete, got.failure) == (True, 0, False, None)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_number_of_interim_responses_is_bounded(method: str) -> None:
    """A server that sends nothing else would hold the call and the event loop."""
    one, final = b"HTTP/1.1 102 Processing\r\n\r\n", ok(b"Content-Length: 0")
    assert parse(one * MAX_INTERIM_RESPONSES + final, method).complete
    assert parse(one * (MAX_INTERIM_RESPONSES + 1) + final, method).detail == "more than 32 interim responses"


def test_interim_responses_are_counted_per_response() -> None:
    """A connection that serves many calls, each with some, is not used up."""
    parser = ResponseParser(8190, 128)
    for _ in range(10):
        parser.expect("GET")
        parser.feed(b"HTTP/1.1 102 Processing\r\n\r\n" * 20 + ok(b"Content-Length: 0"))
        assert parser.complete


def test_switch_of_protocols_is_refused() -> None:
    """The client never asks for it (RFC 9110 section 7.8)."""
    got = parse(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc")
    assert got.detail == "101 Switching Protocols, unasked"


def test_upgrade_offered_in_a_final_response_is_ignored() -> None:
    """It is an offer for later requests (RFC 9110 section 7.8)."""
    assert parse(ok(b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2", b"hi")).reusable


# -- fields (RFC 9112 section 5)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (b"A: b", "A", "b"),
        (b"A:b", "A", "b"),
        (b"A:", "A", ""),
        (b"A: \t b \t ", "A", "b"),
        (b"A: b c\td", "A", "b c\td"),
        (b"A: b: c", "A", "b: c"),
        (b"!#$%&'*+-.^_`|~09aZ: b", "!#$%&'*+-.^_`|~09aZ", "b"),
        (b"A: \xc3\xa4", "A", "ä"),
        (b"A: \xe4", "A", "\udce4"),
        (b"A: \xc2\xa0", "A", "\xa0"),
        (b"A \t: b", "A", "b"),
    ],
)
def test_field_line_is_split(line: bytes, name: str, value: str) -> None:
    """Whitespace around the value goes (section 5.1), inside it stays, and no byte is lost (RFC 9110 section 5.5).

    Whitespace before the colon goes, too, as section 5.1 asks a proxy to do with a response.
    """
    got = parse(ok(line + b"\r\nContent-Length: 0"))
    assert (got.headers[0], got.complete) == ((name, value), True)


@pytest.mark.parametrize("byte", [0, 10, 13])
def test_dangerous_character_in_a_value_is_refused(byte: int) -> None:
    """RFC 9110 section 5.5: NUL, CR and LF. LF is the end of a line, so it makes a line without a colon."""
    got = parse(ok(b"A: b" + bytes([byte]) + b"c\r\nContent-Length: 0"))
    expected = "a header line without a colon" if byte == 10 else "NUL, CR or LF in a header field"
    assert (got.reason, got.detail) == ("violation", expected)


def test_other_control_characters_in_a_value_are_kept() -> None:
    """RFC 9110 section 5.5 allows it, and other clients do so."""
    value = bytes({*range(1, 32), 127} - {10, 13})
    assert parse(ok(b"A: b" + value + b"c\r\nContent-Length: 0")).headers[0] == ("A", f"b{value.decode()}c")


@pytest.mark.parametrize(
    "line", [b": b", b"A B: c", b"A\0: b", b"A(b): c", b"\xe4: b", b'"A": b', b"A\x0b: b", b"\r: b"]
)
def test_name_that_is_not_a_token_is_refused(line: bytes) -> None:
    """RFC 9110 section 5.1."""
    assert parse(ok(line + b"\r\nContent-Length: 0")).detail == "a header field name that is not a token"


def test_line_without_a_colon_is_refused() -> None:
    """RFC 9112 section 5."""
    assert parse(ok(b"Nonsense\r\nContent-Length: 0")).detail == "a header line without a colon"


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        (b"A: b\r\n c", "b c"),
        (b"A: b \r\n \t c", "b  c"),
        (b"A:\r\n b", "b"),
        (b"A: b\r\n \r\n\tc", "b  c"),
        (b"A: b\r\n ", "b"),
        (b"A: b\r\n c: d", "b c: d"),
        (b"A: b\n c", "b c"),
    ],
)
def test_folded_line_continues_the_field(lines: bytes, value: str) -> None:
    """A space takes the place of the line end (RFC 9112 section 5.2)."""
    got = parse(ok(lines + b"\r\nContent-Length: 2", b"hi"))
    assert (got.headers, got.body) == ([("A", value), ("Content-Length", "2")], b"hi")


@pytest.mark.parametrize(
    "lines", [b"Content-Length:\r\n 2", b"Content-Length: \r\n\t2\r\n ", b"Transfer-Encoding:\r\n chunked"]
)
def test_folded_framing_field_counts(lines: bytes) -> None:
    """What a field means does not depend on how it is folded."""
    content = b"hi" if lines.startswith(b"C") else b"2\r\nhi\r\n0\r\n\r\n"
    got = parse(ok(lines, content))
    assert (got.body, got.complete, got.reusable) == (b"hi", True, True)


@pytest.mark.parametrize("lines", [b" A: b", b"\tA: b", b" ", b"A\r\n : b"])
def test_folded_line_without_a_field_is_refused(lines: bytes) -> None:
    """RFC 9112 section 2.2: whitespace before the first field makes a message invalid."""
    assert parse(ok(lines + b"\r\nContent-Length: 0")).detail == "a folded line that continues no field"


def test_bare_lf_ends_a_line_of_a_head() -> None:
    """RFC 9112 section 2.2, also mixed with CRLF, and however the content looks."""
    for head in (b"HTTP/1.1 200 OK\nA: b\nContent-Length: 4\n\n", b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 4\r\n\n"):
        got = parse(head + b"\r\n\r\n")
        assert (got.headers, got.body, got.reusable) == ([("A", "b"), ("Content-Length", "4")], b"\r\n\r\n", True)


# -- limits of the head


def test_field_may_be_as_large_as_the_limit() -> None:
    """``max_field_size`` counts the bytes of the line without its end."""
    line = b"A: " + b"x" * 97
    assert parse(ok(line + b"\r\nContent-Length: 0"), limits=(100, 10)).complete
    got = parse(ok(line + b"x\r\nContent-Length: 0"), limits=(100, 10))
    assert (got.reason, got.detail) == ("field too large", "a field above max_field_size=100 bytes")


def test_limit_holds_for_known_lines() -> None:
    """A client with a higher limit may have seen the line before."""
    reply = ok(b"X-Known: " + b"x" * 100 + b"\r\nContent-Length: 0")
    for _ in range(3):
        assert parse(reply).complete
    assert parse(reply, limits=(100, 10)).reason == "field too large"


def test_folded_lines_count_together() -> None:
    """A limit per line would let a field grow without end."""
    assert (
        parse(ok(b"A: b\r\n" + b" " + b"x" * 50 + b"\r\n " + b"x" * 50), limits=(100, 10)).reason == "field too large"
    )


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 " + b"O" * 100, OK + b"A: " + b"x" * 100, OK + b"x" * 101])
def test_endless_line_is_refused_before_it_ends(begun: bytes) -> None:
    """Otherwise it would be kept until the memory is full."""
    got = parse(begun, limits=(100, 10))
    what = "a status line" if begun.startswith(b"HTTP/1.1 200 OO") else "a field"
    assert got.detail == f"{what} above max_field_size=100 bytes"


def test_number_of_fields_is_bounded() -> None:
    """``max_headers`` counts lines; each interim response and the trailer section have as many of their own."""
    hints = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </a>\r\n" * 10 + b"\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n" + b"A: b\r\n" * 9 + b"\r\n0\r\n"
    assert parse(hints + OK + chunked + b"A: b\r\n" * 10 + b"\r\n", limits=(100, 10)).complete
    for reply in (hints + OK + chunked + b"A: b\r\n" * 11 + b"\r\n", OK + b"A: b\r\n" * 11 + b"\r\n"):
        got = parse(reply, limits=(100, 10))
        assert (got.reason, got.detail) == ("too many fields", "more fields than max_headers=10")


# -- known lines


def test_known_lines_are_dropped_one_by_one() -> None:
    """Many hosts with lines of their own do not make every response expensive, and memory is bounded."""
    recent: fields.Recent[int] = fields.Recent(3)
    for number in range(5):
        recent.add(b"%d" % number, number)
    assert recent == {b"2": 2, b"3": 3, b"4": 4}


def test_line_is_kept_when_it_comes_again() -> None:
    """Most values that never come again are tokens and ids, and some are secrets."""
    reply = ok(b"X-Once: 4e1b\r\nContent-Length: 0")
    parse(reply)
    assert b"X-Once: 4e1b" not in fields.known_lines
    parse(reply)
    assert fields.known_lines[b"X-Once: 4e1b"] == ("X-Once", "4e1b")
    assert parse(reply).headers == [("X-Once", "4e1b"), ("Content-Length", "0")]


def test_known_lines_are_bounded_in_number_and_size() -> None:
    """A thousand lines of 256 bytes at most."""
    for number in range(3000):
        for _ in range(2):
            parse(ok(b"X-Bound: %d\r\nX-Long: " % number + b"x" * 300 + b"\r\nContent-Length: 0"))
    assert len(fields.known_lines) < 1050
    assert max(map(len, fields.known_lines)) <= fields.MAX_KNOWN_LINE


def test_memory_of_what_is_known_is_bounded() -> None:
    """A server that sends something else each time cannot fill the memory: names, lines and values of the framing."""

    def send(number: int) -> None:
        """A head of 8 KB lines that never come again, each sent twice."""
        filler = b"%d" % number + b"x" * 8000
        for _ in range(2):
            parse(ok(filler + b": a\r\nB: " + filler + b"\r\nConnection: " + filler + b"\r\nContent-Length: 0"))

    send(0)
    tracemalloc.start()
    try:
        for number in range(1, 300):
            send(number)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 200_000
