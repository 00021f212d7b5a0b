"""One attempt while it lives: what the middlewares and the transport know and learn of it.

Internal and mutable. What users see of it is the frozen ``AttemptRecord`` that ``record()`` makes.
"""

from __future__ import annotations

from resilient_client._core.deadline import TaskTimeout
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.record import AttemptRecord
from resilient_client._core.timings import Timings, Trace


class Attempt:
    """One attempt of a call. The attributes of the same name are described in ``AttemptRecord``.

    Attributes:
        redirected_to: The endpoint of the last redirect hop, once the request is on its way there; ``None``: it is
            with ``endpoint``.
        pool_wait_unobservable: Whether it went through a session of the caller's, where, before ``sent``, a wait for
            a slot in that session's pool cannot be told from a wait for the host.
        timeout: The timer that ends it, while it runs.
        queued: Whether it waits for something on our side, such as a permit or a slot in the connection pool.
        trace: The clock of its last wire request, once there is one.
    """

    # Defaults on the class, not set in __init__: most attempts change few of them, and each assignment costs.
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
    def is_running(self) -> bool:
        """Whether neither a response nor a failure has ended it."""
        return self.status is None and self.kind is None

    def record(self) -> AttemptRecord:
        """What is known of it now, frozen."""
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
            Timings() if trace is None else trace.timings(),
            None if trace is None else trace.certificate(),
        )

    def __repr__(self) -> str:
        return f"<Attempt {self.record()}>"
