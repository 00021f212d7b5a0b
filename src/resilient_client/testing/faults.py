"""What `FaultServer` puts on the wire: good replies, and every way we know to spoil one.

Every function here returns a description (`wire.Fault`) and does nothing: the server plays it, once per
request. A function's body documents the very bytes that are sent. What none of them describes, an async
function `(request, wire) -> None` of your own can do.
"""

import importlib
import itertools
import json as _json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.client import responses
from typing import Literal, TypeAlias

from multidict import CIMultiDict

from resilient_client.testing._wire import End, Fault, Hold, Part, Pause, ReceivedRequest, Step

Coding: TypeAlias = Literal["gzip", "deflate", "br", "zstd"]
"""A content coding (RFC 9110 §8.4.1): `br` and `zstd` need the extra `speed`."""

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields; pairs where a name repeats."""

_BODY = b'{"message": "a body long enough to be cut in the middle"}'
_LONG_BODY = b"".join(b'{"line": %d}\n' % number for number in range(2_000))
_BLOCK = bytes(1 << 20)


# --- replies as they should be ---


def reply(
    status: int = 200,
    *,
    json: object = None,
    text: str | None = None,
    body: bytes = b"",
    headers: Headers = (),
    coding: Coding | None = None,
    delay: float = 0,
    keep_alive: bool = True,
) -> Fault:
    """A proper reply.

    Args:
        status: Any number; 1xx, 204 and 304 and the reply to HEAD carry no body.
        json: Sent as JSON unless None (`body=b"null"` sends a null).
        text: Sent as UTF-8 text, unless `json` is given.
        body: Sent as it is, unless `json` or `text` is given.
        headers: Sent too, and before our own: a `Content-Length` given here is sent even if it lies.
        coding: Compresses the body and says so in `Content-Encoding`.
        delay: Seconds before the first byte.
        keep_alive: False announces `Connection: close` and closes.
    """
    fields = CIMultiDict(headers)
    if json is not None:
        body = _json.dumps(json).encode()
        fields.setdefault("Content-Type", "application/json")
    elif text is not None:
        body = text.encode()
        fields.setdefault("Content-Type", "text/plain; charset=utf-8")
    if coding:
        body = _encode(body, coding)
        fields.setdefault("Content-Encoding", coding)
    bodiless = status < 200 or status in (204, 304)
    if not bodiless:
        fields.setdefault("Content-Length", str(len(body)))
    if not keep_alive:
        fields.setdefault("Connection", "close")
    head = _head(status, fields.items())

    def parts(request: ReceivedRequest) -> Iterator[Part]:
        if delay:
            yield Pause(delay)
        yield head if bodiless or request.method == "HEAD" else head + body
        if not keep_alive:
            yield End.CLOSE

    return Fault(f"reply({status})", parts)


def echo() -> Fault:
    """A 200 that tells in JSON what came: `method`, `path`, `query`, `headers` (lower-case names), `body`.

    Of a repeated query name or header the last one is told; `server.requests` has them all.
    """

    def parts(request: ReceivedRequest) -> Iterable[Part]:
        told = {
            "method": request.method,
            "path": request.path,
            "query": dict(request.query.items()),
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": request.body.decode(errors="replace"),
        }
        return reply(json=told).parts(request)

    return Fault("echo()", parts)


def redirect(to: str, status: int = 302) -> Fault:
    """A redirect to `to`, which is sent as it is."""
    return Fault(f"redirect({to!r})", reply(status, headers={"Location": to}).parts)


def hold(step: Step | None = None) -> Hold:
    """Hold requests until the test calls `release()`, then answer with `step` (default: an empty 200)."""
    return Hold(step or reply())


# --- the connection ends, or nothing comes ---


def drop() -> Fault:
    """Read the request, then close before any byte of a reply."""
    return Fault("drop()", _always(End.CLOSE))


def reset() -> Fault:
    """Read the request, then RST before any byte of a reply."""
    return Fault("reset()", _always(End.RESET))


def close_idle(at: Literal["reply", "request"] = "request") -> Fault:
    """A stale keep-alive: reply well, promise to keep the connection, and close it all the same.

    Args:
        at: `"reply"`: a FIN right behind the reply, so a pool can see it. `"request"`: the FIN comes in place
            of the answer to the next request on that connection, so no pool can. That request counts in
            `hits` and takes no step of the script.
    """
    end = End.CLOSE if at == "reply" else End.CLOSE_ON_REUSE
    return Fault(f"close_idle({at!r})", _always(_head(200, [("Content-Length", "2")]) + b"{}", end))


def hang_before_headers() -> Fault:
    """Read the request and never answer."""
    return Fault("hang_before_headers()", _always(End.HANG))


def hang_in_headers() -> Fault:
    """Fall silent in the middle of the headers."""
    return Fault("hang_in_headers()", _always(b"HTTP/1.1 200 OK\r\nContent-Ty", End.HANG))


def hang_in_body(body: bytes = _BODY, sent: int = 10) -> Fault:
    """Fall silent after `sent` bytes of the body."""
    return Fault("hang_in_body()", _always(_sized(body) + body[:sent], End.HANG))


def drip(body: bytes = _BODY, interval: float = 0.1) -> Fault:
    """A proper reply whose body comes byte by byte, `interval` seconds before each."""

    def parts(_request: ReceivedRequest) -> Iterator[Part]:
        yield _sized(body)
        for byte in body:
            yield Pause(interval)
            yield bytes([byte])

    return Fault("drip()", parts)


def truncate(body: bytes = _BODY, sent: int = 10) -> Fault:
    """Announce the whole body, send `sent` bytes of it, close."""
    return Fault("truncate()", _always(_sized(body) + body[:sent], End.CLOSE))


def truncate_chunked(body: bytes = _BODY) -> Fault:
    """Send the body as one whole chunk, and close where the last chunk should stand."""
    return Fault("truncate_chunked()", _always(_chunked_head() + _chunk(body), End.CLOSE))


def reset_body(body: bytes = _BODY, sent: int = 10) -> Fault:
    """Announce the whole body, send `sent` bytes of it, RST."""
    return Fault("reset_body()", _always(_sized(body) + body[:sent], End.RESET))


# --- broken HTTP ---


def garbage(data: bytes = b"220 mail.example.com ESMTP\r\n") -> Fault:
    """Send bytes that are not HTTP (or any bytes you like) and close."""
    return Fault("garbage()", _always(data, End.CLOSE))


def wrong_length(body: bytes = _BODY, announced: int = 10) -> Fault:
    """Send more body than `Content-Length` announces, then close; the rest must never pass for a reply."""
    return Fault("wrong_length()", _always(_head(200, [("Content-Length", str(announced))]) + body, End.CLOSE))


def bad_chunk() -> Fault:
    """A chunked reply whose second chunk has a size that is no number."""
    return Fault("bad_chunk()", _always(_chunked_head() + _chunk(_BODY) + b"zz\r\n", End.CLOSE))


def oversized_headers(size: int = 1 << 20) -> Fault:
    """A reply with one header of `size` bytes."""
    return Fault("oversized_headers()", reply(headers={"X-Oversized": "x" * size}).parts)


def many_headers(count: int = 1_000) -> Fault:
    """A reply with `count` short headers."""
    headers = [(f"X-Many-{number}", "x") for number in range(count)]
    return Fault("many_headers()", reply(headers=headers).parts)


# --- replies without end or measure ---


def endless_headers() -> Fault:
    """Headers that never end."""

    def parts(_request: ReceivedRequest) -> Iterator[Part]:
        yield b"HTTP/1.1 200 OK\r\n"
        for number in itertools.count():
            yield b"X-Endless-%d: x\r\n" % number

    return Fault("endless_headers()", parts)


def endless_informational(status: int = 103) -> Fault:
    """Interim replies (100, 103) without ever a final one."""
    return Fault(f"endless_informational({status})", lambda _request: itertools.repeat(_head(status)))


def endless_body() -> Fault:
    """A chunked body that never ends, as fast as the client reads."""

    def parts(_request: ReceivedRequest) -> Iterator[Part]:
        yield _chunked_head()
        yield from itertools.repeat(_chunk(_BLOCK))

    return Fault("endless_body()", parts)


def endless_redirect() -> Fault:
    """Redirect every request to a new URL of this server: `?hop=1`, `?hop=2`, ..."""

    def parts(request: ReceivedRequest) -> Iterable[Part]:
        hop = int(request.query.get("hop", "0")) + 1
        return redirect(f"{request.path}?hop={hop}").parts(request)

    return Fault("endless_redirect()", parts)


# --- broken content codings ---


def truncated_coding(coding: Coding = "gzip", body: bytes = _LONG_BODY) -> Fault:
    """HTTP's framing is whole, but the compressed stream inside stops half way."""
    coded = _encode(body, coding)
    cut = reply(body=coded[: len(coded) // 2], headers={"Content-Encoding": coding})
    return Fault(f"truncated_coding({coding!r})", cut.parts)


def corrupt_gzip(body: bytes = _LONG_BODY) -> Fault:
    """A gzip stream with its middle overwritten."""
    coded = bytearray(_encode(body, "gzip"))
    middle = len(coded) // 2
    coded[middle : middle + 32] = b"\xff" * 32
    return Fault("corrupt_gzip()", reply(body=bytes(coded), headers={"Content-Encoding": "gzip"}).parts)


def bomb(size: int = 256 << 20, coding: Coding = "gzip") -> Fault:
    """A decompression bomb: zeros that are `size` bytes (rounded up to 1 MiB) when decoded.

    It is compressed while it is sent, so this process never holds more than a block of it.
    """
    _compressor(coding)  # a missing library shows here, not in the middle of a reply

    def parts(_request: ReceivedRequest) -> Iterator[Part]:
        compress, finish = _compressor(coding)
        yield _chunked_head([("Content-Encoding", coding)])
        for _ in range(0, size, len(_BLOCK)):
            yield _chunk(compress(_BLOCK))
        yield _chunk(finish()) + b"0\r\n\r\n"

    return Fault(f"bomb({size}, {coding!r})", parts)


# --- how bytes are made ---


def _always(*parts: Part) -> Callable[[ReceivedRequest], Iterable[Part]]:
    return lambda _request: parts


def _head(status: int, fields: Iterable[tuple[str, str]] = ()) -> bytes:
    reason = responses.get(status, "")
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _sized(body: bytes) -> bytes:
    return _head(200, [("Content-Length", str(len(body)))])


def _chunked_head(fields: Iterable[tuple[str, str]] = ()) -> bytes:
    return _head(200, [("Transfer-Encoding", "chunked"), *fields])


def _chunk(data: bytes) -> bytes:
    # An empty chunk would end the body.
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _encode(body: bytes, coding: Coding) -> bytes:
    compress, finish = _compressor(coding)
    return compress(body) + finish()


def _compressor(coding: Coding) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
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
