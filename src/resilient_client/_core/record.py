"""The frozen record of an attempt that has ended, as users read it in ``history``."""

from __future__ import annotations

from typing import NamedTuple

from resilient_client._core.certificate import Certificate
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.timings import Timings


class AttemptRecord(NamedTuple):
    """One attempt of a call, as it ended. Frozen and picklable.

    Attributes:
        number: Counted from 1.
        endpoint: The endpoint that was called.
        started: Seconds from the start of the call.
        elapsed: Seconds it took.
        status: The status of the response, or ``None`` if there was no response.
        kind: The kind of failure, or ``None`` for a response that is not a failure.
        stage: How far a failed attempt had come, or ``None`` for a response that is not a failure.
        error: One line about the failure, or ``""``.
        redirects: The redirect targets followed within this attempt, without their queries.
        reauthenticated: Whether the request was sent once more with a fresh token after a 401, within this attempt.
        sent: Whether any bytes were handed to a connection. From then on the server may have acted.
        reused: Whether the request went out on a kept-alive connection. ``None`` if there was no connection.
        timings: Where the attempt spent its time. All ``None`` if it never reached the wire.
        certificate: The server's certificate, if this attempt opened a new TLS connection and verified it.
        request_id: The id that the server gave the request (``X-Request-Id`` and the like). ``None`` if it sent none,
            and for a success while no listener wants finished attempts.
    """

    number: int
    endpoint: Endpoint
    started: float
    elapsed: float = 0.0
    status: int | None = None
    kind: ErrorKind | None = None
    stage: Stage | None = None
    error: str = ""
    redirects: tuple[str, ...] = ()
    reauthenticated: bool = False
    sent: bool = False
    reused: bool | None = None
    timings: Timings = Timings()
    certificate: Certificate | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        result = self.error or f"status {self.status}"
        extra = "".join(f", redirected to {target}" for target in self.redirects)
        extra += ", sent again with a fresh token" if self.reauthenticated else ""
        return f"attempt {self.number} at +{self.started:.3f} s, {self.elapsed:.3f} s: {result}{extra}"

    def __repr__(self) -> str:
        return f"<AttemptRecord {self}>"
