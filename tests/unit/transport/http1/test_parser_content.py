"""Where the parser sees a response end, and what becomes of the connection (sections of RFC 9112 unless said)."""

from __future__ import annotations

import tracemalloc

import pytest
from tests.unit.transport.http1.replies import OK, ok, parse

from resilient_client._transport.http1.parser import ResponseParser

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


# -- where the content ends (RFC 9112 section 6.3)


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404), ("HEAD", 204)]
)
@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"A: b",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: nonsense",
    ],
)
def test_response_without_content_ends_with_its_head(method: str, status: int, framing: bytes) -> None:
    """Rule 1: whatever its fields say. With faulty ones the connection is not used again."""
    got = parse(f"HTTP/1.1 {status} X\r\n".encode() + framing + b"\r\n\r\n", method)
    assert (got.status, got.complete, got.body, got.failure) == (status, True, b"", None)
    assert got.reusable == (b"nonsense" not in framing and b"5\r\nT" not in framing)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_bytes_after_a_response_without_content_are_an_excess(method: str, status: int) -> None:
    """The response is intact, the connection is not used again."""
    got = parse(f"HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\nhello".encode(), method)
    assert (got.status, got.complete, got.body, got.reusable) == (status, True, b"", False)


@pytest.mark.parametrize(
    ("framing", "content", "body", "reusable"),
    [
        (b"A: b", b"", b"", True),
        (b"A: b", b"unframed", b"", False),
        (b"Content-Length: 0", b"", b"", True),
        (b"Content-Length: 2", b"hi", b"hi", True),
        (b"Transfer-Encoding: chunked", b"0\r\n\r\n", b"", True),
    ],
)
def test_reset_content_is_not_waited_for(framing: bytes, content: bytes, body: bytes, reusable: bool) -> None:
    """A 205 has no content (RFC 9110 section 15.3.6). What its fields frame is read, or it would pass for a reply."""
    got = parse(b"HTTP/1.1 205 Reset Content\r\n" + framing + b"\r\n\r\n" + content)
    assert (got.complete, got.body, got.reusable) == (True, body, reusable)


@pytest.mark.parametrize("excess", [b"x", b"HTTP/1.1 200 OK\r\n", b"\r\n\r\nx", b"\0"])
@pytest.mark.parametrize("fields", [b"Content-Length: 2", b"Content-Length: 2\r\nConnection: close"])
def test_excess_costs_the_connection_and_nothing_else(fields: bytes, excess: bytes) -> None:
    """Content-Length was too small, or the server is confused. Its response is complete all the same."""
    whole = ok(fields, b"hi")
    for cuts in ((), (len(whole),)):
        got = parse(whole + excess, cuts=cuts)
        assert (got.status, got.body, got.complete, got.reusable, got.failure) == (200, b"hi", True, False, None)


def test_empty_line_after_a_response_is_harmless() -> None:
    """Some servers send one, within the segment or after it."""
    whole = ok(b"Content-Length: 2", b"hi")
    assert parse(whole + b"\r\n").reusable
    assert parse(whole + b"\r\n", cuts=[len(whole)]).reusable


def test_response_nobody_asked_for_makes_the_connection_unusable() -> None:
    """On a connection before its first request, and between two."""
    parser = ResponseParser(8190, 128)
    assert parser.reusable
    parser.feed(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
    assert (parser.reusable, parser.status, parser.failure) == (False, 0, None)


def test_response_without_a_length_ends_with_the_connection() -> None:
    """Rule 8: only in good order. A reset may have cut content off (section 8)."""
    reply = ok(b"A: b", b"all of it")
    assert not parse(reply).complete
    assert parse(reply, orderly=True)[2:5] == (b"all of it", True, False)
    got = parse(reply, orderly=False)
    assert (got.body, got.complete, got.reason) == (b"all of it", False, "reset")


@pytest.mark.parametrize("orderly", [True, False])
@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 200", OK, ok(b"Content-Length: 5", b"hell"), CHUNKED + b"4\r\nhell\r\n"]
)
def test_end_in_the_middle_is_a_failure(reply: bytes, orderly: bool) -> None:
    """Section 8: an incomplete message."""
    got = parse(reply, orderly=orderly)
    assert got.failure is not None
    assert (got.complete, got.reason, got.failure.answered) == (False, "closed" if orderly else "reset", reply != b"")


# -- Content-Length (RFC 9112 section 6.3, rule 5)


@pytest.mark.parametrize(
    "lines", [b"Content-Length: 2, 2", b"Content-Length: 2\r\ncontent-length: 02", b"Content-Length: 002"]
)
def test_equal_lengths_are_one(lines: bytes) -> None:
    """Code above sees a single one, as the rule asks."""
    got = parse(ok(lines, b"hi"))
    assert (got.body, got.complete, got.reusable) == (b"hi", True, True)
    assert [int(value) for _, value in got.headers] == [2]


