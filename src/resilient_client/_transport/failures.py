"""The errors of a request that failed on the wire, in words that are the same on both paths."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

from resilient_client._core.deadline import LATE
from resilient_client._core.errors import APIConnectionError, APIError, APITimeoutError, ResponseTooLargeError
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.request import Request
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


def exhausted(cause: Exception, request: Request, trace: WireTrace) -> APIError | None:
    """An error of kind ``POOL`` if this machine, not the server, is the cause, as with a full pool."""
    if not isinstance(cause, OSError) or isinstance(cause, ssl.SSLError) or cause.errno not in _EXHAUSTED:
        return None
    if isinstance(cause, socket.gaierror):  # its numbers are others
        return None
    what, stage = _EXHAUSTED[cause.errno], trace.stage()
    if trace.sent is None:
        return not_sent(request, ErrorKind.POOL, stage, what, cause)
    return broken(request, ErrorKind.POOL, stage, what)


def not_resolved(cause: OSError, request: Request) -> APIError:
    """The name lookup failed."""
    return not_sent(request, ErrorKind.DNS, Stage.DNS, "the host name cannot be resolved", cause)


def not_connected(cause: OSError, request: Request, *, in_tls: bool) -> APIError:
    """There is no connection; ``in_tls``: TCP was established, and the handshake failed."""
    if isinstance(cause, ssl.SSLError):
        return not_trusted(cause, request)
    kind, stage = (ErrorKind.TLS, Stage.TLS) if in_tls else (ErrorKind.CONNECT, Stage.CONNECT)
    return not_sent(request, kind, stage, f"cannot connect ({_reason(cause)})", cause)


def not_trusted(error: Exception, request: Request) -> APIError:
    """The TLS handshake failed, and would fail again."""
    certificate = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    reason = getattr(certificate, "verify_message", "") or getattr(certificate, "reason", "") or type(error).__name__
    failure = APIConnectionError(
        f"no trusted TLS connection ({cut(str(reason))})", kind=ErrorKind.TLS, stage=Stage.TLS, label=request.label
    )
    failure.advice = ("not retried, as it would fail again",)
    failure.__cause__ = certificate if isinstance(certificate, ssl.SSLError) else None
    return failure


def not_sent(
    request: Request, kind: ErrorKind, stage: Stage, what: str, cause: OSError | None = None
) -> APIConnectionError:
    """The request never reached the server."""
    sent = "nothing more was sent" if request.attempt.sent else "nothing was sent"  # an earlier hop of a redirect was
    failure = APIConnectionError(
        f"{what}; {sent}", kind=kind, stage=stage, maybe_processed=False, retryable=True, label=request.label
    )
    failure.__cause__ = cause
    return failure


def broken(request: Request, kind: ErrorKind, stage: Stage, what: str) -> APIConnectionError:
    """The request was sent, and the response is unusable."""
    return APIConnectionError(what, kind=kind, stage=stage, retryable=True, label=request.label)


def invalid(request: Request, stage: Stage, rule: str) -> APIError:
    """The response breaks a rule of HTTP."""
    return broken(request, ErrorKind.PROTOCOL, stage, f"the reply is not valid HTTP ({rule})")


def badly_framed(request: Request, stage: Stage) -> APIError:
    """The content breaks the rules of its framing."""
    return broken(request, ErrorKind.PROTOCOL, stage, "the body is not framed as HTTP requires")


def cut_short(request: Request, stage: Stage) -> APIError:
    """The connection ended within the content."""
    return broken(request, ErrorKind.DISCONNECTED, stage, "the body ended early")


def field_too_large(request: Request, stage: Stage) -> APIError:
    """The next response would have the same head, so it is not retried."""
    what = "a header field of the reply, or its status line, is too large; raise max_field_size"
    return ResponseTooLargeError(what, stage=stage, label=request.label)


def too_many_fields(request: Request, stage: Stage) -> APIError:
    """The next response would have the same head, so it is not retried."""
    what = "the reply has too many header fields; raise max_headers"
    return ResponseTooLargeError(what, stage=stage, label=request.label)


def lost(request: Request, trace: WireTrace, *, orderly: bool, answered: bool) -> APIError:
    """The connection was lost before the response was complete.

    Args:
        request: The request.
        trace: How far it had come.
        orderly: The server closed the connection; otherwise it was reset.
        answered: A byte of the response had arrived.
    """
    stage = trace.stage()
    what = "closed the connection" if orderly else "reset the connection"
    where = "before the reply" if stage is not Stage.BODY else "within the reply"
    failure = broken(request, ErrorKind.DISCONNECTED, stage, f"the server {what} {where}")
    failure.stale_connection = bool(trace.reused) and stage is not Stage.BODY and not answered
    return failure


def silent(request: Request, stage: Stage) -> APIError:
    """The server sent nothing for ``idle`` seconds."""
    what = f"the server was silent for idle={request.context.settings.limits.idle:g} s in stage {stage}"
    return APITimeoutError(what, stage=stage, retryable=True, label=request.label)


def not_connected_in_time(request: Request, trace: WireTrace) -> APIError:
    """There was no connection within ``connect`` seconds."""
    limit, stage = request.context.settings.limits.connect or 0.0, trace.stage()
    what = f"no connection within connect={limit:g} s, in stage {stage}"
    late = trace.clock() - (trace.began if trace.pooled is None else trace.pooled) - limit
    if late > LATE:
        request.attempt.loop_was_late = True
        what += f"; the event loop was blocked for {late:.3g} s or more, so the server may have answered"
    return APITimeoutError(what, stage=stage, retryable=True, label=request.label)


def cut(text: str) -> str:
    """The first line of a message from outside, shortened and without control characters."""
    first = text.partition("\n")[0][:120]
    return "".join(char if char.isprintable() else "?" for char in first)


def _reason(error: OSError) -> str:
    """The system's text: asyncio's own is ``Connect call failed ('127.0.0.1', 80)``, whatever happened."""
    return (
        os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error) or type(error).__name__
    )
