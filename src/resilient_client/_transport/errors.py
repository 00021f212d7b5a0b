"""Translates what aiohttp and the operating system raise into errors of this library: here only, and only once.

A foreign exception is kept as the cause only if it is a bare operating system error. aiohttp's exceptions hold headers
and URLs, and with them credentials.
"""

from __future__ import annotations

import aiohttp

from resilient_client._core.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    InvalidRequestError,
    ResponseTooLargeError,
)
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.request import Request
from resilient_client._transport import failures
from resilient_client._transport.aiohttp_internals import http_exceptions
from resilient_client._transport.decoding import (
    BodyTooLarge,
    DecodingFailure,
    NotInCoding,
    TruncatedBody,
    UndecodableBody,
)
from resilient_client._transport.hooks import ConnectionLost
from resilient_client._transport.http1 import errors as http1_errors
from resilient_client._transport.trace import WireTrace


def translate(error: Exception, request: Request, trace: WireTrace) -> Exception:
    """Our error for a foreign one.

    Args:
        error: What was raised. An error of this library, or one that is not expected here, is returned as it is.
        request: The request that was being sent.
        trace: How far it had come.
    """
    if isinstance(error, APIError):
        return error
    if isinstance(error, http1_errors.RAISED):
        return http1_errors.translate(error, request, trace)
    if isinstance(error, BodyTooLarge):
        return ResponseTooLargeError(f"{error}; raise max_response_size, or use stream()", label=request.label)
    if isinstance(error, DecodingFailure):
        return _undecoded(error, request, trace.stage())
    if isinstance(error, ConnectionLost):
        return failures.exhausted(error.cause, request, trace) or _lost(error.cause, request, trace)
    if isinstance(error, TimeoutError):
        return _timeout(error, request, trace)
    if isinstance(error, UnicodeError) and trace.sent is None:  # from the resolver
        return InvalidRequestError("the host name cannot be encoded", label=request.label)
    if isinstance(error, aiohttp.InvalidURL):
        return InvalidRequestError("the URL cannot be used", label=request.label)
    if isinstance(error, (aiohttp.ClientError, http_exceptions.HttpProcessingError, OSError)):
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        return failures.exhausted(cause, request, trace) or _connection(error, request, trace, trace.stage())
    return error


def _undecoded(error: DecodingFailure, request: Request, stage: Stage) -> APIError:
    if isinstance(error, TruncatedBody):
        return failures.broken(request, ErrorKind.DISCONNECTED, stage, str(error))
    if isinstance(error, UndecodableBody | NotInCoding):
        failure = APIConnectionError(str(error), kind=ErrorKind.PROTOCOL, stage=stage, label=request.label)
        if isinstance(error, NotInCoding):
            failure.advice = (
                "not retried, as it would be the same again",
                "headers={'Accept-Encoding': 'identity'} asks for the body without a coding",
            )
        return failure
    return failures.broken(request, ErrorKind.PROTOCOL, stage, str(error))


def _connection(error: Exception, request: Request, trace: WireTrace, stage: Stage) -> APIError:
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        return failures.not_trusted(error, request)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return failures.not_resolved(error.os_error, request)
    if isinstance(error, aiohttp.ClientConnectorError):
        # The socket is closed by now. Only an established connection can be reset, so it happened in the handshake.
        in_tls = stage is Stage.TLS or (trace.tls and isinstance(error.os_error, ConnectionResetError))
        return failures.not_connected(error.os_error, request, in_tls=in_tls)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _refused_by_proxy(error.status, request)
    if isinstance(error, aiohttp.ClientResponseError | http_exceptions.HttpProcessingError):
        return _invalid(error.message, request, stage)
    if isinstance(error, aiohttp.ClientPayloadError):
        return _payload(error, request, stage)
    if trace.sent is None:
        return failures.not_sent(request, ErrorKind.CONNECT, stage, f"cannot connect ({type(error).__name__})")
    return _lost(error, request, trace)


def _invalid(message: str, request: Request, stage: Stage) -> APIError:
    """Aiohttp's parser says only in its text which rule is broken."""
    if message.startswith("Got more than"):
        return failures.field_too_large(request, stage)
    if message.startswith("Too many"):
        return failures.too_many_fields(request, stage)
    rule = failures.cut(message).partition(":")[0]  # bytes of the response follow the colon, which may be a cookie
    return failures.invalid(request, stage, rule)


def _refused_by_proxy(status: int, request: Request) -> APIError:
    """The proxy does not open a tunnel. A 4xx is about the request to the proxy: it says nothing of the upstream.

    The same credentials are refused the same way each time (RFC 9110 section 15.5.8), and repeats may lock an account.
    """
    if not 400 <= status < 500:
        return failures.not_sent(request, ErrorKind.CONNECT, Stage.CONNECT, f"the proxy answered {status}")
    what = f"the proxy refused the tunnel with {status}"
    failure = failures.not_sent(request, ErrorKind.CLIENT_ERROR, Stage.CONNECT, what)
    failure.retryable = False
    advice = "; check the credentials in the URL of the proxy" if status == 407 else ""
    failure.advice = (f"not retried, as it would be refused again{advice}",)
    return failure


def _lost(cause: Exception, request: Request, trace: WireTrace) -> APIError:
    orderly = isinstance(cause, aiohttp.ServerDisconnectedError)
    answered = isinstance(cause, aiohttp.ServerDisconnectedError) and not isinstance(cause.message, str)
    return failures.lost(request, trace, orderly=orderly, answered=answered)


def _timeout(error: TimeoutError, request: Request, trace: WireTrace) -> APIError:
    stage = trace.stage()
    if isinstance(error, aiohttp.SocketTimeoutError):
        return failures.silent(request, stage)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return failures.not_connected_in_time(request, trace)
    what = f"a timeout of the operating system in stage {stage}"
    return APITimeoutError(what, stage=stage, retryable=True, label=request.label)


def _payload(error: aiohttp.ClientPayloadError, request: Request, stage: Stage) -> APIError:
    cause = error.__cause__
    cut = isinstance(cause, http_exceptions.ContentLengthError) or "Not enough data" in str(cause or error)
    if cut or not isinstance(cause, http_exceptions.PayloadEncodingError | http_exceptions.BadHttpMessage):
        return failures.cut_short(request, stage)
    return failures.badly_framed(request, stage)
