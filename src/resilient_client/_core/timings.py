"""Where an attempt spent its time on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from resilient_client._core.certificate import Certificate


class Timings(NamedTuple):
    """Where an attempt spent its time, in seconds; ``None`` for what did not happen or was not seen.

    Of an attempt that failed, the stage in which it ended counts up to its end. An attempt that sent several requests
    (redirects, a resend after a 401) tells of the last.

    Attributes:
        pool: Waiting for a place in the connection pool.
        dns: Resolving the name. None for an address, a name known already, or a kept-alive connection.
        connect: Making the TCP connection. None for a kept-alive one.
        tls: The TLS handshake, and through a proxy the way through it. None without TLS or for a kept-alive
            connection; where the event loop does not tell when the connection stood, ``connect`` holds both.
        first_byte: From sending the request to the head of the reply.
        body: Reading the body.
    """

    pool: float | None = None
    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    first_byte: float | None = None
    body: float | None = None


class Trace(Protocol):
    """Whatever can tell of one wire request when asked: seldom wanted, so nobody computes it beforehand."""

    def timings(self) -> Timings:
        """Where it spent its time."""
        ...

    def certificate(self) -> Certificate | None:
        """The certificate of the server, where it showed a new one and it was verified."""
        ...
