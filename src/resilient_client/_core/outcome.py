"""The outcome of a call: a ``Success`` or a ``Failure``, built once when the call is finished, for use in ``match``."""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

from resilient_client._core.errors import APIError, CallCancelledError
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.record import AttemptRecord

T_co = TypeVar("T_co", covariant=True)


class Success(Generic[T_co]):
    """The call returned a value.

    Attributes:
        value: The decoded model, or the ``Response``.
        key: The call's key.
        attempts: The number of attempts started.
        elapsed: Seconds the call took.
        history: One record per attempt.
        replaced: The error that a fallback replaced by the value, else ``None``. If set, ``attempts``, ``elapsed`` and
            ``history`` are those of the failed call.
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
        """Always true, unlike ``Failure.ok``."""
        return True

    @property
    def from_fallback(self) -> bool:
        """Whether the call failed and the value comes from a fallback."""
        return self.replaced is not None

    def __repr__(self) -> str:
        count = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        instead = "" if self.replaced is None else f", a fallback for {self.replaced.kind}"
        return f"<Success key={self.key!r}: {count}, {self.elapsed:.3f} s{instead}>"


class Failure:
    """The call failed.

    Attributes:
        error: The error of this call.
        key: The call's key.
    """

    __match_args__ = ("error",)
    __slots__ = ("error", "key")

    def __init__(self, error: APIError, *, key: object = None) -> None:
        self.error = error
        self.key = key

    @property
    def ok(self) -> bool:
        """Always false, unlike ``Success.ok``."""
        return False

    @property
    def from_fallback(self) -> bool:
        """Always false: a call that a fallback replaced is a ``Success``."""
        return False

    @property
    def kind(self) -> ErrorKind:
        """What happened, in one word."""
        return self.error.kind

    @property
    def dropped(self) -> bool:
        """Whether the fan-out dropped the call, after it had its ``successes`` or met its ``stop_on_failure``."""
        return isinstance(self.error, CallCancelledError) and self.error.dropped

    @property
    def attempts(self) -> int:
        """The number of attempts started."""
        return self.error.attempts

    @property
    def elapsed(self) -> float:
        """Seconds the call took."""
        return self.error.elapsed

    @property
    def history(self) -> tuple[AttemptRecord, ...]:
        """One record per attempt."""
        return self.error.history

    def __repr__(self) -> str:
        return f"<Failure key={self.key!r} {self.kind}: {self.error}>"


Outcome: TypeAlias = Success[T_co] | Failure
