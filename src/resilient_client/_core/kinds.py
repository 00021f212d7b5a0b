"""What went wrong, and where: the two axes along which every failure is classified."""

from enum import StrEnum


class ErrorKind(StrEnum):
    """What happened, in one word. Stable, low in number: fit for a metric label or an alert."""

    DNS = "dns"  # the name could not be resolved
    CONNECT = "connect"  # no connection: refused, unreachable, proxy down
    TLS = "tls"  # no trusted, encrypted connection
    POOL = "pool"  # no free connection on our side in time
    TIMEOUT = "timeout"  # one attempt took too long
    DEADLINE = "deadline"  # the whole call ran out of time
    DISCONNECTED = "disconnected"  # the connection was lost before the reply was complete
    PROTOCOL = "protocol"  # the reply was not valid HTTP, or its coding was corrupt
    REDIRECT = "redirect"  # a redirect the policy forbids
    TOO_LARGE = "too_large"  # the body exceeds the size limit
    THROTTLED = "throttled"  # the server said 429
    CLIENT_ERROR = "client_error"  # any other 4xx
    SERVER_ERROR = "server_error"  # 5xx
    INVALID_RESPONSE = "invalid_response"  # the body did not fit the model
    INVALID_REQUEST = "invalid_request"  # the call itself is wrong; nothing was sent
    CIRCUIT_OPEN = "circuit_open"  # refused here: the upstream is known to be failing
    REJECTED = "rejected"  # refused here by a limit of ours
    CANCELLED = "cancelled"  # the fan-out dropped this call; or an attempt that lost to another
    UNEXPECTED = "unexpected"  # a bug: an exception nobody foresaw


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
