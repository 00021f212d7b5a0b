"""What is remembered of each attempt."""

from __future__ import annotations

from typing import Any

from resilient_client._core.certificate import Certificate
from resilient_client._core.deadline import TaskTimeout
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.timings import RecordedTrace, Timings, Trace


class AttemptRecord:
    """One attempt of a call, finished.

    Attributes:
        number: Counted from 1.
        endpoint: Who was called.
        started: Seconds from the start of the call.
        elapsed: Seconds it took.
        status: The reply's status, or ``None`` when none came.
        kind: What went wrong, or ``None`` for an answer that is no failure.
        stage: How far a failed attempt had come; ``None`` for an answer that is no failure.
        error: One line about the failure, or ``""``.
        redirects: The redirect targets followed within this attempt, without their queries.
        redirected_to: Where the last of them led, once it is on its way there; ``None``: it is with ``endpoint``.
        reauthenticated: Whether a 401 was answered by a fresh token and one resend, within this attempt.
        sent: Whether any of its bytes were handed to a connection: from then on the server may have acted.
        reused: Whether it went out on a kept-alive connection; ``None`` when it never got one.
        pool_wait_unobservable: Whether it went through a session of the caller's, where, before ``sent``, a wait for
            a slot in that session's pool cannot be told from a wait for the host.
        timeout: What ends it in time, while it runs.
        queued: Whether it waits for something on our side, such as a connection of the pool.
        trace: What can tell of its last wire request; ask ``timings`` and ``certificate`` instead.
    """

    elapsed = 0.0
    status: int | None = None
    kind: ErrorKind | None = None
    stage: Stage | None = None
    error = ""
    redirects: tuple[str, ...] = ()
    redirected_to: Endpoint | None = None
    reauthenticated = False
    sent = False
    reused: bool | None = None
    pool_wait_unobservable = False
    timeout: TaskTimeout | None = None
    queued = False
    trace: Trace | None = None

    def __init__(self, number: int, endpoint: Endpoint, started: float) -> None:
        self.number = number
        self.endpoint = endpoint
        self.started = started

    @property
    def timings(self) -> Timings:
        """Where it spent its time; all ``None`` when it never came to the wire."""
        return Timings() if self.trace is None else self.trace.timings()

    @property
    def certificate(self) -> Certificate | None:
        """The server's certificate, if this attempt made a connection of its own, and verified it."""
        return None if self.trace is None else self.trace.certificate()

    def __getstate__(self) -> dict[str, Any]:
        told = None if self.trace is None else RecordedTrace(self.timings, self.certificate)
        return self.__dict__ | {"trace": told, "timeout": None}

    def __str__(self) -> str:
        result = self.error or f"status {self.status}"
        extra = "".join(f", redirected to {target}" for target in self.redirects)
        extra += ", sent again with a fresh token" if self.reauthenticated else ""
        return f"attempt {self.number} at +{self.started:.3f} s, {self.elapsed:.3f} s: {result}{extra}"

    def __repr__(self) -> str:
        return f"<AttemptRecord {self}>"
