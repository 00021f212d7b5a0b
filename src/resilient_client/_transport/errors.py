"""Translates what aiohttp and the operating system raise into errors of this library: here only, and only once.

A foreign exception is kept as the cause only if it is a bare operating system error. aiohttp's exceptions hold headers
and URLs, and with them credentials.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

import aiohttp

from resilient_client._core.deadline import LATE
from resilient_client._core.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    InvalidRequestError,
    ResponseTooLargeError,
)
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.request import Request
from resilient_client._transport.aiohttp_internals import http_exceptions
from resilient_client._transport.decoding import (
    BodyTooLarge,
    DecodingFailure,
    NotInCoding,
    TruncatedBody,
    UndecodableBody,
)
from resilient_client._transport.hooks import ConnectionLost
from resilient_client._transport.trace import WireTrace

_EXHAUSTED: Final = {
    errno.EMFILE: "this process has no file descriptor left; raise ulimit -n, or lower pool_size",
    errno.ENFILE: "this machine has no file descriptor left; raise fs.file-max, or lower pool_size",
    errno.ENOBUFS: "this machine has no memory left for sockets; raise net.core.wmem_max and net.ipv4.tcp_mem",
    errno.ENOMEM: "this machine has no memory left; raise the memory limit or ulimit -u, or lower pool_size",
    errno.EADDRNOTAVAIL: "this machine has no local port or address left; widen net.ipv4.ip_local_port_range, "
    "keep connections alive, or call an address family that it has",
}
"""What is used up on our side, and what helps. The server is not the cause."""


def translate(error: Exception, request: Request, trace: WireTrace) -> Exception:
    """Our error for a foreign one.

    Args:
        error: What was raised. An error of this library, or one that is not expected here, is returned as it is.
        request: The request that was being sent.
        trace: How far it had come.
    """
    stage = trace.stage()
    if isinstance(error, APIError):
        return error
    if isinstance(error, ConnectionLost):
        return _exhausted(error.cause, request, trace, stage) or _lost(error.cause, request, trace)
    if isinstance(error, TimeoutError):
        return _timeout(error, request, trace, stage)
    if isinstance(error, BodyTooLarge):
        return ResponseTooLargeError(f"{error}; raise max_response_size, or use stream()", label=request.label)
    if isinstance(error, TruncatedBody):
        return _broken(request, ErrorKind.DISCONNECTED, stage, str(error))
    if isinstance(error, UndecodableBody):
        return APIConnectionError(str(error), kind=ErrorKind.PROTOCOL, stage=stage, label=request.label)
    if isinstance(error, NotInCoding):
        failure = APIConnectionError(str(error), kind=ErrorKind.PROTOCOL, stage=stage, label=request.label)
        failure.advice = (
            "not retried, as it would be the same again",
            "headers={'Accept-Encoding': 'identity'} asks for the body without a coding",
        )
        return failure
    if isinstance(error, DecodingFailure):
        return _broken(request, ErrorKind.PROTOCOL, stage, str(error))
    if isinstance(error, UnicodeError) and trace.sent is None:  # from the resolver
        return InvalidRequestError("the host name cannot be encoded", label=request.label)
    if isinstance(error, aiohttp.InvalidURL):
        return InvalidRequestError("the URL cannot be used", label=request.label)
    if isinstance(error, (aiohttp.ClientError, http_exceptions.HttpProcessingError, OSError)):
        return _connection(error, request, trace, stage)
    return error


def _exhausted(error: Exception, request: Request, trace: WireTrace, stage: Stage) -> APIError | None:
    """An error of kind ``POOL`` if this machine, not the server, is the cause, as with a full pool."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if not isinstance(cause, OSError) or isinstance(cause, ssl.SSLError) or cause.errno not in _EXHAUSTED:
        return None
    if isinstance(cause, socket.gaierror):  # its numbers are others
        return None
    what = _EXHAUSTED[cause.errno]
    if trace.sent is None:
        return _failed(request, ErrorKind.POOL, stage, what, cause)
    return _broken(request, ErrorKind.POOL, stage, what)


