"""The table of docs/wire.md says what the parsers of the three Python clients do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.transport.http1.differential import AiohttpParser, Reading, h11_parser, ours
from tests.unit.transport.http1.replies import OK, ok

PAGE = Path(__file__).parents[4] / "docs" / "wire.md"
LENGTH = b"Content-Length: 2"
CHUNKS = b"2\r\nhi\r\n0\r\n\r\n"
WHOLE = ok(LENGTH, b"hi")
REPLIES = {
    "content after the reply to HEAD": WHOLE,
    "content after a 204 or 304": WHOLE.replace(b"200 OK", b"304 Not Modified"),
    "304 with `Content-Length` and `Transfer-Encoding`": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "bytes after the content": WHOLE + b"XX",
    "`Content-Length` twice, equal": ok(LENGTH + b"\r\n" + LENGTH, b"hi"),
    "chunked without the end of the trailer section": ok(b"Transfer-Encoding: chunked", CHUNKS[:-2]),
    "empty line before the status line": b"\r\n" + WHOLE,
    "whitespace before the colon": ok(b"A : b\r\n" + LENGTH, b"hi"),
    "HTTP/1.2": WHOLE.replace(b"1.1", b"1.2"),
    "`Transfer-Encoding: identity`": ok(b"Transfer-Encoding: identity", b"hi"),
    "`Content-Length` and `Transfer-Encoding`": ok(LENGTH + b"\r\nTransfer-Encoding: chunked", CHUNKS),
    "`Content-Length: +2`": ok(b"Content-Length: +2", b"hi"),
    "`Transfer-Encoding: gzip, chunked`": ok(b"Transfer-Encoding: gzip, chunked", CHUNKS),
    "`Transfer-Encoding: chunked, chunked`": ok(b"Transfer-Encoding: chunked, chunked", CHUNKS),
    "`Transfer-Encoding` in HTTP/1.0": ok(b"Transfer-Encoding: chunked", CHUNKS).replace(b"1.1", b"1.0"),
    "bare LF in the chunked coding": ok(b"Transfer-Encoding: chunked", CHUNKS.replace(b"\r", b"")),
    "bare CR in a field": ok(b"A: b\rc\r\n" + LENGTH, b"hi"),
    "whitespace before the first field": OK + b" A: b\r\n" + LENGTH + b"\r\n\r\nhi",
    "two spaces before the status": WHOLE.replace(b" 200", b"  200"),
    "HTTP/2.0": WHOLE.replace(b"1.1", b"2.0"),
    "`http/1.1`": WHOLE.replace(b"HTTP", b"http"),
    "RTSP/1.0": WHOLE.replace(b"HTTP/1.1", b"RTSP/1.0"),
    "40 interim replies before the final one": b"HTTP/1.1 102 Processing\r\n\r\n" * 40 + WHOLE,
}


def rows() -> Iterator[list[str]]:
    """The rows of the table, without its head."""
    table = PAGE.read_text().partition("## Where clients differ")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def word(reading: Reading) -> str:
    """The word of the table."""
    return "refused" if reading.refused else "read"


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row[0])
def test_table_says_what_parsers_do(row: list[str]) -> None:
    """The columns of this library, of aiohttp and of httpx, whose parser is h11."""
    title, here, _curl, aiohttp, httpx, _reason = row
    method = "HEAD" if "HEAD" in title else "GET"
    with closing(AiohttpParser()) as aiohttp_parser:
        readings = [read(REPLIES[title], method) for read in (ours, aiohttp_parser, h11_parser)]
    assert [word(reading) for reading in readings] == [here, aiohttp, httpx]


def test_table_has_every_reply() -> None:
    """No reply is left out."""
    assert [row[0] for row in rows()] == list(REPLIES)
