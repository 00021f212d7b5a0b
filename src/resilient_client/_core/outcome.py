"""What came of a call: made once, at the edge, and safe to match on."""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

from resilient_client._core.errors import APIError, CallCancelledError
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.record import AttemptRecord

T_co = TypeVar("T_co", covariant=True)


class Success(Generic[T_co]):
    """The call gave a value.

    Attributes:
        value: What the call gives: the decoded model, or the ``Response``.
        key: The call's key.
        attempts: How many were started.
        elapsed: Seconds it took.
        history: One record an attempt.
        replaced: The error in whose place a fallback gave the value, else ``None``. Attempts, elapsed and history
            are then those of the call that failed.
    """

    __match_args__ = ("value",)
    __slots__ = ("attempts", "elapsed", "history", "key", "replaced", "value")

    def __init__(
        self,
        value: T_co,
        *,
        key: object = None,
        attempts: int = 1,
        elapsed: float = 0.0,
        history: tuple[AttemptRecord, ...] = (),
        replaced: APIError | None = None,
    ) -> None:
        self.value = value
        self.key = key
        self.attempts = attempts
        self.elapsed = elapsed
        self.history = history
        self.replaced = replaced

    @property
    def ok(self) -> bool:
        """True: tells it from a ``Failure`` where ``match`` is too much."""
        return True

    @property
    def from_fallback(self) -> bool:
        """Whether the call failed, and a fallback gave the value."""
        return self.replaced is not None

    def __repr__(self) -> str:
        count = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        instead = "" if self.replaced is None else f", a fallback for {self.replaced.kind}"
        return f"<Success key={self.key!r}: {count}, {self.elapsed:.3f} s{instead}>"


class Failure:
    """The call failed.

    Attributes:
        error: Why; an ``APIError`` of this very call.
        key: The call's key.
    """

    __match_args__ = ("error",)
    __slots__ = ("error", "key")

    def __init__(self, error: APIError, *, key: object = None) -> None:
        self.error = error
        self.key = key

    @property
    def ok(self) -> bool:
        """False."""
        return False

    @property
    def from_fallback(self) -> bool:
        """False: what no fallback could mend."""
        return False

    @property
    def kind(self) -> ErrorKind:
        """What happened, in one word."""
        return self.error.kind

    @property
    def dropped(self) -> bool:
        """Whether the call did not really fail: the fan-out dropped it, having its ``successes`` or its failure."""
        return isinstance(self.error, CallCancelledError) and self.error.dropped

    @property
    def attempts(self) -> int:
        """How many were started."""
        return self.error.attempts

    @property
    def elapsed(self) -> float:
        """Seconds it took."""
        return self.error.elapsed

    @property
    def history(self) -> tuple[AttemptRecord, ...]:
        """One record an attempt."""
        return self.error.history

    def __repr__(self) -> str:
        return f"<Failure key={self.key!r} {self.kind}: {self.error}>"


Outcome: TypeAlias = Success[T_co] | Failure
