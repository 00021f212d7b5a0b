"""Where an attempt spent its time on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from resilient_client._core.certificate import Certificate
    from resilient_client._core.kinds import Stage


class Timings(NamedTuple):
    """Where an attempt spent its time, in seconds. ``None`` for a stage that did not happen or could not be observed.

    The stage in which an attempt failed lasts until the failure. For an attempt that sent several requests (redirects,
    a resend after a 401), the timings are those of the last request.

    Attributes:
        pool: Waiting for a slot in the connection pool.
        dns: Resolving the name. None for an IP address, a cached name, or a kept-alive connection.
        connect: Opening the TCP connection. None for a kept-alive connection.
        tls: The TLS handshake and, with a proxy, setting up the tunnel through it. None without TLS or for a
            kept-alive connection. If the event loop does not report when the TCP connection was open, ``connect``
            includes the handshake.
        first_byte: From sending the request to receiving the head of the response.
        body: Reading the body.
    """

    pool: float | None = None
    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    first_byte: float | None = None
    body: float | None = None


class Trace(Protocol):
    """The trace of one wire request. Its values are computed on demand, because they are seldom read."""

    def timings(self) -> Timings:
        """Compute where the request spent its time."""
        ...

    def stage(self) -> Stage:
        """Return how far the request has come."""
        ...

    def certificate(self) -> Certificate | None:
        """Return the server's certificate if the request opened a TLS connection and verified it, else ``None``."""
        ...
