"""Reads one response after another from the bytes of a connection. No I/O: bytes in, attributes out.

It decides what RFC 9112 leaves to a client: where a response ends, which one has no content, how large a head may be,
how many interim responses are read, and what bytes after a complete response mean. It never closes a connection and
never waits.

The usual response arrives with its whole head in one segment, and most of its lines have been seen before: ``feed``
reads it at once. Everything else is read line by line. Both give the same result, because the first way gives up at
anything unusual and leaves it to the second.

It is written in Python because that is faster here than a parser in C which calls back for each field: the same lines
come again and again, and splitting, comparing and looking them up happens in C anyway.
"""

from __future__ import annotations

from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy, istr

from resilient_client._transport.http1.chunked import ChunkedReader, read_single_chunk
from resilient_client._transport.http1.failure import Failure, Reason, RefusedError
from resilient_client._transport.http1.fields import MAX_KNOWN_LINE, Field, known_lines, recall_field
from resilient_client._transport.http1.framing import Framing, read_framing
from resilient_client._transport.http1.status_line import KNOWN_STATUS_LINES, START, read_status_line

MAX_INTERIM_RESPONSES: Final = 32
"""Interim (1xx) responses before one final response. Go's net/http stops after 5, curl after 1 MiB of heads."""
MAX_EMPTY_LINES: Final = 256
"""Bytes of empty lines before a status line, at most."""
_SMALL_PIECES: Final = 1024  # pieces kept apart: each takes 40 bytes more than its content
_WITHOUT_CONTENT: Final = (204, 304)  # and HEAD and 1xx: RFC 9112 section 6.3, rule 1
_LINE_ENDS: Final = b"\r\n"
_CONTENT_LENGTH: Final = istr("Content-Length")
_LENGTH_NAMES: Final = {b"Content-Length: ": _CONTENT_LENGTH, b"content-length: ": istr("content-length")}
_NO_HEADERS: Final[CIMultiDictProxy[str]] = CIMultiDictProxy(CIMultiDict())

# What the next bytes are.
_STATUS, _FIELDS, _CONTENT, _TRAILERS = range(4)


