"""The live state of one attempt, written by the middlewares and by the transport.

Internal and mutable. Users see the frozen ``AttemptRecord`` that ``record()`` returns.
"""

from __future__ import annotations

from resilient_client._core.deadline import TaskTimeout
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.record import AttemptRecord
from resilient_client._core.timings import Timings, Trace

_NO_TIMINGS = Timings()


class Attempt:
    """One attempt of a call. ``AttemptRecord`` describes the attributes that the two have in common.

    Attributes:
        redirected_to: The endpoint of the last redirect hop, from the moment the request is on its way there. ``None``
            while the request is with ``endpoint``.
        pool_wait_unobservable: Whether the attempt uses a session that the caller supplied. Before ``sent``, a wait
            for a slot in the pool of such a session cannot be distinguished from a wait for the host.
        timeout: The timeout of the attempt, while the attempt is running.
        loop_was_late: Whether a timeout fired late because the event loop was blocked, so that it proves nothing.
        queued: Whether the attempt waits for something on our side, such as a permit or a slot in the connection pool.
        request_id: Known for a response with an error status, and for any other if a listener wants the attempt.
        trace: The trace of the last wire request, or ``None`` before the first.
    """

    # Defaults live on the class, not in __init__: most attempts change few of them, and each assignment costs time.
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
    loop_was_late = False
    queued = False
    request_id: str | None = None
    trace: Trace | None = None

    def __init__(self, number: int, endpoint: Endpoint, started: float) -> None:
        self.number = number
        self.endpoint = endpoint
        self.started = started

    @property
    def is_running(self) -> bool:
        """Whether the attempt has neither a response nor a failure yet."""
        return self.status is None and self.kind is None

    def record(self) -> AttemptRecord:
        """A frozen record of the attempt as it stands now."""
        trace = self.trace
        return AttemptRecord(
            self.number,
            self.endpoint,
            self.started,
            self.elapsed,
            self.status,
            self.kind,
            self.stage,
            self.error,
            self.redirects,
            self.reauthenticated,
            self.sent,
            self.reused,
            _NO_TIMINGS if trace is None else trace.timings(),
            None if trace is None else trace.certificate(),
            self.request_id,
        )

    def __repr__(self) -> str:
        return f"<Attempt {self.record()}>"
