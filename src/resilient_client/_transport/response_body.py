"""Reads the body of a response: decoded, bounded, and complete or an error."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator

import aiohttp

from resilient_client._transport.decoding import BodyDecoder, BodyTooLarge, UnknownCoding, decoder_for
from resilient_client._transport.gate import Gate
from resilient_client._transport.hooks import ConnectionLost
from resilient_client._transport.raw_response import RawResponse

ERROR_BODY_LIMIT = 64 * 1024
"""Bytes kept of the body of an error response; the rest is not worth waiting for."""
ERROR_BODY_TIMEOUT = 1.0
"""Seconds to wait for the body of an error response: a failing upstream may never finish it."""

_PIECES_PER_ITERATION = 16  # decoded pieces before other tasks may run: about a megabyte


class BodyReader:
    """Reads one body piece by piece, decoded, to its end.

    Attributes:
        reply: The response; its head is read.
        undecoded: Why the content coding was not removed, or ``""``. The bytes are then given as received.
    """

    __slots__ = ("_codings", "_content", "_decoded", "_decoder", "_gate", "_max_size", "_pieces", "reply", "undecoded")

    def __init__(self, reply: RawResponse, max_size: int | None, gate: Gate | None = None) -> None:
        """Read the body of ``reply``.

        Args:
            reply: The response; its head is read.
            max_size: Bytes that may come *out of a decoder*.
            gate: The gate of the connection, if the body ends with it. A reset is not the end (RFC 9112 section 8).
        """
        self.reply = reply
        self.undecoded = ""
        self._codings = reply.headers.getall("Content-Encoding", None)
        self._content = reply.content
        self._gate = gate
        self._max_size = max_size
        self._decoder: BodyDecoder | None = None
        self._decoded: Iterator[bytes] = iter(())
        self._pieces = 0

    @property
    def max_size(self) -> int | None:
        """Bytes that may come out of a decoder."""
        return self._max_size

    @property
    def coded(self) -> bool:
        """Whether the response announces a content coding."""
        return "Content-Encoding" in self.reply.headers

    def limit(self, max_size: int | None) -> None:
        """Change ``max_size``, before the first piece is read."""
        self._max_size = max_size

    async def read(self) -> bytes:
        """The next piece; ``b""`` at the end of the body."""
        while True:
            for piece in self._decoded:
                self._pieces += 1
                if self._pieces % _PIECES_PER_ITERATION == 0:
                    await asyncio.sleep(0)  # or a decompression bomb would keep the deadline from firing
                if piece:
                    return piece
            if self._content.at_eof():
                if self._gate is not None:
                    check_end(self._gate)
                if self._decoder is not None:
                    self._decoder.finish()
                return b""
            raw = await self._content.readany()
            if raw and self._codings is not None:  # not earlier: responses to HEAD announce a coding and have no body
                codings, self._codings = self._codings, None
                try:
                    self._decoder = decoder_for(",".join(codings), max_size=self._max_size)
                except UnknownCoding as unknown:
                    self.undecoded = str(unknown)
            if self._decoder is not None:
                self._decoded = self._decoder.feed(raw)
            elif raw:
                return raw


def check_end(gate: Gate) -> None:
    """Refuse the end of a body that only the connection ends, if that was reset (RFC 9112 section 8).

    Raises:
        ConnectionLost: The connection broke.
    """
    if gate.reset:
        raise ConnectionLost(aiohttp.ClientOSError())


async def read_body(reader: BodyReader) -> bytes:
    """The whole body of a response.

    Raises:
        BodyTooLarge: It exceeds the reader's ``max_size`` after decoding; the rest was not read.
        DecodingFailure: It is corrupt or cut short.
        ConnectionLost: The connection broke before its end.
    """
    max_size, reply = reader.max_size, reader.reply
    limit = math.inf if max_size is None else max_size
    if not reader.coded and (reply.content_length or 0) > limit:
        raise BodyTooLarge(max_size or 0)
    pieces, size = [], 0
    while piece := await reader.read():
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise BodyTooLarge(max_size or 0)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def read_error_body(reader: BodyReader, max_wait: float) -> tuple[bytes, bool]:
    """The body of an error response or a redirect as far as it can be read, and whether it was cut.

    The head matters most, and is kept even if the body is too long, too slow, corrupt or lost.

    Args:
        reader: Reads the body, at most ``ERROR_BODY_LIMIT`` bytes of it.
        max_wait: Seconds to wait.
    """
    kept = bytearray()
    try:
        async with asyncio.timeout(max_wait):
            while piece := await reader.read():
                room = ERROR_BODY_LIMIT - len(kept)
                kept += piece[:room]
                if len(piece) > room:
                    raise BodyTooLarge(ERROR_BODY_LIMIT)
    except Exception:
        return bytes(kept), True
    return bytes(kept), False


class StreamedBody:
    """The body of a streamed response, still on the wire. Owns its connection until it is closed."""

    __slots__ = ("_on_close", "_reader", "_translate")

    def __init__(
        self,
        reader: BodyReader,
        on_close: Callable[[], None],
        translate: Callable[[Exception], BaseException],
    ) -> None:
        """Take over the body of a response.

        Args:
            reader: Reads the body. It has not begun.
            on_close: Called once, when the body is closed.
            translate: Turns foreign exceptions into ours.
        """
        self._on_close: Callable[[], None] | None = on_close
        self._translate = translate
        self._reader = reader

    async def read(self) -> bytes:
        """The next piece of the decoded body; ``b""`` at its end, which closes the body.

        Raises:
            APIError: The connection was lost, the body is cut short or corrupt.
        """
        try:
            piece = await self._reader.read()
        except Exception as error:
            failure = self._translate(error)
        else:
            if not piece:
                self.close()
            return piece
        self.close()
        try:
            raise failure
        finally:
            del failure  # an error whose frame refers to it is freed only by the collector

    def close(self) -> None:
        """Give the connection back: to the pool at the end of the body, else it is closed."""
        if self._on_close is not None:
            finish, self._on_close = self._on_close, None
            reply = self._reader.reply
            if reply.content.at_eof():
                reply.release()
            else:
                reply.close()
            finish()
