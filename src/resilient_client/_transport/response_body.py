"""Reading a reply's body: decoded, capped, and complete or an error."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator

from resilient_client._transport.decoding import BodyDecoder, BodyTooLarge, decoder_for
from resilient_client._transport.raw_response import RawResponse

ERROR_BODY_LIMIT = 64 * 1024
"""Bytes kept of the body of an error reply; the rest is not worth a wait."""
ERROR_BODY_TIMEOUT = 1.0
"""Seconds given to the body of an error reply: an upstream in trouble may never finish it."""

_PIECES_A_TURN = 16  # decoded pieces between two turns of the event loop: about a megabyte


class BodyReader:
    """Reads one body piece by piece, decoded, to its very end."""

    __slots__ = ("_codings", "_content", "_decoded", "_decoder", "_max_size", "_turns")

    def __init__(self, reply: RawResponse, max_size: int | None) -> None:
        """Read the body of ``reply``; more than ``max_size`` bytes *out of a decoder* are an error."""
        self._codings = reply.headers.getall("Content-Encoding", None)
        self._content = reply.content
        self._max_size = max_size
        self._decoder: BodyDecoder | None = None
        self._decoded: Iterator[bytes] = iter(())
        self._turns = 0

    async def read(self) -> bytes:
        """The next piece; ``b""`` at the end of the body."""
        while True:
            for piece in self._decoded:
                self._turns += 1
                if self._turns % _PIECES_A_TURN == 0:
                    await asyncio.sleep(0)  # a bomb must not keep the deadline from striking
                if piece:
                    return piece
            if self._content.at_eof():
                if self._decoder is not None:
                    self._decoder.finish()
                return b""
            raw = await self._content.readany()
            if raw and self._codings is not None:  # not before: replies to HEAD name a coding, and have nothing to undo
                codings, self._codings = self._codings, None
                self._decoder = decoder_for(",".join(codings), max_size=self._max_size)
            if self._decoder is not None:
                self._decoded = self._decoder.feed(raw)
            elif raw:
                return raw


def buffered_body(reply: RawResponse, max_size: int | None) -> bytes | None:
    """The body, if it came along with the head, needs no decoding and is not too large; else ``None``.

    The usual case of an API's reply, without a single suspension.
    """
    content = reply.content
    if not content.is_eof() or "Content-Encoding" in reply.headers:
        return None
    body = content.read_nowait()
    if max_size is not None and len(body) > max_size:
        raise BodyTooLarge(max_size)
    return body


async def read_body(reply: RawResponse, max_size: int | None) -> bytes:
    """The whole body of an answer.

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
        return body  # the usual case: all in one piece
    pieces, size = [body], len(body)
    while body:
        if size > limit:
            raise BodyTooLarge(max_size or 0)
        body = await reader.read()
        pieces.append(body)
        size += len(body)
    return b"".join(pieces)


async def read_error_body(reply: RawResponse, max_wait: float) -> tuple[bytes, bool]:
    """What can be had of the body of an error reply, and whether it was cut.

    The status is the news; a body that is too long, too slow, corrupt or lost does not take it away.

    Args:
        reply: Its head is read.
        max_wait: Seconds it is given.
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
    """The body of a streamed reply, still on the wire. Owns its connection until it is closed."""

    __slots__ = ("_on_close", "_reader", "_reply", "_translate")

    def __init__(
        self,
        reply: RawResponse,
        on_close: Callable[[], None],
        translate: Callable[[Exception], Exception],
    ) -> None:
        """Take over ``reply``.

        Args:
            reply: Its head is read, its body is not.
            on_close: Called once, when this is closed.
            translate: Turns foreign exceptions into ours.
        """
        self._reply = reply
        self._on_close: Callable[[], None] | None = on_close
        self._translate = translate
        self._reader = BodyReader(reply, None)

    async def read(self) -> bytes:
        """The next piece of the decoded body; ``b""`` at its end, which closes this.

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
        raise failure

    def close(self) -> None:
        """Give the connection back: to the pool at the end of the body, to be closed before it."""
        if self._on_close is not None:
            finish, self._on_close = self._on_close, None
            if self._reply.content.at_eof():
                self._reply.release()
            else:
                self._reply.close()
            finish()
