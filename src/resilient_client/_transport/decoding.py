"""Undo the content coding of a body (gzip, deflate, br, zstd), piece by piece, to its very end.

Three things are settled here that decompression libraries leave open: how large a body may grow (a few
hundred bytes can expand to 200 MB), where it ends (a cut body must not pass for a short one), and how many
codings may be stacked. This module never reads from the network and never waits. Per coding it holds at most a
piece and the window that the format needs (br: at most 16 MiB, zstd: 8). The transport feeds it the bytes of the
wire::

    decoder = decoder_for(headers.get("Content-Encoding"), max_size=limit)  # None: no coding
    for chunk in wire:
        for piece in decoder.feed(chunk): ...  # other tasks may run between pieces
    decoder.finish()  # raises if the body was cut
"""

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

_PIECE = 64 * 1024  # the most a library call is given, and about the most it may return
_MAX_CODINGS = 5  # each may multiply by thousands; urllib3 set the same bound after CVE-2025-66418
_ZSTD_WINDOW_LOG = 23  # 8 MiB: the largest window a sender may use over HTTP (RFC 9659)
_GZIP = b"\x1f\x8b"  # RFC 1952 section 2.3.1
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes((0x50 + n, 0x2A, 0x4D, 0x18)) for n in range(16)))  # RFC 8878 section 3.1


class DecodingFailure(Exception):  # noqa: N818 -- internal: the transport translates it into a public XError
    """A body cannot be decoded. The message holds names and numbers, never content."""


class UndecodableBody(DecodingFailure):
    """Too many codings are stacked."""


class UnknownCoding(DecodingFailure):
    """A coding is unknown, or needs a library that is not installed. The bytes can still be used as received."""


class CorruptBody(DecodingFailure):
    """The coded bytes break the rules of their coding."""


class NotInCoding(CorruptBody):
    """Bytes are not in the announced coding at all, from the start or after its end. They would be the same again."""


class TruncatedBody(DecodingFailure):
    """The coded bytes stop before the end that their coding marks."""


class BodyTooLarge(DecodingFailure):
    """The decoded body is larger than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the decoded body is larger than {limit} bytes")
        self.limit = limit


class BodyDecoder:
    """Decodes one body. Made by `decoder_for`; not shared by tasks, not used again after an exception."""

    __slots__ = ("_decoded", "_max_size", "_stages")

    def __init__(self, stages: "list[_Stage]", max_size: int | None) -> None:
        self._stages = stages
        self._max_size = max_size
        self._decoded = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode, lazily, the next bytes of the wire; exhaust the iterator before feeding again.

        Every piece is a bounded amount of work and holds at most 96 KiB. It may be empty: coded bytes can also
        decode to nothing for a long time, and the caller must be able to yield to the loop there too.

        Yields:
            The decoded pieces, in order. Of a body that is too large, exactly the first ``max_size`` bytes.

        Raises:
            CorruptBody: The bytes break the rules of their coding.
            BodyTooLarge: More than ``max_size`` bytes came out, over all calls.
        """
        for start in range(0, len(data), _PIECE):
            for piece in _undo(self._stages, data[start : start + _PIECE]):
                if self._max_size is not None and len(piece) > self._max_size - self._decoded:
                    yield piece[: self._max_size - self._decoded]
                    raise BodyTooLarge(self._max_size)
                self._decoded += len(piece)
                yield piece

    def finish(self) -> None:
        """Check, after the last byte of the wire, that the body is whole.

        No coded byte at all is an empty body, because servers announce a coding on responses without content. A cut
        between two gzip members or zstd frames is invisible here. Only the framing of the message shows it.

        Raises:
            TruncatedBody: The coded bytes stop before their end.
        """
        for stage in self._stages:
            stage.finish()


def decoder_for(content_encoding: str | None, *, max_size: int | None) -> BodyDecoder | None:
    """Choose the decoder for a body.

    Args:
        content_encoding: The value of the header, of repeated headers joined by commas; None without one.
        max_size: Bytes that the decoded body may have; None means no limit.

    Returns:
        The decoder, or None for a body without coding (no header, or only ``identity``).

    Raises:
        UnknownCoding: A coding is unknown, or its library missing.
        UndecodableBody: More than five are stacked.
    """
    # A coding has no parameters (RFC 9110 section 8.4.1). Some servers send them.
    listed = (name.partition(";")[0].strip().lower() for name in (content_encoding or "").split(","))
    names = [name for name in listed if name not in ("", "identity")]
    if len(names) > _MAX_CODINGS:
        raise UndecodableBody(f"the body has {len(names)} content codings, more than {_MAX_CODINGS}")
    stages = [_Stage(_coding(name)) for name in reversed(names)]  # the last applied is listed last (RFC 9110)
    return BodyDecoder(stages, max_size) if stages else None


def _undo(stages: "list[_Stage]", data: bytes) -> Iterator[bytes]:
    """Send ``data`` through the stages, one piece at a time through all of them."""
    if stages:
        for piece in stages[0].decode(data):
            yield from _undo(stages[1:], piece)
    else:
        yield data


