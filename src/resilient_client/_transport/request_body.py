"""From the description of a body to what aiohttp sends, built for each attempt.

A small body of bytes is sent as it is. Everything else is sent in pieces: a server that stops reading is noticed in the
stage of sending, memory stays flat, and no large write blocks the event loop. Files are read in a worker thread. A
caller's file is never closed (aiohttp's multipart writer would close it), a file opened here always is.
"""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar, cast

from resilient_client._core.body import Body, Part, already_sent, require_bytes
from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.validation import kind_of
from resilient_client._transport.threads import Threads
from resilient_client._transport.trace import WireTrace

_PIECE = 64 * 1024
_AT_ONCE = 1024 * 1024  # handing over so many bytes costs little compared with sending them, and aiohttp warns of more
_END = object()
_ESCAPES = str.maketrans({"\r": "%0D", "\n": "%0A", '"': "%22"})  # as browsers do (WHATWG HTML 4.10.21.8)

_T = TypeVar("_T")

Pieces: TypeAlias = AsyncIterator[bytes] | Iterator[bytes]


class SourceFailed(Exception):  # noqa: N818 - internal: only crosses aiohttp, never reaches a user
    """Ends an upload whose source failed.

    aiohttp aborts the request for any ordinary exception. It would take a ``StopAsyncIteration`` of the source for the
    end of the body, and a ``CancelledError`` for its own, after which it reports that the server disconnected.
    """


class Upload:
    """The pieces of one body for one attempt; aiohttp iterates it. ``close()`` when the exchange is over.

    Attributes:
        failure: What the source of the body raised, or ``None``. It is the caller's own error, not the connection's. A
            ``CancelledError`` is here only if the source raised it by itself.
        sending: The task that sends the pieces, on the direct path.
    """

    __slots__ = (
        "_body",
        "_claimed",
        "_closed",
        "_declared_size",
        "_opened",
        "_pieces",
        "_sent_size",
        "_sources",
        "_threads",
        "_trace",
        "failure",
        "sending",
    )

    def __init__(self, body: Body, trace: WireTrace, threads: Threads) -> None:
        self._body = body
        self._trace = trace
        self._threads = threads  # in which files are read
        self._sources = _sources(body)
        self._pieces: Pieces | None = None
        self._opened: list[BinaryIO] = []
        self._closed = False
        self._claimed = False
        self._declared_size: int | None = None
        self._sent_size = 0
        self.failure: BaseException | None = None
        self.sending: asyncio.Task[bool] | None = None

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> bytes:
        self._trace.uploading = True
        try:
            self._claim()
            if piece := await self._next():
                self._sent_size += len(piece)
                return piece
            self._check_size()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as failure:
            if isinstance(failure, asyncio.CancelledError) and _is_cancelled():
                raise  # aiohttp stops the upload
            self.failure = failure
            self._trace.abort()  # a server that has begun to reply would wait for the rest, and the call for the server
            raise SourceFailed from None
        self._trace.uploading = False
        raise StopAsyncIteration

    def length(self) -> int | None:
        """The number of bytes, where it is known in advance.

        Raises:
            OSError: A file cannot be measured; it may be gone.
        """
        total = 0
        try:
            for source, start in _sources(self._body):
                size = _size(source, start)
                if size is None:
                    return None
                total += size
        except (OSError, ValueError) as gone:
            self.failure = gone
            raise
        self._declared_size = total
        return total

    async def end_source(self) -> None:
        """End a generator whose pieces were not all taken. Else its resources would be held until it is collected."""
        pieces, self._pieces = self._pieces, None
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
        elif isinstance(pieces, Generator):
            pieces.close()

    def close(self) -> None:
        """Stop sending, and close the files that were opened here."""
        self._closed = True
        if self.sending is not None:
            self.sending.cancel()
            self.sending = None
        for file in self._opened:
            file.close()

    def _claim(self) -> None:
        """Claim the body: of two tasks that send one call at once, only one may send a one-shot body."""
        if self._claimed:
            return
        if not self._body.sendable:
            raise already_sent()
        self._claimed = self._body.spent = True

    def _check_size(self) -> None:
        """Refuse the end of a body that is shorter than announced: the server would wait for the rest."""
        if self._declared_size is not None and self._sent_size < self._declared_size:
            raise InvalidRequestError(
                f"the body ended after {self._sent_size} of {self._declared_size} bytes; "
                "do not change a file while it is sent"
            )

    async def _next(self) -> bytes:
        """The next piece that is not empty; ``b""`` at the end of the body."""
        while True:
            while self._pieces is not None:
                if isinstance(self._pieces, AsyncIterator):
                    piece = await anext(self._pieces, _END)
                else:
                    piece = next(self._pieces, _END)
                if piece is _END:
                    self._pieces = None
                elif whole := require_bytes(piece):
                    return whole
            if (following := next(self._sources, None)) is None:
                return b""
            self._pieces = await self._open(*following)

    async def _open(self, source: Any, start: int | None) -> Pieces:
        if isinstance(source, Path):
            source = await _run_in(self._threads, self._open_file, source)
        elif start is not None:
            source.seek(start)
        elif callable(source) and not hasattr(source, "read"):
            source = source()
            if inspect.isawaitable(source):
                source = await source
        if isinstance(source, bytes):
            return (source[at : at + _PIECE] for at in range(0, len(source), _PIECE))
        if hasattr(source, "read"):
            return _FilePieces(cast("BinaryIO", source), self._threads)
        if isinstance(source, AsyncIterable):
            return aiter(source)
        if isinstance(source, Iterable) and not isinstance(source, str):
            return iter(cast("Iterable[bytes]", source))
        raise InvalidRequestError(
            f"the factory of content= gave a value {kind_of(source)}; it must be bytes, a file or an iterable of bytes"
        )

    def _open_file(self, path: Path) -> BinaryIO:
        """Runs in a thread, which may end later than the attempt."""
        file = path.open("rb")
        self._opened.append(file)
        if self._closed:
            file.close()
        return file