@pytest.mark.parametrize("lines", [b"Content-Length: 2\r\nContent-Length: 3", b"Content-Length: 2, 3"])
def test_contradicting_lengths_are_refused(lines: bytes) -> None:
    """Nothing says where the next response begins."""
    got = parse(ok(lines, b"hi!"))
    assert (got.detail, got.reusable) == ("Content-Length fields that contradict each other", False)


@pytest.mark.parametrize(
    "value", ["", "-1", "+2", "2.0", "0x2", "two", "2 2", "2_0", "2,", "\u0662", "1" + "0" * 18, "9" * 5000]
)
def test_length_that_is_not_a_number_is_refused(value: str) -> None:
    """Only digits (RFC 9110 section 8.6), and no number that overflows anywhere."""
    assert (
        parse(ok(f"Content-Length: {value}".encode(), b"hi")).detail == "a Content-Length that is not a number of bytes"
    )


# -- Transfer-Encoding (RFC 9112 sections 6.1 and 7)


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b" chunked ", b"chunked,", b", chunked"])
def test_chunked_is_read_in_any_case(value: bytes) -> None:
    """Names of codings are case-insensitive (section 7), and empty elements do not count (RFC 9110 section 5.6.1.2)."""
    assert parse(ok(b"Transfer-Encoding: " + value, b"2\r\nhi\r\n0\r\n\r\n")).body == b"hi"


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"gzip, chunked",
            b"gzip",
            b"chunked, gzip",
            b"chunked, chunked",
            b"xchunked",
            b"chunked;q=1",
            b"",
            b"identity, chunked",
        ),
        *(b"chunked\r\nTransfer-Encoding: chunked", b"\x0bchunked"[1:] + b" x", b"gzip\r\nTransfer-Encoding: chunked"),
    ],
)
def test_other_transfer_coding_is_refused(value: bytes) -> None:
    """None was asked for (section 7.4), and its bytes would pass for the content."""
    assert parse(ok(b"Transfer-Encoding: " + value)).detail == "a Transfer-Encoding other than chunked"


def test_identity_is_no_transfer_coding() -> None:
    """RFC 2616 knew it. Such content ends with the connection."""
    assert parse(ok(b"Transfer-Encoding: identity", b"all"), orderly=True).body == b"all"


@pytest.mark.parametrize("coding", [b"chunked", b"identity"])
@pytest.mark.parametrize("swap", [False, True])
def test_length_and_transfer_coding_are_refused(coding: bytes, swap: bool) -> None:
    """Section 6.3, rule 3: it might be an attempt of response splitting, and ought to be handled as an error."""
    lines = [b"Content-Length: 2", b"Transfer-Encoding: " + coding]
    got = parse(ok(b"\r\n".join(lines[::-1] if swap else lines), b"2\r\nhi\r\n0\r\n\r\n"))
    assert got.detail == "both Transfer-Encoding and Content-Length"


def test_transfer_coding_in_http_1_0_is_refused() -> None:
    """Section 6.1: its framing is faulty."""
    got = parse(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    assert got.detail == "Transfer-Encoding in HTTP/1.0"


# -- chunks (RFC 9112 section 7.1)


@pytest.mark.parametrize(
    "content",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"0005\r\nhello\r\n000\r\n\r\n",
        b"5;name\r\nhello\r\n0;a=b\r\n\r\n",
        b'5 ; a="b;c\t" ;d\r\nhello\r\n0\r\n\r\n',
        b"5 \t\r\nhello\r\n0 \r\n\r\n",
        b"5\r\nhello\r\n0\r\nTrailer: x\r\nOther:\r\n folded\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 7\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"5\r\nhello\r\n0\r\nA: b\n\n",
    ],
)
def test_chunks_are_joined(content: bytes) -> None:
    """Extensions are read over (section 7.1.1). Trailer fields are dropped: none of them may change the framing."""
    got = parse(CHUNKED + content)
    assert (got.body, got.complete, got.reusable) == (b"hello", True, True)
    assert got.headers == [("Transfer-Encoding", "chunked")]


def test_sizes_of_chunks_are_hexadecimal() -> None:
    """In both cases of letters."""
    assert parse(CHUNKED + b"a\r\n" + b"x" * 10 + b"\r\n1B\r\n" + b"x" * 27 + b"\r\n0\r\n\r\n").body == b"x" * 37


