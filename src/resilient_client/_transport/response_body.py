"""Reads the body of a response: decoded, bounded, and complete or an error."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator

from resilient_client._transport.decoding import BodyDecoder, BodyTooLarge, decoder_for
from resilient_client._transport.raw_response import RawResponse

ERROR_BODY_LIMIT = 64 * 1024
"""Bytes kept of the body of an error response; the rest is not worth waiting for."""
ERROR_BODY_TIMEOUT = 1.0
"""Seconds to wait for the body of an error response: a failing upstream may never finish it."""

_PIECES_PER_ITERATION = 16  # decoded pieces before other tasks may run: about a megabyte


class BodyReader:
    """Reads one body piece by piece, decoded, to its end."""

    __slots__ = ("_codings", "_content", "_decoded", "_decoder", "_max_size", "_pieces")

    def __init__(self, reply: RawResponse, max_size: int | None) -> None:
        """Read the body of ``reply``; more than ``max_size`` bytes *out of a decoder* are an error."""
        self._codings = reply.headers.getall("Content-Encoding", None)
        self._content = reply.content
        self._max_size = max_size
        self._decoder: BodyDecoder | None = None
        self._decoded: Iterator[bytes] = iter(())
        self._pieces = 0

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
                if self._decoder is not None:
                    self._decoder.finish()
                return b""
            raw = await self._content.readany()
            if raw and self._codings is not None:  # not earlier: responses to HEAD announce a coding and have no body
                codings, self._codings = self._codings, None
                self._decoder = decoder_for(",".join(codings), max_size=self._max_size)
            if self._decoder is not None:
                self._decoded = self._decoder.feed(raw)
            elif raw:
                return raw


def buffered_body(reply: RawResponse, max_size: int | None) -> bytes | None:
    """The body, if it arrived with the head and needs no decoding; else ``None``.

    The usual case of an API's response, without a single suspension.

    Raises:
        BodyTooLarge: It exceeds ``max_size`` bytes.
    """
    content = reply.content
    if not content.is_eof() or "Content-Encoding" in reply.headers:
        return None
    body = content.read_nowait()
    if max_size is not None and len(body) > max_size:
        raise BodyTooLarge(max_size)
    return body


async def read_body(reply: RawResponse, max_size: int | None) -> bytes:
    """The whole body of a response.

    Raises:
        BodyTooLarge: It exceeds ``max_size`` bytes after decoding; the rest was not read.
        DecodingFailure: Its coding is unknown, corrupt or cut short.
    """
    limit = math.inf if max_size is None else max_size
    coded = "Content-Encoding" in reply.headers
    if not coded and (reply.content_length or 0) > limit:
        raise BodyTooLarge(max_size or 0)
    reader = BodyReader(reply, max_size)
    body = await reader.read()
    if len(body) <= limit and not coded and reply.content.at_eof():
        return body  # the usual case: one piece
    pieces, size = [body], len(body)
    while body:
        if size > limit:
            raise BodyTooLarge(max_size or 0)
        body = await reader.read()
        pieces.append(body)
        size += len(body)
    return b"".join(pieces)


async def read_error_body(reply: RawResponse, max_wait: float) -> tuple[bytes, bool]:
    """The body of an error response as far as it can be read, and whether it was cut.

    The status matters most, and is kept even if the body is too long, too slow, corrupt or lost.

    Args:
        reply: The response; its head is read.
        max_wait: Seconds to wait.
    """
    kept = bytearray()
    try:
        reader = BodyReader(reply, ERROR_BODY_LIMIT)
        async with asyncio.timeout(max_wait):
            while piece := await reader.read():
                room = ERROR_BODY_LIMIT - len(kept)
                kept += piece[:room]
                if len(piece) > room:
                    raise BodyTooLarge(ERROR_BODY_LIMIT)
    except Exception:
        reply.close()
        return bytes(kept), True
    return bytes(kept), False


class StreamedBody:
    """The body of a streamed response, still on the wire. Owns its connection until it is closed."""

    __slots__ = ("_on_close", "_reader", "_reply", "_translate")

    def __init__(
        self,
        reply: RawResponse,
        on_close: Callable[[], None],
        translate: Callable[[Exception], Exception],
    ) -> None:
        """Take over ``reply``.

        Args:
            reply: The response; its head is read, its body is not.
            on_close: Called once, when the body is closed.
            translate: Turns foreign exceptions into ours.
        """
        self._reply = reply
        self._on_close: Callable[[], None] | None = on_close
        self._translate = translate
        self._reader = BodyReader(reply, None)

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
            if self._reply.content.at_eof():
                self._reply.release()
            else:
                self._reply.close()
            finish()
