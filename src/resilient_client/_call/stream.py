"""A reply whose body the caller reads piece by piece, under the deadline of its call.

The policies apply up to the headers; nothing is retried once the body has begun. The connection is given back at
the end of the body, or closed when the ``async with`` block is left before.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType

from multidict import CIMultiDictProxy
from yarl import URL

from resilient_client._core.call import CallOptions
from resilient_client._core.deadline import TaskTimeout
from resilient_client._core.errors import APIError, DeadlineExceededError, InvalidRequestError
from resilient_client._core.kinds import Stage
from resilient_client._core.record import AttemptRecord
from resilient_client._core.request import OpenBody, Request
from resilient_client._core.response import Response
from resilient_client._core.timings import Timings


class StreamResponse:
    """An open reply. Read it by one task, inside its ``async with`` block.

    Attributes:
        response: The reply without its body: an error reply, or one that has none, is read already.
    """

    __slots__ = ("_body", "_closed", "_conclude", "_concluded", "_request", "_rest", "response")

    def __init__(
        self, response: Response, body: OpenBody | None, request: Request, conclude: Callable[[Exception | None], None]
    ) -> None:
        """Take over an open reply; ``conclude`` is told once how the call ended: with an error, or well."""
        self.response = response
        self._body = body
        self._rest = response.content if body is None else b""  # read already, and not yet given
        self._closed = False
        self._request = request
        self._conclude = conclude
        self._concluded = False

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers of the reply."""
        return self.response.headers

    @property
    def url(self) -> URL:
        """Where it came from, after redirects."""
        return self.response.url

    @property
    def attempts(self) -> int:
        """How many attempts it took."""
        return self.response.attempts

    @property
    def history(self) -> tuple[AttemptRecord, ...]:
        """One record an attempt."""
        return self.response.history

    @property
    def timings(self) -> Timings:
        """Where the last attempt spent its time, as far as it is known yet."""
        return self.response.timings

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """The body in pieces as they come, decoded; each once.

        Raises:
            DeadlineExceededError: The deadline of the call passed.
            APIConnectionError: The connection was lost, or the body is cut short or corrupt.
            ClientClosedError: The client was closed meanwhile.
            InvalidRequestError: The stream is closed: its block was left, or it has failed before.
        """
        while piece := await self._next():
            yield piece

    async def iter_lines(self) -> AsyncIterator[str]:
        """The body in lines of UTF-8 text without their ends (LF or CRLF); undecodable bytes become U+FFFD."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        line: list[str] = []  # joined at its end only, or a long line would be copied with every piece
        async for piece in self.iter_bytes():
            end, *beginnings = decoder.decode(piece).split("\n")
            line.append(end)
            for beginning in beginnings:
                yield "".join(line).removesuffix("\r")
                line = [beginning]
        if last := "".join((*line, decoder.decode(b"", final=True))):
            yield last.removesuffix("\r")

    async def read(self) -> bytes:
        """All that is left of the body."""
        return b"".join([piece async for piece in self.iter_bytes()])

    def close(self) -> None:
        """Give the connection back; what was not read is lost. May be called twice."""
        self._closed = True
        if self._body is not None:
            self._body.close()
        self._end(None)

    async def _next(self) -> bytes:
        if self._closed:
            raise InvalidRequestError(
                "this stream is closed; read it within its async with block, while it is whole",
                label=self._request.label,
            )
        if self._body is None:
            rest, self._rest = self._rest, b""
            return rest
        context = self._request.context
        timer = context.client.timer
        if timer.loop.time() >= context.deadline:  # a body that is always there would never let an alarm ring
            raise self._fail(self._late())
        timeout = TaskTimeout(timer, context.deadline)
        try:
            return await self._body.read()
        except asyncio.CancelledError:
            if not timeout.uncancel():
                raise
            failure = self._late()
        except APIError as error:
            failure = error
        except Exception as error:  # the client was closed, or nobody's foreseen failure: not the end of a good body
            self._end(error)
            self.close()
            raise
        finally:
            timeout.close()
        raise self._fail(failure)

    def _fail(self, failure: APIError) -> APIError:
        self._end(failure)
        self.close()
        return failure

    def _end(self, failure: Exception | None) -> None:
        if not self._concluded:
            self._concluded = True
            self._conclude(failure)

    def _late(self) -> APIError:
        context = self._request.context
        given = context.deadline - context.started
        return DeadlineExceededError(
            f"the call was not done after {given:.3g} s, stuck in stage body",
            stage=Stage.BODY,
            label=self._request.label,
        )


def check_stream_options(given: CallOptions) -> None:
    """Refuse what a body that is read piece by piece cannot have; what the client has set is passed over.

    Raises:
        InvalidRequestError: A fallback, coalescing or hedging is asked for.
    """
    for name, why in (
        ("fallback", "it fails where the caller reads it"),
        ("coalesce", "its body has one reader"),
        ("hedging", "its body cannot be raced"),
    ):
        if given.get(name):
            raise InvalidRequestError(f"a stream takes no {name}: {why}; leave it out, or use a call that reads all")


class StreamContext:
    """``async with api.stream(...) as reply``: opens on entry, closes on exit, whatever happens between."""

    __slots__ = ("_open", "_reply")

    def __init__(self, open_reply: Callable[[], Awaitable[StreamResponse]]) -> None:
        self._open = open_reply
        self._reply: StreamResponse | None = None

    async def __aenter__(self) -> StreamResponse:
        self._reply = await self._open()
        return self._reply

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reply is not None:
            self._reply.close()
