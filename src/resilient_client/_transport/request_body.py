"""From the description of a body to what aiohttp sends, anew for each attempt.

Bytes go out as they are, if they are not many. Everything else goes in pieces, so that a body that the server does not
take is known for what it is, memory stays flat, and no large write blocks the event loop. Files are read in a worker
thread; a caller's own is never closed (aiohttp's multipart writer would), one opened here always is.
"""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from resilient_client._core.body import Body, Part, already_sent, require_bytes
from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.validation import kind_of
from resilient_client._transport.trace import WireTrace

_PIECE = 64 * 1024
_AT_ONCE = 1024 * 1024  # to hand them over does not show beside sending them, and aiohttp warns of more
_ESCAPES = str.maketrans({"\r": "%0D", "\n": "%0A", '"': "%22"})  # as browsers do: WHATWG HTML 4.10.21.8

Pieces: TypeAlias = AsyncIterator[bytes] | Iterator[bytes]


class Upload:
    """The pieces of one body for one attempt; aiohttp iterates it. ``close()`` when the exchange is over.

    Attributes:
        failure: What the body raised, or ``None``; the caller's own, never to be taken for trouble of the connection.
    """

    __slots__ = (
        "_announced",
        "_begun",
        "_body",
        "_closed",
        "_given",
        "_opened",
        "_pieces",
        "_sources",
        "_trace",
        "failure",
    )

    def __init__(self, body: Body, trace: WireTrace) -> None:
        self._body = body
        self._trace = trace
        self._sources = _sources(body)
        self._pieces: Pieces | None = None
        self._opened: list[BinaryIO] = []
        self._closed = False
        self._begun = False
        self._announced: int | None = None
        self._given = 0
        self.failure: Exception | None = None

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> bytes:
        self._trace.uploading = True
        try:
            self._begin()
            piece = await self._next()
            self._check(piece)
        except Exception as failure:
            self.failure = failure
            raise
        if piece is None:
            self._trace.uploading = False
            raise StopAsyncIteration
        return piece if isinstance(piece, bytes) else bytes(piece)

    def length(self) -> int | None:
        """The number of bytes, where it is known beforehand.

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
        self._announced = total
        return total

    def close(self) -> None:
        """Close the files that were opened here."""
        self._closed = True
        for file in self._opened:
            file.close()

    def _begin(self) -> None:
        """Claim the body: of two tasks that make one call at once, only one may send a one-shot body."""
        if self._begun:
            return
        if not self._body.sendable:
            raise already_sent()
        self._begun = self._body.spent = True

    def _check(self, piece: bytes | None) -> None:
        """Complain of what would have the server wait, or aiohttp fail in a way that looks like the server's fault."""
        if piece is not None:
            require_bytes(piece)
            self._given += len(piece)
        elif self._announced is not None and self._given < self._announced:
            raise InvalidRequestError(
                f"the body ended after {self._given} of {self._announced} bytes; leave a file alone while it is sent"
            )

    async def _next(self) -> bytes | None:
        while True:
            while self._pieces is not None:
                if isinstance(self._pieces, AsyncIterator):
                    piece = await anext(self._pieces, None)
                else:
                    piece = next(self._pieces, None)
                if piece:
                    return piece
                if piece is None:
                    self._pieces = None
            if (following := next(self._sources, None)) is None:
                return None
            self._pieces = await self._open(*following)

    async def _open(self, source: Any, start: int | None) -> Pieces:
        if isinstance(source, Path):
            source = await asyncio.to_thread(self._open_file, source)
        elif start is not None:
            source.seek(start)
        elif callable(source) and not hasattr(source, "read"):
            source = source()
            if inspect.isawaitable(source):
                source = await source
        if isinstance(source, bytes):
            return (source[at : at + _PIECE] for at in range(0, len(source), _PIECE))
        if hasattr(source, "read"):
            return _FilePieces(cast("BinaryIO", source))
        if isinstance(source, AsyncIterable):
            return aiter(source)
        if isinstance(source, Iterable) and not isinstance(source, str):
            return iter(cast("Iterable[bytes]", source))
        raise InvalidRequestError(
            f"the factory of content= gave a value {kind_of(source)}; it must be bytes, a file or an iterable of bytes"
        )

    def _open_file(self, path: Path) -> BinaryIO:
        """Runs in a thread, which may come to its end after the attempt did."""
        file = path.open("rb")
        self._opened.append(file)
        if self._closed:
            file.close()
        return file


class _FilePieces:
    """Reads a file piece by piece, off the event loop."""

    __slots__ = ("_file",)

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __aiter__(self) -> _FilePieces:
        return self

    async def __anext__(self) -> bytes:
        piece = await asyncio.to_thread(self._file.read, _PIECE)
        if not piece:
            raise StopAsyncIteration
        return piece


def is_buffered(body: Body, *, in_one_piece: bool = False) -> bool:
    """Whether the body can be handed over as it is: bytes, and not too many, or only as many as make one piece."""
    return isinstance(body.source, bytes) and len(body.source) <= (_PIECE if in_one_piece else _AT_ONCE)


def _sources(body: Body) -> Iterator[tuple[Any, int | None]]:
    """What the body consists of, in order, each with the position where a seekable file starts."""
    if body.boundary is None:
        yield body.source, body.start
        return
    for part in cast("tuple[Part, ...]", body.source):
        yield _head(part, body.boundary), None
        yield part.content, part.start
        yield b"\r\n", None
    yield f"--{body.boundary}--\r\n".encode(), None


def _head(part: Part, boundary: str) -> bytes:
    """What stands above a part (RFC 7578 section 4.2); names go as UTF-8."""
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
