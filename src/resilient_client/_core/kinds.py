"""The two axes along which every failure is classified: the kind, and the stage it happened in."""

from enum import StrEnum


class ErrorKind(StrEnum):
    """What happened, in one word. The values are stable and few, fit for metric labels and alerts."""

    DNS = "dns"  # the name could not be resolved
    CONNECT = "connect"  # no connection: refused, unreachable, proxy down
    TLS = "tls"  # no trusted, encrypted connection
    POOL = "pool"  # no free connection in time, or no file, port or memory for one; on our side
    TIMEOUT = "timeout"  # one attempt took too long
    DEADLINE = "deadline"  # the whole call ran out of time
    DISCONNECTED = "disconnected"  # the connection was lost before the response was complete
    PROTOCOL = "protocol"  # the response was not valid HTTP, or its content coding was corrupt
    REDIRECT = "redirect"  # a redirect the policy forbids
    TOO_LARGE = "too_large"  # the body exceeds the size limit
    THROTTLED = "throttled"  # 429
    CLIENT_ERROR = "client_error"  # any other 4xx
    SERVER_ERROR = "server_error"  # 5xx
    INVALID_RESPONSE = "invalid_response"  # the body did not fit the model
    INVALID_REQUEST = "invalid_request"  # the call itself is wrong; nothing was sent
    CIRCUIT_OPEN = "circuit_open"  # rejected on our side: the upstream is known to be failing
    REJECTED = "rejected"  # rejected on our side by a limit, such as a bulkhead or a rate limit
    CANCELLED = "cancelled"  # a call that the fan-out dropped, or an attempt that lost against another
    UNEXPECTED = "unexpected"  # a bug: an exception of a type that is not expected here


class Stage(StrEnum):
    """How far an attempt had come. From ``SEND`` on, the server may have acted."""

    LOCAL = "local"
    POOL = "pool"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    SEND = "send"
    HEADERS = "headers"
    BODY = "body"
    STATUS = "status"
    DECODE = "decode"

    @property
    def maybe_processed(self) -> bool:
        """Whether a server may have acted on a request that failed in this stage."""
        return self in _ON_THE_WIRE


_ON_THE_WIRE = frozenset({Stage.SEND, Stage.HEADERS, Stage.BODY, Stage.STATUS, Stage.DECODE})