@pytest.mark.parametrize(
    "size",
    [
        b"",
        b"g",
        b"0x5",
        b"+5",
        b"-5",
        b" 5",
        b"5 5",
        b"5_0",
        b"5;a\0",
        b"5\n",
        b"5;\n",
        b"5;a\rb",
        b"\r",
        b"f" * 16,
        b"\xb2",
    ],
)
def test_malformed_chunk_size_is_refused(size: bytes) -> None:
    """Digits only, no number that overflows, and no bare LF: section 2.2 allows that for fields only."""
    got = parse(CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n")
    assert (got.reason, got.detail) == ("violation", "a malformed chunk size")


@pytest.mark.parametrize("end", [b"x", b"\n", b"\r\r\n", b"\rx", b"\r\n\r\n"])
def test_chunk_must_end_where_its_size_says(end: bytes) -> None:
    """Otherwise the next size is read from somewhere in the content."""
    got = parse(CHUNKED + b"5\r\nhello" + end + b"0\r\n\r\n")
    assert got.detail in ("a chunk that does not end where its size says", "a malformed chunk size")
    assert got.body == b"hello"


def test_line_of_a_chunk_is_bounded() -> None:
    """``max_field_size`` holds for extensions, too (section 7.1.1 asks for a limit)."""
    assert parse(CHUNKED + b"1;" + b"x" * 98 + b"\r\na\r\n0\r\n\r\n", limits=(100, 10)).body == b"a"
    got = parse(CHUNKED + b"1;" + b"x" * 99 + b"\r\na\r\n0\r\n\r\n", limits=(100, 10))
    assert (got.reason, got.detail) == ("field too large", "the line of a chunk above max_field_size=100 bytes")
    assert parse(CHUNKED + b"1;" + b"x" * 100, limits=(100, 10)).reason == "field too large"


def test_malformed_trailer_is_refused() -> None:
    """The end of the response cannot be found."""
    assert parse(CHUNKED + b"0\r\nnonsense\r\n\r\n").detail == "a header line without a colon"


@pytest.mark.parametrize("orderly", [True, False])
@pytest.mark.parametrize("trailers", [b"", b"\r", b"A: b\r\n", b"A: b"])
def test_last_chunk_completes_the_content(trailers: bytes, orderly: bool) -> None:
    """Sections 8 and 9.8: content is incomplete without the last chunk, so with it, it is complete."""
    reply = CHUNKED + b"2\r\nhi\r\n0\r\n" + trailers
    assert not parse(reply).complete
    assert parse(reply, orderly=orderly)[2:5] == (b"hi", True, False)
    assert not parse(CHUNKED + b"2\r\nhi\r\n0\r", orderly=orderly).complete


def test_many_small_chunks_take_little_memory() -> None:
    """A small piece takes 40 bytes more than its content, and there may be millions of them."""
    parser = ResponseParser(8190, 128)
    parser.expect("GET")
    parser.feed(CHUNKED)
    tracemalloc.start()
    try:
        for _ in range(5_000):
            parser.feed(b"2\r\nxy\r\n")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 60_000
    assert parser.take_body() == b"xy" * 5_000


# -- the connection afterwards (RFC 9112 section 9.3)


@pytest.mark.parametrize(
    ("version", "fields", "reusable"),
    [
        ("1.1", b"", True),
        ("1.1", b"Connection: close\r\n", False),
        ("1.1", b"connection: CLOSE\r\n", False),
        ("1.1", b"Connection: something-close, close-something\r\n", True),
        ("1.1", b"Connection: keep-alive\r\nConnection: x, close\r\n", False),
        ("1.1", b"Connection: keep-alive\r\n", True),
        ("1.1", b"Proxy-Connection: close\r\n", True),
        ("1.0", b"", False),
        ("1.0", b"Connection: keep-alive\r\n", True),
        ("1.0", b"Connection: something\r\n", False),
        ("1.0", b"Connection: Keep-Alive, close\r\n", False),
    ],
)
@pytest.mark.parametrize("content", [b"", b"hi"])
def test_connection_is_kept_if_the_server_keeps_it(version: str, fields: bytes, reusable: bool, content: bytes) -> None:
    """HTTP/1.1 keeps it unless told otherwise, HTTP/1.0 closes it unless told otherwise."""
    reply = f"HTTP/{version} 200 OK\r\nContent-Length: {len(content)}\r\n".encode() + fields + b"\r\n" + content
    got = parse(reply)
    assert (got.body, got.complete, got.reusable) == (content, True, reusable)


def test_parser_reads_one_response_after_another() -> None:
    """Nothing of a response is left in the next one."""
    parser = ResponseParser(8190, 128)
    replies = [
        (ok(b"Content-Length: 2", b"hi"), b"hi"),
        (CHUNKED + b"2\r\nho\r\n0\r\nA: b\r\n\r\n", b"ho"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", b""),
        (ok(b"A: b\r\n c\r\nContent-Length: 2, 2", b"he"), b"he"),
    ]
    for reply, body in replies * 2:
        parser.expect("GET")
        assert (parser.status, parser.complete, parser.reusable, parser.answered, len(parser.headers)) == (
            0,
            *[False] * 3,
            0,
        )
        parser.feed(reply)
        assert (parser.take_body(), parser.complete, parser.reusable) == (body, True, True)
        assert parser.continued == (b"100" in reply)
