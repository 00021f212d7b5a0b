"""A response whose body the caller reads piece by piece, under the deadline of its call.

The policies apply up to the headers; nothing is retried once the body has begun. The connection goes back to the pool
at the end of the body, or is closed when the ``async with`` block is left before. ``stream_end`` says how a stream ends
that is not closed.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Final

from multidict import CIMultiDictProxy
from yarl import URL

from resilient_client._call.stream_end import StreamEnd
from resilient_client._core.call import CallOptions
from resilient_client._core.deadline import TaskTimeout
from resilient_client._core.errors import APIError, InvalidRequestError, ResponseTooLargeError
from resilient_client._core.record import AttemptRecord
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.timings import Timings
from resilient_client._core.validation import check_count

MAX_LINE: Final = 16 * 1024 * 1024
"""Characters of one line of ``iter_lines``, by default."""
_LINES_PER_TURN: Final = 4096  # lines given to the caller before other tasks may run: about a millisecond


class StreamResponse:
    """An open response. Read it in one task, inside its ``async with`` block.

    One that is not closed is closed at the deadline of its call, or when Python deletes it.

    Attributes:
        response: The response without its body. An error response, or one without a body, is read already.
    """

    __slots__ = ("_end", "_request", "_unread", "response")

    def __init__(self, response: Response, request: Request, on_end: Callable[[Exception | None], None]) -> None:
        """Take over an open response.

        Args:
            response: The response; its open body belongs to this object now.
            request: The request that it answers.
            on_end: Called once, when the call has ended: with the error, or with ``None``.
        """
        self.response = response
        self._unread = response.content  # of a response that was read already
        self._request = request
        self._end = StreamEnd(response, request, on_end)

    def __del__(self) -> None:
        if (end := getattr(self, "_end", None)) is not None:  # there is none if ``__init__`` has raised
            end.deleted()

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
        """The body in pieces as they arrive, decoded; each once.

        Raises:
            DeadlineExceededError: The deadline of the call passed.
            APIConnectionError: The connection was lost, or the body is cut short or corrupt.
            CallCancelledError: The client was closed meanwhile.
            InvalidRequestError: The stream is closed: its block was left, or it has failed before.
        """
        while piece := await self._next():
            yield piece

    async def iter_lines(self, *, max_line: int | None = MAX_LINE) -> AsyncIterator[str]:
        """The body in lines of UTF-8 text without their ends (LF or CRLF); undecodable bytes become U+FFFD.

        Other tasks run in between, however many lines arrive at once.

        Args:
            max_line: Characters of one line, 16 Mi by default. ``None``: no limit, so a line without end takes memory
                without end.

        Raises:
            ResponseTooLargeError: A line is longer.
            InvalidRequestError: ``max_line`` is no whole number of at least 1.
            APIError: As for ``iter_bytes``.
        """
        limit = None if max_line is None else check_count("max_line", max_line, InvalidRequestError)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        line: list[str] = []  # joined once, at its end: joining with every piece would copy a long line again and again
        size = count = 0
        while piece := await self._next():
            end, *beginnings = decoder.decode(piece).split("\n")
            line.append(end)
            size += len(end)
            for beginning in beginnings:
                self._check_line(size, limit)
                yield "".join(line).removesuffix("\r")
                line, size = [beginning], len(beginning)
                count += 1
                if count % _LINES_PER_TURN == 0:
                    await asyncio.sleep(0)
            self._check_line(size, limit)
        if last := "".join((*line, decoder.decode(b"", final=True))):
            yield last.removesuffix("\r")

    async def read(self) -> bytes:
        """The rest of the body."""
        return b"".join([piece async for piece in self.iter_bytes()])

    def close(self) -> None:
        """Give the connection back; what was not read is lost. May be called twice."""
        self._end.end(None)

    async def _next(self) -> bytes:
        if self._end.ended:
            raise self._ended_before()
        body = self.response.open_body
        if body is None:
            unread, self._unread = self._unread, b""
            return unread
        context = self._request.context
        timer = context.client.timer
        if timer.loop.time() >= context.deadline:  # reading what is buffered never yields to the loop: no timer fires
            raise self._fail(self._end.deadline_exceeded())
        timeout = TaskTimeout(timer, context.deadline)
        try:
            piece = await body.read()
        except asyncio.CancelledError:
            if not timeout.uncancel():
                raise
            failure = self._ended_before() if timeout.aborted else self._end.deadline_exceeded()
        except APIError as error:
            failure = error
        except Exception as error:  # the client was closed, or a bug: not the end of a good body
            self._end.end(error)
            raise
        else:
            if not piece:
                self._end.body_ended()
            return piece
        finally:
            timeout.close()
        raise self._fail(failure)

    def _check_line(self, size: int, limit: int | None) -> None:
        if limit is not None and size > limit:
            raise self._fail(
                ResponseTooLargeError(
                    f"a line of the body is longer than max_line={limit} characters; raise max_line, or read bytes",
                    label=self._request.label,
                )
            )

    def _fail(self, failure: APIError) -> APIError:
        self._end.end(failure)
        return failure

    def _ended_before(self) -> APIError:
        """The error of a read after the end: that of a deadline or a closed client between two reads, but only once."""
        failure, self._end.unreported = self._end.unreported, None
        return failure or InvalidRequestError(
            "this stream is closed; read it within its async with block, while it is whole",
            label=self._request.label,
        )


def check_stream_options(given: CallOptions) -> None:
    """Refuse options that a body read piece by piece cannot have. The client's own settings of them are ignored.

    Raises:
        InvalidRequestError: A fallback, coalescing or hedging is given.
    """
    for name, why in (
        ("fallback", "it fails where the caller reads it"),
        ("coalesce", "its body has one reader"),
        ("hedging", "its body cannot be raced"),
    ):
        if (value := given.get(name)) is not None and value is not False:
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