class ResponseParser:
    """The response half of one connection.

    ``expect`` begins a response, ``feed`` takes bytes as they arrive, and ``end`` takes the end of the connection.
    Between calls the attributes say how far the response is. Whatever the segmentation, the attributes end up the same.

    Attributes:
        status: Status code of the final response. 0 before its head is complete.
        headers: Its fields. Values are decoded as UTF-8 with surrogateescape, so no byte is lost.
        content_length: Bytes of content that the head announces. ``None`` if it does not, or if the response has no
            content whatever it announces.
        continued: An interim response 100 (Continue) has arrived.
        answered: A byte of the response has arrived.
        complete: The response is complete.
        failure: Why it will never be, or ``None``.
        reusable: The connection may serve another request: the framing and the server allow it, and no byte followed
            the complete response.
        body_size: Bytes of content so far, before any content coding is removed.
    """

    __slots__ = (
        "_chunks",
        "_empty_lines",
        "_framing",
        "_fresh",
        "_held",
        "_interim_count",
        "_keeps_alive",
        "_known_line",
        "_known_status",
        "_left",
        "_length",
        "_max_field_size",
        "_max_fields",
        "_method_is_head",
        "_minor",
        "_next",
        "_pairs",
        "_pending",
        "_pieces",
        "_small",
        "_status",
        "answered",
        "body_size",
        "complete",
        "content_length",
        "continued",
        "failure",
        "headers",
        "reusable",
        "status",
    )

    def __init__(self, max_field_size: int, max_fields: int) -> None:
        """Parse with limits on the head.

        Args:
            max_field_size: Bytes of one line, at most: a field with its folded lines, the status line, or the line with
                the size of a chunk.
            max_fields: Fields of a head, and of a trailer section, at most.
        """
        self._max_field_size = max_field_size
        self._max_fields = max_fields
        known = max_field_size >= MAX_KNOWN_LINE  # nothing that is known is above the limit
        self._known_line = (known_lines if known else {}).get
        self._known_status = (KNOWN_STATUS_LINES if known else {}).get
        self.expect("")
        self.complete = self.reusable = True
        self._fresh = False

    def expect(self, method: str) -> None:
        """A request was sent: the next bytes are the response to it."""
        self.status = 0
        self.body_size: int = 0
        self.headers: CIMultiDictProxy[str] = _NO_HEADERS
        self.failure: Failure | None = None
        self.content_length: int | None = None
        self.answered = self.complete = self.continued = self.reusable = False
        self._pieces: list[bytes] = []
        self._small = 0  # pieces at the end of the list that are small
        self._method_is_head = method == "HEAD"
        self._fresh = True
        self._length: int | None = None  # of the Content-Length field, if that is plain
        self._framing: tuple[Field, ...] = ()  # the other framing fields
        self._chunks: ChunkedReader | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection.

        Bytes after a complete response are no failure of it. They make the connection unusable.
        """
        if not self._fresh:
            self._feed_more(data)
            return
        self._fresh = False
        self.answered = True
        head, end, rest = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n") if end else [b""]
        status = self._known_status(lines.pop(0))
        if status is not None and len(lines) <= self._max_fields:
            known, read = self._known_line, self._read_field
            try:
                pairs = [known(line) or read(line) for line in lines]
            except RefusedError:  # or folded, or with a bare LF
                pass
            else:
                self._end_head(status, 1, pairs, rest)
                return
        self._next, self._pending = _STATUS, b""  # read it line by line
        self._interim_count = self._empty_lines = 0
        self._feed_more(data)

    def end(self, *, orderly: bool) -> None:
        """The connection ended.

        A response with chunked content is complete when its last chunk is there, even if the end of the trailer section
        is not (RFC 9112 sections 8 and 9.8). One without a length is complete when the server closes the connection.

        Args:
            orderly: The server closed it: by FIN, over TLS by its closure alert. A reset, or TLS without the alert, is
                not orderly, and may have cut content off (RFC 9112 section 9.8).
        """
        self.reusable = False
        if self.complete or self.failure is not None:
            return
        if self.status and (self._next == _TRAILERS or (orderly and self._left is None and self._chunks is None)):
            self.complete = True
        else:
            self.fail(Reason.CLOSED if orderly else Reason.RESET)

    def fail(self, reason: Reason, detail: str = "") -> None:
        """The response will never be complete. The first reason stays."""
        self.reusable = False
        if self.failure is None:
            self.failure = Failure(reason, detail, self.answered)

    @property
    def chunks(self) -> int:
        """Chunks of the content so far. Many small ones in one segment take time to read."""
        return 0 if self._chunks is None else self._chunks.chunks

    @property
    def has_content(self) -> bool:
        """Whether ``take_body`` has something to return."""
        return bool(self._pieces)

    def take_body(self) -> bytes:
        """Return the content that has arrived since the last time."""
        pieces = self._pieces
        self._pieces = []
        self._small = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # -- line by line

    def _feed_more(self, data: bytes) -> None:
        if self.complete:
            if data.strip(_LINE_ENDS):  # some servers send an empty line after the content: that is harmless
                self.reusable = False
        elif self.failure is None:
            try:
                if self._next == _CONTENT:
                    self._feed_content(data)
                else:
                    self._feed_lines(self._pending + data)
            except RefusedError as error:
                self.fail(error.reason, error.detail)

    def _feed_lines(self, data: bytes) -> None:
        """Read the lines of a head or of a trailer section.

        A line ends with CRLF or, as RFC 9112 section 2.2 allows, with a bare LF.
        """
        at = 0
        while True:
            if self._next == _STATUS:
                at = self._skip_empty_lines(data, at)
            newline = data.find(b"\n", at)
            line = data[at:newline] if newline >= 0 else data[at:]
            self._check_size(line.removesuffix(b"\r"))
            if newline < 0:
                self._pending = line
                return
            at = newline + 1
            if self._next == _STATUS:
                self._read_status_line(line.removesuffix(b"\r"))
            elif self._read_field_line(line.removesuffix(b"\r")) and self._end_section(data, at):
                return

    def _skip_empty_lines(self, data: bytes, at: int) -> int:
        """Return the position of the status line. Some servers send empty lines after the content before it."""
        begin = len(data) - len(rest := data[at:].lstrip(_LINE_ENDS))
        self._empty_lines += begin - at
        if self._empty_lines > MAX_EMPTY_LINES:
            raise RefusedError("empty lines in place of a status line")
        if not rest.startswith(START[: len(rest)]):
            raise RefusedError("no HTTP/1 status line")
        return begin

    def _check_size(self, line: bytes) -> None:
        if len(line) > self._max_field_size:
            what = "a status line" if self._next == _STATUS else "a field"
            raise RefusedError(f"{what} above max_field_size={self._max_field_size} bytes", Reason.FIELD_TOO_LARGE)

    def _read_status_line(self, line: bytes) -> None:
        self._minor, self._status = read_status_line(line)
        if self._status < 200:
            self._interim_count += 1
            if self._interim_count > MAX_INTERIM_RESPONSES:
                raise RefusedError(f"more than {MAX_INTERIM_RESPONSES} interim responses")
        self._begin_section(_FIELDS)

    def _begin_section(self, section: int) -> None:
        self._next = section
        self._pending = b""
        self._held: bytes | None = None  # a field line that the next line may continue
        self._pairs: list[Field] = []
        self._length, self._framing = None, ()

    def _read_field_line(self, line: bytes) -> bool:
        """Read a line of a head or trailer section. Returns whether it ends the section.

        A line that begins with whitespace continues the one before it, as if a space were in place of the line end (RFC
        9112 section 5.2).
        """
        held = self._held
        if line[:1] in (b" ", b"\t"):
            if held is None or b":" not in held:
                raise RefusedError("a folded line that continues no field")  # RFC 9112 section 2.2
            self._held = held + b" " + line.strip(b" \t")
            self._check_size(self._held)
            return False
        if held is not None:
            if len(self._pairs) >= self._max_fields:
                raise RefusedError(f"more fields than max_headers={self._max_fields}", Reason.TOO_MANY_FIELDS)
            self._pairs.append(self._read_field(held))
        self._held = line
        return not line

    def _read_field(self, line: bytes) -> Field:
        """Read a field line that is not known, and note what it says about the framing."""
        name = _LENGTH_NAMES.get(line[:16])
        if name is not None and self._length is None and len(line) <= 32:
            digits = line[16:]
            if digits.isdigit():  # ASCII digits: these are bytes
                self._length = int(digits)
                return name, digits.decode()
        if len(line) > self._max_field_size:
            raise RefusedError("a field that is too large")  # read again line by line, which gives the reason
        field, is_framing = recall_field(line)
        if is_framing:
            self._framing = (*self._framing, field)
        return field

    def _end_section(self, data: bytes, at: int) -> bool:
        """The empty line of a section was read. Returns whether what follows is something else than lines."""
        if self._next == _TRAILERS:
            self._complete(data[at:])
            return True
        if self._status >= 200:
            self._end_head(self._status, self._minor, self._pairs, data[at:])
            return True
        self._next = _STATUS  # an interim response has no content (RFC 9110 section 15.2)
        self.continued = self.continued or self._status == 100
        return False

    # -- content

    def _end_head(self, status: int, minor: int, pairs: list[Field], rest: bytes) -> None:
        """The head of the final response was read. Decide what follows (RFC 9112 section 6.3)."""
        headers = CIMultiDict(pairs)
        length, chunked, keeps_alive = self._length, False, minor >= 1
        has_content = not self._method_is_head and status not in _WITHOUT_CONTENT
        if length == len(rest) and not self._framing and has_content and rest:  # the usual case, at once
            self.headers = CIMultiDictProxy(headers)
            self.status = status
            self.content_length = length
            self.body_size = len(rest)
            self._pieces.append(rest)
            self.complete = True
            self.reusable = keeps_alive
            return
        if self._framing:
            try:
                length, chunked, keeps_alive = self._read_framing(minor, headers)
            except RefusedError as error:
                if has_content:
                    self.fail(error.reason, error.detail)
                    return
                keeps_alive = False
        if has_content:
            self.content_length = length
            if chunked and (content := read_single_chunk(rest)):
                rest, length, chunked = content, len(content), False
            elif length is None and not chunked and status == 205:  # nothing to wait for (RFC 9110 section 15.3.6)
                length = 0
        else:
            length, chunked = 0, False
        self.status = status
        self.headers = CIMultiDictProxy(headers)
        self._next = _CONTENT
        self._keeps_alive = keeps_alive
        self._left = length
        self._chunks = ChunkedReader(self._max_field_size) if chunked else None
        if rest or length == 0:
            self._feed_more(rest)

    def _read_framing(self, minor: int, headers: CIMultiDict[str]) -> Framing:
        fields = self._framing
        if self._length is not None:
            fields = ((_CONTENT_LENGTH, str(self._length)), *fields)
        framing = read_framing(minor, fields)
        if framing.length is not None and headers.getall(_CONTENT_LENGTH) != [str(framing.length)]:
            headers[_CONTENT_LENGTH] = str(framing.length)  # one in place of many, as section 6.3 asks
        return framing

    def _feed_content(self, data: bytes) -> None:
        left = self._left
        if left is None:
            if self._chunks is None:
                self._keep(data)  # until the connection is closed (RFC 9112 section 6.3, rule 8)
            else:
                self._feed_chunks(self._chunks, data)
        elif len(data) < left:
            self._left = left - len(data)
            self._keep(data)
        else:
            if left:
                self._keep(data[:left])
            self._complete(data[left:])

    def _feed_chunks(self, chunks: ChunkedReader, data: bytes) -> None:
        pieces: list[bytes] = []
        try:
            rest = chunks.feed(data, pieces)
        finally:
            if pieces:
                self._keep(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if rest == _LINE_ENDS:  # no trailer section, the usual case
            self._complete(b"")
        elif rest is not None:
            self._begin_section(_TRAILERS)
            self._feed_lines(rest)

    def _keep(self, piece: bytes) -> None:
        """Keep content until the caller takes it. Small pieces are joined now and then, because each takes memory."""
        self.body_size += len(piece)
        self._pieces.append(piece)
        self._small = self._small + 1 if len(piece) < _SMALL_PIECES else 0
        if self._small == _SMALL_PIECES:
            self._small = 0
            self._pieces[-_SMALL_PIECES:] = [b"".join(self._pieces[-_SMALL_PIECES:])]

    def _complete(self, excess: bytes) -> None:
        self.complete = True
        self.reusable = self._keeps_alive and not excess.strip(_LINE_ENDS)
