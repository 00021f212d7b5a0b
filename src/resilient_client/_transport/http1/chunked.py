"""Removes the chunked transfer coding (RFC 9112 section 7.1). No I/O: bytes in, pieces of content out."""

from __future__ import annotations

import re
from typing import Final

from resilient_client._transport.http1.failure import Reason, RefusedError

_CRLF: Final = b"\r\n"
_LAST: Final = b"0\r\n"
_END_AFTER_CHUNK: Final = b"\r\n0\r\n\r\n"
_HEXDIGITS: Final = b"0123456789ABCDEFabcdef"
# The size, whitespace that some servers send after it, and extensions, which are read over (section 7.1.1). Unlike a
# header line, this line ends with CRLF only: section 2.2 allows a bare LF after the start line and fields.
_SIZE: Final = rb"0*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?"
_SIZE_LINE: Final = re.compile(_SIZE + rb"\r\n")
_BEGINNING: Final = re.compile(rb"0*[0-9A-Fa-f]{0,15}|" + _SIZE + rb"\r?")


def read_single_chunk(data: bytes) -> bytes | None:
    """Return the content if ``data`` is all of it, in one chunk without extensions and trailers: the usual case."""
    if not data.endswith(_END_AFTER_CHUNK):
        return None
    begin = data.find(_CRLF)
    size = data[:begin]
    if not 0 < begin <= 8 or size.translate(None, _HEXDIGITS) or int(size, 16) != len(data) - begin - 9:
        return None
    return data[begin + 2 : -7]


class ChunkedReader:
    """Reads chunked content up to its last chunk. What follows are trailer fields, which it does not read.

    Attributes:
        chunks: Chunks begun so far. Many small ones in one segment take time to read.
    """

    __slots__ = ("_left", "_max_line", "_pending", "chunks")

    def __init__(self, max_line: int) -> None:
        """Read with a limit.

        Args:
            max_line: Bytes of the line with the size of a chunk and its extensions, at most.
        """
        self._max_line = max_line
        self._pending = b""  # the beginning of a line
        self._left = 0  # bytes until the end of the chunk, its line end included
        self.chunks = 0

    def feed(self, data: bytes, pieces: list[bytes]) -> bytes | None:
        """Take bytes and append the content in them to ``pieces``.

        Returns:
            What follows the last chunk, or ``None`` if that has not arrived.

        Raises:
            RefusedError: A size or the end of a chunk is malformed, or a line is above the limit.
        """
        if self._pending:
            data, self._pending = self._pending + data, b""
        at, end = 0, len(data)
        while True:
            if self._left:
                at = self._read_chunk(data, at, pieces)
                if self._left:
                    return None
            line = _SIZE_LINE.match(data, at, at + self._max_line + 2)
            if line is None:
                self._wait_for_line(data[at:])
                return None
            at = line.end()
            size = int(line[1], 16)
            if size == 0:
                return data[at:]
            self.chunks += 1
            stop = at + size
            if stop + 2 <= end and data.startswith(_CRLF, stop):  # the whole chunk, the usual case
                pieces.append(data[at:stop])
                at = stop + 2
                if data.startswith(_LAST, at):
                    return data[at + 3 :]
            else:
                self._left = size + 2

    def _read_chunk(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Read the rest of a chunk, and return the position after it."""
        size = self._left - 2
        if size > 0:
            piece = data[at : at + size]
            if piece:
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
            if self._left > 2:
                return at
        ending = data[at : at + self._left]
        if ending != _CRLF[-self._left :][: len(ending)]:
            raise RefusedError("a chunk that does not end where its size says")
        self._left -= len(ending)
        return at + len(ending)

    def _wait_for_line(self, line: bytes) -> None:
        """Keep the beginning of a line, unless it can never become one.

        Both questions are asked of the same bytes however the line arrives, so the answer is always the same.
        """
        limit = self._max_line + 1  # with the CR
        if _BEGINNING.fullmatch(line[:limit]) is None:
            raise RefusedError("a malformed chunk size")
        if len(line) > limit:
            text = f"the line of a chunk above max_field_size={self._max_line} bytes"
            raise RefusedError(text, Reason.FIELD_TOO_LARGE)
        self._pending = line
