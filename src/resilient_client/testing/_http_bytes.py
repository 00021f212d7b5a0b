"""Builds the raw bytes of HTTP/1.1 replies: heads, chunks and compressed bodies.

It adds nothing by itself (no `Date`, no `Content-Length`), so `faults` controls every byte that is sent.
"""

import importlib
import sys
import zlib
from collections.abc import Callable, Iterable
from http.client import responses
from typing import Literal, TypeAlias

Coding: TypeAlias = Literal["gzip", "deflate", "br", "zstd"]
"""A content coding (RFC 9110 §8.4.1). `br` and `zstd` need the extra `speed`."""


def head(status: int, fields: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return a status line and headers, up to and including the empty line."""
    reason = responses.get(status, "")
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def sized_head(body: bytes) -> bytes:
    """Return the head of a 200 that announces the length of a body."""
    return head(200, [("Content-Length", str(len(body)))])


def chunked_head(fields: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the head of a 200 with a chunked body."""
    return head(200, [("Transfer-Encoding", "chunked"), *fields])


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body, or nothing for empty data."""
    # A compressor often returns no data for a block, and a chunk of size 0 would end the body.
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode(body: bytes, coding: Coding) -> bytes:
    """Compress a body."""
    compress, finish = compressor(coding)
    return compress(body) + finish()


def compressor(coding: Coding) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """Return functions that compress the next block and that end the stream.

    Raises:
        ImportError: The library of the coding is not installed. The message names the extra.
    """
    if coding in ("gzip", "deflate"):
        stream = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
        return stream.compress, stream.flush
    zstd_module = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        library = importlib.import_module("brotli" if coding == "br" else zstd_module)
    except ImportError as error:
        raise ImportError(f"the coding {coding!r} needs a library: pip install 'resilient-client[speed]'") from error
    if coding == "br":
        brotli = library.Compressor(quality=5)  # the default, 11, takes seconds for a bomb
        return brotli.process, brotli.finish
    zstd = library.ZstdCompressor()
    return zstd.compress, zstd.flush