def _connection(error: Exception, request: Request, trace: WireTrace, stage: Stage) -> APIError:
    if (exhausted := _exhausted(error, request, trace, stage)) is not None:
        return exhausted
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        return _tls(error, request)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _failed(request, ErrorKind.DNS, Stage.DNS, "the host name cannot be resolved", error.os_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ssl.SSLError):
            return _tls(error, request)
        # The socket is closed by now. Only an established connection can be reset, so it happened in the handshake.
        in_tls = stage is Stage.TLS or (trace.tls and isinstance(error.os_error, ConnectionResetError))
        kind, where = (ErrorKind.TLS, Stage.TLS) if in_tls else (ErrorKind.CONNECT, Stage.CONNECT)
        return _failed(request, kind, where, f"cannot connect ({_reason(error.os_error)})", error.os_error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _refused_by_proxy(error.status, request)
    if isinstance(error, aiohttp.ClientResponseError | http_exceptions.HttpProcessingError):
        if (exceeded := _exceeded_limit(error.message)) is not None:
            return ResponseTooLargeError(exceeded, stage=stage, label=request.label)
        rule = _cut(error.message).partition(":")[0]  # bytes of the response follow the colon, which may be a cookie
        return _broken(request, ErrorKind.PROTOCOL, stage, f"the reply is not valid HTTP ({rule})")
    if isinstance(error, aiohttp.ClientPayloadError):
        return _payload(error, request, stage)
    if trace.sent is None:
        return _failed(request, ErrorKind.CONNECT, stage, f"cannot connect ({type(error).__name__})")
    return _lost(error, request, trace)


def _exceeded_limit(message: str) -> str | None:
    """What to raise if the head of a reply is above a limit of this client. The next reply would have the same head."""
    if message.startswith("Got more than"):
        return "a header field of the reply, or its status line, is too large; raise max_field_size"
    return "the reply has too many header fields; raise max_headers" if message.startswith("Too many") else None


def _refused_by_proxy(status: int, request: Request) -> APIError:
    """The proxy does not open a tunnel. A 4xx is about the request to the proxy: it says nothing of the upstream.

    The same credentials are refused the same way each time (RFC 9110 section 15.5.8), and repeats may lock an account.
    """
    if not 400 <= status < 500:
        return _failed(request, ErrorKind.CONNECT, Stage.CONNECT, f"the proxy answered {status}")
    failure = _failed(request, ErrorKind.CLIENT_ERROR, Stage.CONNECT, f"the proxy refused the tunnel with {status}")
    failure.retryable = False
    advice = "; check the credentials in the URL of the proxy" if status == 407 else ""
    failure.advice = (f"not retried, as it would be refused again{advice}",)
    return failure


def _lost(cause: Exception, request: Request, trace: WireTrace) -> APIError:
    stage = trace.stage()
    what = "closed the connection" if isinstance(cause, aiohttp.ServerDisconnectedError) else "reset the connection"
    where = "before the reply" if stage is not Stage.BODY else "within the reply"
    failure = _broken(request, ErrorKind.DISCONNECTED, stage, f"the server {what} {where}")
    no_byte_yet = not isinstance(cause, aiohttp.ServerDisconnectedError) or isinstance(cause.message, str)
    failure.stale_connection = bool(trace.reused) and stage is not Stage.BODY and no_byte_yet
    return failure


def _timeout(error: TimeoutError, request: Request, trace: WireTrace, stage: Stage) -> APIError:
    if isinstance(error, aiohttp.SocketTimeoutError):
        what = f"the server was silent for idle={request.context.settings.limits.idle:g} s in stage {stage}"
    elif isinstance(error, aiohttp.ConnectionTimeoutError):
        limit = request.context.settings.limits.connect or 0.0
        what = f"no connection within connect={limit:g} s, in stage {stage}"
        late = trace.clock() - (trace.began if trace.pooled is None else trace.pooled) - limit
        if late > LATE:
            request.attempt.loop_was_late = True
            what += f"; the event loop was blocked for {late:.3g} s or more, so the server may have answered"
    else:
        what = f"a timeout of the operating system in stage {stage}"
    return APITimeoutError(what, stage=stage, retryable=True, label=request.label)


def _payload(error: aiohttp.ClientPayloadError, request: Request, stage: Stage) -> APIError:
    cause = error.__cause__
    cut = isinstance(cause, http_exceptions.ContentLengthError) or "Not enough data" in str(cause or error)
    if cut or not isinstance(cause, http_exceptions.PayloadEncodingError | http_exceptions.BadHttpMessage):
        return _broken(request, ErrorKind.DISCONNECTED, stage, "the body ended early")
    return _broken(request, ErrorKind.PROTOCOL, stage, "the body is not framed as HTTP requires")


def _tls(error: Exception, request: Request) -> APIError:
    certificate = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    reason = getattr(certificate, "verify_message", "") or getattr(certificate, "reason", "") or type(error).__name__
    failure = APIConnectionError(
        f"no trusted TLS connection ({_cut(str(reason))})", kind=ErrorKind.TLS, stage=Stage.TLS, label=request.label
    )
    failure.advice = ("not retried, as it would fail again",)
    failure.__cause__ = certificate if isinstance(certificate, ssl.SSLError) else None
    return failure


def _failed(
    request: Request, kind: ErrorKind, stage: Stage, what: str, cause: OSError | None = None
) -> APIConnectionError:
    sent = "nothing more was sent" if request.attempt.sent else "nothing was sent"  # an earlier hop of a redirect was
    failure = APIConnectionError(
        f"{what}; {sent}", kind=kind, stage=stage, maybe_processed=False, retryable=True, label=request.label
    )
    failure.__cause__ = cause
    return failure


def _broken(request: Request, kind: ErrorKind, stage: Stage, what: str) -> APIConnectionError:
    return APIConnectionError(what, kind=kind, stage=stage, retryable=True, label=request.label)


def _reason(error: OSError) -> str:
    """The system's text: asyncio's own is ``Connect call failed ('127.0.0.1', 80)``, whatever happened."""
    return (
        os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error) or type(error).__name__
    )


def _cut(text: str) -> str:
    """The first line of a message from outside, shortened and without control characters."""
    first = text.partition("\n")[0][:120]
    return "".join(char if char.isprintable() else "?" for char in first)
