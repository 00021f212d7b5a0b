"""From the description of a body to what aiohttp sends, anew for each attempt.

Small bytes go out as they are. Everything else goes in pieces, so that a body that the server does not take is known
for what it is, memory stays flat, and no large write blocks the event loop. Files are read in a worker thread and
never closed unless they were opened here.
"""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import aiohttp

from resilient_client.core.body import Body, Part
from resilient_client.transport.progress import Progress

_PIECE = 64 * 1024


class Upload:
    """The pieces of one body for one attempt; aiohttp iterates it. ``close()`` when the attempt is over."""

    __slots__ = ("_body", "_close", "_pieces", "_progress", "failure")

    def __init__(self, body: Body, progress: Progress) -> None:
        self._body = body
        self._progress = progress
        self._pieces: AsyncIterator[bytes] | Iterator[bytes] | None = None
        self._close: BinaryIO | None = None
        self.failure: Exception | None = None

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> bytes:
        try:
            if self._pieces is None:
                self._body.spent = True
                self._progress.uploading = True
                self._pieces = await self._open()
            piece = await self._next(self._pieces)
        except Exception as failure:
            self.failure = failure
            raise
        if piece is None:
            self._progress.uploading = False
            raise StopAsyncIteration
        return piece

    @property
    def length(self) -> int | None:
        """The number of bytes, where it is known beforehand."""
        source = self._body.source
        if isinstance(source, bytes):
            return len(source)
        if isinstance(source, Path):
            return source.stat().st_size
        if self._body.start is not None:
            end = cast("BinaryIO", source).seek(0, io.SEEK_END)
            cast("BinaryIO", source).seek(self._body.start)
            return end - self._body.start
        return None

    def close(self) -> None:
        """Close the file that was opened here, if any."""
        if self._close is not None:
            self._close.close()

    async def _open(self) -> AsyncIterator[bytes] | Iterator[bytes]:
        source = self._body.source
        if isinstance(source, Path):
            self._close = source = await asyncio.to_thread(source.open, "rb")
        elif self._body.start is not None:
            source.seek(self._body.start)
        elif callable(source) and not hasattr(source, "read"):
            source = source()
            if inspect.isawaitable(source):
                source = await source
        if isinstance(source, bytes):
            return (source[at : at + _PIECE] for at in range(0, len(source), _PIECE))
        if hasattr(source, "read"):
            return _FilePieces(cast("BinaryIO", source))
        return aiter(source) if isinstance(source, AsyncIterable) else iter(cast("Iterable[bytes]", source))

    @staticmethod
    async def _next(pieces: AsyncIterator[bytes] | Iterator[bytes]) -> bytes | None:
        if isinstance(pieces, AsyncIterator):
            return await anext(pieces, None)
        return next(pieces, None)


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


def is_small(body: Body) -> bool:
    """Whether the body can be handed over as it is."""
    return isinstance(body.source, bytes) and len(body.source) <= _PIECE


def is_multipart(body: Body) -> bool:
    """Whether the body consists of parts."""
    return isinstance(body.source, tuple)


def multipart(body: Body) -> aiohttp.FormData:
    """A multipart body (RFC 7578), encoded by aiohttp."""
    body.spent = True
    form = aiohttp.FormData(default_to_multipart=True)
    for part in cast("tuple[Part, ...]", body.source):
        form.add_field(part.name, _part_content(part), filename=part.filename, content_type=part.content_type)
    return form


def _part_content(part: Part) -> bytes | str | BinaryIO:
    content = part.content
    if isinstance(content, Path):
        return content.open("rb")  # closed by aiohttp once it is sent
    if part.start is not None:
        cast("BinaryIO", content).seek(part.start)
    return content
