"""One connection of our own: an ``asyncio.Protocol`` around the parser, which serves one request at a time.

It writes what it is given, wakes the caller that waits for the response, holds back a server that sends faster than the
caller reads, and knows whether it may be used again. Nothing here raises: a response that fails has a ``failure``,
which its user looks at after each wait.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from resilient_client._transport.http1.failure import Reason
from resilient_client._transport.http1.parser import ResponseParser

if TYPE_CHECKING:
    from resilient_client._transport.trace import WireTrace

_HIGH_WATER: Final = 256 * 1024  # bytes that wait for the reader of a stream before the server is held back
_CHUNKS_PER_TURN: Final = 4096  # that are read before other tasks may run
_RECHECK: Final = 0.001  # seconds in which a loop that was blocked reads what has arrived meanwhile


class Connection(ResponseParser, asyncio.Protocol):
    """A connection to one endpoint. Belongs to one event loop.

    Attributes:
        transport: Where asyncio writes; ``None`` before the connection is made and after it is lost.
        replied_at: When the head of a response was there whose content was still to come; 0 otherwise. In seconds on
            the clock of its trace.
        idle_since: When it was given back to the pool, in loop time.
        idle_limit: Seconds for which the server says that it keeps the connection.
    """

    __slots__ = (
        "_asked",
        "_chunks_before",
        "_drained",
        "_early",
        "_eof",
        "_last_data",
        "_loop",
        "_max_body",
        "_on_lost",
        "_read_size",
        "_silence",
        "_silence_timer",
        "_single_use",
        "_stopped_reading",
        "_trace",
        "_waiter",
        "idle_limit",
        "idle_since",
        "replied_at",
        "transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        max_field_size: int,
        max_fields: int,
        on_lost: Callable[[Connection], None],
    ) -> None:
        """The protocol of a connection that is about to be made.

        Args:
            loop: The running loop.
            max_field_size: Bytes of one header field, at most.
            max_fields: Header fields of a response, at most.
            on_lost: Called when the connection is closed or lost, perhaps twice.
        """
        super().__init__(max_field_size, max_fields)
        self._loop = loop
        self._on_lost = on_lost
        self.transport: asyncio.Transport | None = None
        self.idle_since = self.replied_at = 0.0
        self.idle_limit = float("inf")
        self._trace: WireTrace | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._asked: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._silence_timer: asyncio.TimerHandle | None = None
        self._single_use = self._eof = self._stopped_reading = self._early = False

    @property
    def lost(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.transport is None

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        transport = self.transport
        return self.reusable and not self._single_use and transport is not None and not transport.is_closing()

    def is_quiet(self) -> bool:
        """Whether the system has nothing from the server that the loop has not read yet, such as the end.

        Bytes that a loop, blocked in the meantime, reads after the next request would pass for the response to it.
        """
        return self.transport is not None and not _is_readable(self.transport.get_extra_info("socket").fileno())

    def send(
        self, method: str, data: bytes, trace: WireTrace, *, early: bool, max_body: int | None
    ) -> asyncio.Future[None]:
        """Send a request, or its head and the beginning of its body.

        Args:
            method: The method, which decides whether the response has content.
            data: The bytes to send.
            trace: Of the request. Marked when the head is there and the content is not.
            early: Wake the caller at the head of the response, and read no more content than the caller takes.
            max_body: Bytes of content to keep for the caller, at most, or ``None``. Not enforced with ``early``.

        Returns:
            Done when the response is complete or has failed, or at its head where that is enough: for a stream, for
            coded content, and for every status from 300 on. The content of an error may be slow, and its status must
            not get lost with it.
        """
        self.expect(method)
        self._trace = trace
        self._early = early
        self._max_body = max_body
        self._read_size = self._chunks_before = 0
        self.replied_at = 0.0
        waiter = self._waiter = self._loop.create_future()
        transport = self.transport
        if transport is None:  # lost in the meantime
            self.end(orderly=self._eof)
            waiter.set_result(None)
        else:
            transport.write(data)
        return waiter

    def write(self, data: bytes) -> None:
        """Send more bytes. What the server does not take yet is kept."""
        if self.transport is not None:
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the server has taken most of what was written, or the connection is lost."""
        if self._drained is not None:
            await self._drained

    def limit_silence(self, seconds: float) -> None:
        """Let the response fail after so many seconds without a byte from the server, from now on."""
        if self._silence_timer is None and not self.complete and self.failure is None:
            self._silence = seconds
            self._last_data = self._loop.time()
            self._silence_timer = self._loop.call_later(seconds, self._check_silence)

    def close_after_response(self) -> None:
        """Never use the connection for another request."""
        self._single_use = True

    async def read(self) -> bytes:
        """The next content. ``b""`` means the end, or a failure; what arrived before it is returned first."""
        while not self.has_content:
            if self.complete or self.failure is not None:
                return b""
            await self.wait()
        piece = self.take_body()
        self._read_size += len(piece)
        if self._stopped_reading:
            self._resume_reading()
        return piece

    async def asked_for_body(self) -> None:
        """Wait until the server sends 100 (Continue), or something else happens (RFC 9110 section 10.1.1)."""
        if not (self.continued or self.status or self.failure):
            asked = self._asked = self._loop.create_future()
            await asked

    async def wait(self) -> None:
        """Wait for the next news: a head, content, or the end."""
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def finish(self) -> None:
        """The exchange is over."""
        self._waiter = self._asked = self._trace = None
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None

    def close(self) -> None:
        """Close the connection at once. Bytes that are not sent are lost, and a response that is not complete fails.

        Over TLS the closure alert is sent (RFC 9112 section 9.8). The server's own alert is not waited for, which an
        event loop would do for up to 30 seconds.
        """
        if not self.complete:
            self.fail(Reason.ABORTED)
            self._wake()
        self.finish()
        self.reusable = False
        self._hang_up()

    # -- what asyncio calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection, TLS included, is there."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of a response, or bytes that nobody asked for."""
        was_complete = self.complete
        self.feed(data)
        if was_complete:
            if not self.reusable and self._waiter is None:
                self.close()
        elif self.failure is not None:
            self._give_up()
        elif not self.complete:
            self._look_after_incomplete()
        elif self._max_body is not None and self.body_size > self._max_body and not self._wakes_at_head():
            self._give_up(Reason.BODY_TOO_LARGE)
        else:
            self._wake()

    def eof_received(self) -> None:
        """The server sends no more: FIN, over TLS the closure alert, or for asyncio also FIN without it.

        The transport would close itself as soon as the server has taken what is unsent, which may be never.
        """
        if self.transport is not None:
            tls: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
            self._eof = tls is None or _is_closed(tls)
            self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by either side."""
        self.transport = None
        self._stopped_reading = False
        self.end(orderly=self._eof and exc is None)
        self.resume_writing()
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """The server takes no more for now."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """The server has taken most of it."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _wakes_at_head(self) -> bool:
        return self._early or self.status >= 300 or "Content-Encoding" in self.headers

    def _look_after_incomplete(self) -> None:
        """More of the response will come."""
        if self._silence_timer is not None:
            self._last_data = self._loop.time()
        if self._asked is not None and (self.continued or self.status):
            _end_wait(self._asked)
        if not self.status:
            return
        if self._trace is not None and not self.replied_at:
            self.replied_at = self._trace.mark_replied()
            self._early = self._wakes_at_head()
        if self._early:
            self._wake()
            if self.body_size - self._read_size > _HIGH_WATER:
                self._pause_reading()
        elif self._max_body is not None and max(self.body_size, self.content_length or 0) > self._max_body:
            self._give_up(Reason.BODY_TOO_LARGE)
        if self.chunks - self._chunks_before >= _CHUNKS_PER_TURN and not self._stopped_reading:
            self._chunks_before = self.chunks
            self._pause_reading()
            self._loop.call_soon(self._resume_reading)

    def _give_up(self, reason: Reason | None = None) -> None:
        """The response has failed, or fails for this reason. Close the connection and wake the caller."""
        if reason is not None:
            self.fail(reason)
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None
        self._hang_up()
        self._wake()

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.close()
            self.transport.abort()
            self._on_lost(self)

    def _pause_reading(self) -> None:
        if self.transport is not None and not self._stopped_reading and not self.transport.is_closing():
            self._stopped_reading = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._stopped_reading and self.transport is not None:
            self._stopped_reading = False
            self._last_data = self._loop.time()
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _check_silence(self, certain: bool = False) -> None:
        if self.complete:  # and not read yet
            self._silence_timer = None
            return
        left = self._last_data + self._silence - self._loop.time()
        if self._stopped_reading:
            left = self._silence
        if left > 0 or not certain:
            # A loop that was blocked for long may have bytes that it has not read yet. It reads them before it comes
            # back here.
            self._silence_timer = self._loop.call_later(max(left, _RECHECK), self._check_silence, left <= 0)
            return
        self._silence_timer = None
        self._give_up(Reason.SILENT)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._asked is not None:
            _end_wait(self._asked)


def _is_closed(tls: ssl.SSLObject) -> bool:
    """Whether the closure alert has arrived. All that came before it has been read."""
    try:
        return not tls.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:  # it wants to read more, which will never come
        return False


def _is_readable(file: int) -> bool:
    """Whether bytes, an end or an error wait to be read."""
    if not hasattr(select, "poll"):  # on Windows, where select takes any number of a file
        return bool(select.select([file], [], [], 0)[0])
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))


def _end_wait(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