class _Stream(Protocol):
    """One gzip member, zlib, brotli or zstd stream."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Coding:
    """What differs between codings."""

    name: str
    open: Callable[[bytes], _Stream]  # gets the first bytes to look at, and does not consume them
    error: type[Exception]  # what the library raises for corrupt data
    repeats: bool = False  # another stream may follow the first
    padding: bytes = b""  # meaningless bytes after the end
    magic: tuple[bytes, ...] = ()  # one of these begins each stream; (): the format has none


class _Stage:
    """Undoes one coding: one stream or several in a row."""

    __slots__ = ("_coded", "_coding", "_stream")

    def __init__(self, coding: _Coding) -> None:
        self._coding = coding
        self._stream: _Stream | None = None
        self._coded = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what each library call returns until ``data`` is used up."""
        self._coded += len(data)
        stream = self._stream
        while data:
            if stream is None:
                self._check_magic(data)
                stream = self._stream = self._coding.open(data)
            elif stream.eof:
                stream, data = None, self._after_end(data)
                continue
            yield (piece := self._decompress(stream, data))
            while len(piece) >= _PIECE and not stream.eof:  # there may be more: ask again
                # zlib hands back the input that it has not used yet; the others keep it.
                yield (piece := self._decompress(stream, getattr(stream, "unconsumed_tail", b"")))
            data = stream.unused_data if stream.eof else b""

    def finish(self) -> None:
        """Raise `TruncatedBody` if a stream is still open."""
        if self._stream is not None and not self._stream.eof:
            raise TruncatedBody(f"the {self._coding.name} body stops after {self._coded} bytes, too early")

    def _after_end(self, data: bytes) -> bytes:
        """Return the data after the end of a stream that must begin the next one."""
        data = data.lstrip(self._coding.padding)
        if data and not self._coding.repeats:
            raise NotInCoding(f"{len(data)} bytes follow the end of the {self._coding.name} body")
        return data

    def _check_magic(self, data: bytes) -> None:
        coding = self._coding
        if coding.magic and not any(data.startswith(magic[: len(data)]) for magic in coding.magic):
            if self._stream is not None:
                raise NotInCoding(f"{len(data)} bytes follow the end of the {coding.name} body")
            raise NotInCoding(f"corrupt {coding.name} body: its first bytes are not {coding.name}")

    def _decompress(self, stream: _Stream, data: bytes) -> bytes:
        try:
            return stream.decompress(data, _PIECE)
        except self._coding.error as exc:
            raise CorruptBody(f"corrupt {self._coding.name} body, within {self._coded} bytes: {exc}") from exc


class _BrotliStream:
    """Adapts brotli to the interface of the others. It exceeds the limit: 96 KiB when asked for 64."""

    __slots__ = ("_brotli",)
    unused_data = b""  # to brotli, bytes after the end are an error

    def __init__(self, module: str) -> None:
        self._brotli = import_module(module).Decompressor()

    @property
    def eof(self) -> bool:
        return bool(self._brotli.is_finished())

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return bytes(self._brotli.process(data, output_buffer_limit=max_length))


def _open_deflate(data: bytes) -> _Stream:
    # "deflate" means the zlib format, but some servers send raw deflate, and browsers accept both. 8 in the low bits
    # is zlib's header. In raw deflate it would be a stored block with a stray padding bit, which no encoder writes.
    return zlib.decompressobj(zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS)


def _coding(name: str) -> _Coding:
    """Look up a coding; br and zstd import their library here, at first use."""
    match name:
        case "gzip" | "x-gzip":
            # Members may follow one another (RFC 1952 section 2.2), and zeros may pad the last, as for gzip(1).
            # Any other byte after the end is an error: it may as well be a damaged member.
            return _Coding("gzip", lambda _: zlib.decompressobj(16 + zlib.MAX_WBITS), zlib.error, True, b"\0", (_GZIP,))
        case "deflate":
            return _Coding("deflate", _open_deflate, zlib.error)
        case "br" if brotli := _brotli():
            return _Coding("br", lambda _: _BrotliStream(brotli), import_module(brotli).error)
        case "zstd" if module := _zstd():
            zstd = import_module(module)
            options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
            return _Coding("zstd", lambda _: zstd.ZstdDecompressor(options=options), zstd.ZstdError, True, magic=_ZSTD)
        case "br" | "zstd":
            raise UnknownCoding(f"to decode {name}: pip install 'resilient-client[speed]'")
        case _:
            raise UnknownCoding(f"unknown content coding {name!r:.40}")


@cache
def accept_encoding() -> str:
    """What this process can decode, as the value of the request header ``Accept-Encoding``."""
    return "gzip, deflate" + (", br" if _brotli() else "") + (", zstd" if _zstd() else "")


@cache
def _brotli() -> str:
    """The module that decodes br. Before 1.2 it could not limit its output."""
    return next((module for module in ("brotli", "brotlicffi") if _release(module) >= (1, 2)), "")


@cache
def _zstd() -> str:
    """The module that decodes zstd."""
    return "compression.zstd" if find_spec("_zstd") else "backports.zstd" if _release("backports.zstd") else ""


def _release(distribution: str) -> tuple[int, ...]:
    """Return major and minor version, without importing the library; () if it is not installed."""
    from importlib import metadata  # expensive to import

    try:
        return tuple(int(number) for number in re.findall(r"\d+", metadata.version(distribution))[:2])
    except metadata.PackageNotFoundError:
        return ()