class _FilePieces:
    """Reads a file piece by piece, off the event loop."""

    __slots__ = ("_file", "_threads")

    def __init__(self, file: BinaryIO, threads: Threads) -> None:
        self._file = file
        self._threads = threads

    def __aiter__(self) -> _FilePieces:
        return self

    async def __anext__(self) -> bytes:
        piece = require_bytes(await _run_in(self._threads, self._file.read, _PIECE))
        if not piece:
            raise StopAsyncIteration
        return piece


def _is_cancelled() -> bool:
    """Whether the current task was asked to end: then a ``CancelledError`` in it is not the source's own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _run_in(threads: Threads, function: Callable[..., _T], argument: object) -> _T:
    """As ``asyncio.to_thread`` does, but not in asyncio's default executor, where everything in the process waits."""
    job: Callable[[], _T] = partial(copy_context().run, function, argument)
    return await asyncio.get_running_loop().run_in_executor(threads, job)


def is_buffered(body: Body, *, in_one_piece: bool = False) -> bool:
    """Whether the body can be handed over as it is: bytes up to 1 MiB, or with ``in_one_piece`` up to 64 KiB."""
    return isinstance(body.source, bytes) and len(body.source) <= (_PIECE if in_one_piece else _AT_ONCE)


def _sources(body: Body) -> Iterator[tuple[Any, int | None]]:
    """The sources of the body in order, each with the position where a seekable file starts."""
    if body.boundary is None:
        yield body.source, body.start
        return
    for part in cast("tuple[Part, ...]", body.source):
        yield _head(part, body.boundary), None
        yield part.content, part.start
        yield b"\r\n", None
    yield f"--{body.boundary}--\r\n".encode(), None


def _head(part: Part, boundary: str) -> bytes:
    """The head of a part (RFC 7578 section 4.2); names are sent as UTF-8."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{part.name.translate(_ESCAPES)}"'
    if part.filename is not None:
        head += f'; filename="{part.filename.translate(_ESCAPES)}"'
    if part.content_type is not None:
        head += f"\r\nContent-Type: {part.content_type}"
    return f"{head}\r\n\r\n".encode()


def _size(source: Any, start: int | None) -> int | None:
    if isinstance(source, bytes):
        return len(source)
    if isinstance(source, Path):
        return source.stat().st_size
    if start is None:
        return None
    end: int = source.seek(0, io.SEEK_END)
    source.seek(start)
    return max(0, end - start)
