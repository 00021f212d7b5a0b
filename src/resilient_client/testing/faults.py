"""Steps for `FaultServer`: proper replies, and the known ways in which a reply can be broken.

Each function returns a description (a `Fault`) and does nothing itself. The server sends it once per request. The
body of a function shows the exact bytes that are sent. For anything else, write an async function
`(request: ReceivedRequest, wire: Wire) -> None`.
"""

import itertools
import json as _json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, TypeAlias

from multidict import CIMultiDict

from resilient_client.testing._http_bytes import Coding, chunk, chunked_head, compressor, encode, head, sized_head
from resilient_client.testing._wire import End, Fault, Hold, Part, Pause, ReceivedRequest, Step, Wire

__all__ = [
    "Coding",
    "Fault",
    "Headers",
    "Hold",
    "Step",
    "Wire",
    "bad_chunk",
    "bomb",
    "close_idle",
    "corrupt_gzip",
    "drip",
    "drop",
    "echo",
    "endless_body",
    "endless_headers",
    "endless_informational",
    "endless_redirect",
    "garbage",
    "hang_before_headers",
    "hang_in_body",
    "hang_in_headers",
    "hold",
    "many_headers",
    "oversized_headers",
    "redirect",
    "reply",
    "reset",
    "reset_body",
    "truncate",
    "truncate_chunked",
    "truncated_coding",
    "wrong_length",
]

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields. Pass pairs to repeat a name."""

_BODY = b'{"message": "a body long enough to be cut in the middle"}'
_LONG_BODY = b"".join(b'{"line": %d}\n' % number for number in range(2_000))
_BLOCK = bytes(1 << 20)


# --- proper replies ---


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
    """Send a proper reply.

    Args:
        status: Any number. 1xx, 204, 304 and the reply to HEAD carry no body.
        json: Sent as JSON unless None (`body=b"null"` sends a null).
        text: Sent as UTF-8 text, unless `json` is given.
        body: Sent unchanged, unless `json` or `text` is given.
        headers: Sent before the headers that this function adds. A wrong `Content-Length` is sent unchanged.
        coding: Compress the body and set `Content-Encoding`.
        delay: Seconds before the first byte.
        keep_alive: If False, send `Connection: close` and close the connection.
    """
    fields = CIMultiDict(headers)
    body = _content(fields, json, text, body, coding)
    bodiless = status < 200 or status in (204, 304)
    if not bodiless:
        fields.setdefault("Content-Length", str(len(body)))
    if not keep_alive:
        fields.setdefault("Connection", "close")
    start = head(status, fields.items())

    def parts(request: ReceivedRequest) -> Iterator[Part]:
        if delay:
            yield Pause(delay)
        yield start if bodiless or request.method == "HEAD" else start + body
        if not keep_alive:
            yield End.CLOSE

    return Fault(f"reply({status})", parts)


def echo() -> Fault:
    """Send a 200 with the request as JSON: `method`, `path`, `query`, `headers` (lower-case names) and `body`.

    Of a repeated query name or header only the last value is included. `server.requests` has all of them.
    """

    def parts(request: ReceivedRequest) -> Iterable[Part]:
        received = {
            "method": request.method,
            "path": request.path,
            "query": dict(request.query.items()),
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": request.body.decode(errors="replace"),
        }
        return reply(json=received).parts(request)

    return Fault("echo()", parts)


def redirect(to: str, status: int = 302) -> Fault:
    """Redirect to `to`, which is sent unchanged as `Location`."""
    return Fault(f"redirect({to!r})", reply(status, headers={"Location": to}).parts)


def hold(step: Step | None = None) -> Hold:
    """Hold each request until the test calls `release()`, then answer with `step` (default: an empty 200)."""
    return Hold(step or reply())


# --- the connection ends, or the server falls silent ---


def drop() -> Fault:
    """Read the request, then close the connection before any byte of a reply."""
    return Fault("drop()", _always(End.CLOSE))


def reset() -> Fault:
    """Read the request, then send RST before any byte of a reply."""
    return Fault("reset()", _always(End.RESET))


def close_idle(at: Literal["reply", "request"] = "request") -> Fault:
    """Simulate a stale keep-alive connection: send a proper reply that keeps the connection, but close it later.

    Args:
        at: `"reply"` sends FIN directly after the reply, so a pool can detect it. `"request"` sends FIN in place of
            the reply to the next request on that connection, so a pool cannot detect it. That request counts in
            `hits` and takes no step of the script.
    """
    end = End.CLOSE if at == "reply" else End.CLOSE_ON_REUSE
    return Fault(f"close_idle({at!r})", _always(head(200, [("Content-Length", "2")]) + b"{}", end))


def hang_before_headers() -> Fault:
    """Read the request and never answer."""
    return Fault("hang_before_headers()", _always(End.HANG))


def hang_in_headers() -> Fault:
    """Send part of the headers, then nothing more."""
    return Fault("hang_in_headers()", _always(b"HTTP/1.1 200 OK\r\nContent-Ty", End.HANG))


def hang_in_body(body: bytes = _BODY, sent: int = 10) -> Fault:
    """Send `sent` bytes of the body, then nothing more."""
    return Fault("hang_in_body()", _always(sized_head(body) + body[:sent], End.HANG))


def drip(body: bytes = _BODY, interval: float = 0.1) -> Fault:
    """Send a proper reply byte by byte, with a pause of `interval` seconds before each byte of the body."""

    def parts(_request: ReceivedRequest) -> Iterator[Part]:
        yield sized_head(body)
        for byte in body:
            yield Pause(interval)
            yield bytes([byte])

    return Fault("drip()", parts)


def truncate(body: bytes = _BODY, sent: int = 10) -> Fault:
    """Announce the whole body in `Content-Length`, send `sent` bytes of it and close."""
    return Fault("truncate()", _always(sized_head(body) + body[:sent], End.CLOSE))


def truncate_chunked(body: bytes = _BODY) -> Fault:
    """Send the body as one complete chunk and close before the terminating chunk."""
    return Fault("truncate_chunked()", _always(chunked_head() + chunk(body), End.CLOSE))


def reset_body(body: bytes = _BODY, sent: int = 10) -> Fault:
    """Announce the whole body in `Content-Length`, send `sent` bytes of it and RST."""
    return Fault("reset_body()", _always(sized_head(body) + body[:sent], End.RESET))


# --- broken HTTP ---


def garbage(data: bytes = b"220 mail.example.com ESMTP\r\n") -> Fault:
    """Send bytes that are not HTTP, or any other bytes, and close."""
    return Fault("garbage()", _always(data, End.CLOSE))


def wrong_length(body: bytes = _BODY, announced: int = 10) -> Fault:
    """Send more body than `Content-Length` announces, then close. A client must not take the rest for a reply."""
    return Fault("wrong_length()", _always(head(200, [("Content-Length", str(announced))]) + body, End.CLOSE))


def bad_chunk() -> Fault:
    """Send a chunked reply whose second chunk has a size that is not a number."""
    return Fault("bad_chunk()", _always(chunked_head() + chunk(_BODY) + b"zz\r\n", End.CLOSE))


def oversized_headers(size: int = 1 << 20) -> Fault:
    """Send a reply with one header of `size` bytes."""
    return Fault("oversized_headers()", reply(headers={"X-Oversized": "x" * size}).parts)


def many_headers(count: int = 1_000) -> Fault:
    """Send a reply with `count` short headers."""
    headers = [(f"X-Many-{number}", "x") for number in range(count)]
    return Fault("many_headers()", reply(headers=headers).parts)


# --- endless replies ---


def endless_headers() -> Fault:
    """Send headers without end."""

    def parts(_request: ReceivedRequest) -> Iterator[Part]:
        yield b"HTTP/1.1 200 OK\r\n"
        for number in itertools.count():
            yield b"X-Endless-%d: x\r\n" % number

    return Fault("endless_headers()", parts)


def endless_informational(status: int = 103) -> Fault:
    """Send interim replies (100, 103) without end and without a final reply."""
    return Fault(f"endless_informational({status})", lambda _request: itertools.repeat(head(status)))


def endless_body() -> Fault:
    """Send a chunked body without end, as fast as the client reads."""

    def parts(_request: ReceivedRequest) -> Iterator[Part]:
        yield chunked_head()
        yield from itertools.repeat(chunk(_BLOCK))

    return Fault("endless_body()", parts)


def endless_redirect() -> Fault:
    """Redirect every request to a new URL of this server: `?hop=1`, `?hop=2`, ..."""

    def parts(request: ReceivedRequest) -> Iterable[Part]:
        hop = int(request.query.get("hop", "0")) + 1
        return redirect(f"{request.path}?hop={hop}").parts(request)

    return Fault("endless_redirect()", parts)


# --- broken content codings ---


def truncated_coding(coding: Coding = "gzip", body: bytes = _LONG_BODY) -> Fault:
    """Send a reply with correct HTTP framing whose compressed body stops half way."""
    coded = encode(body, coding)
    cut = reply(body=coded[: len(coded) // 2], headers={"Content-Encoding": coding})
    return Fault(f"truncated_coding({coding!r})", cut.parts)


def corrupt_gzip(body: bytes = _LONG_BODY) -> Fault:
    """Send a gzip stream with its middle overwritten."""
    coded = bytearray(encode(body, "gzip"))
    middle = len(coded) // 2
    coded[middle : middle + 32] = b"\xff" * 32
    return Fault("corrupt_gzip()", reply(body=bytes(coded), headers={"Content-Encoding": "gzip"}).parts)


def bomb(size: int = 256 << 20, coding: Coding = "gzip") -> Fault:
    """Send a decompression bomb: zeros that decode to `size` bytes, rounded up to 1 MiB.

    It is compressed while it is sent, so the server never holds more than one block of 1 MiB in memory.
    """
    compressor(coding)  # raises here if the library is missing, and not in the middle of a reply

    def parts(_request: ReceivedRequest) -> Iterator[Part]:
        compress, finish = compressor(coding)
        yield chunked_head([("Content-Encoding", coding)])
        for _ in range(0, size, len(_BLOCK)):
            yield chunk(compress(_BLOCK))
        yield chunk(finish()) + b"0\r\n\r\n"

    return Fault(f"bomb({size}, {coding!r})", parts)


# --- helpers ---


def _always(*parts: Part) -> Callable[[ReceivedRequest], Iterable[Part]]:
    """Return the same parts for every request."""
    return lambda _request: parts


def _content(fields: CIMultiDict[str], json: object, text: str | None, body: bytes, coding: Coding | None) -> bytes:
    """Return the body of a reply and add its content type and coding to the headers."""
    if json is not None:
        body = _json.dumps(json).encode()
        fields.setdefault("Content-Type", "application/json")
    elif text is not None:
        body = text.encode()
        fields.setdefault("Content-Type", "text/plain; charset=utf-8")
    if coding:
        body = encode(body, coding)
        fields.setdefault("Content-Encoding", coding)
    return body
