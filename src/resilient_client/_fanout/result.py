"""The result of ``gather``: a sequence of outcomes with the usual queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from reprlib import Repr
from typing import Generic, TypeVar, overload

from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.outcome import Failure, Outcome, Success

T = TypeVar("T")

_MAX_ROWS = 100
_MAX_CELL_LENGTH = 120


class GatherResult(Sequence[Outcome[T]], Generic[T]):
    """The outcomes of a fan-out, in the order of its calls.

    Attributes:
        elapsed: Seconds the whole fan-out took, or ``None`` if that is not known.
    """

    __slots__ = ("_outcomes", "_successes", "elapsed")

    def __init__(
        self, outcomes: Iterable[Outcome[T]], *, successes: int | None = None, elapsed: float | None = None
    ) -> None:
        """Hold outcomes.

        Args:
            outcomes: The outcomes, in the order of the calls.
            successes: The number of successes that ``ok`` requires. With ``None`` no call may fail.
            elapsed: Seconds the whole fan-out took.
        """
        self._outcomes = tuple(outcomes)
        self._successes = successes
        self.elapsed = elapsed

    @property
    def ok(self) -> bool:
        """Whether the fan-out has its ``successes``, or, without ``successes``, no failure but dropped calls."""
        return not self._errors() if self._successes is None else len(self.values) >= self._successes

    @property
    def values(self) -> list[T]:
        """The values of the successes, in order."""
        return [outcome.value for outcome in self._outcomes if isinstance(outcome, Success)]

    @property
    def failures(self) -> list[Failure]:
        """The failures, in order, with those of the calls that the fan-out dropped (``failure.dropped``)."""
        return [outcome for outcome in self._outcomes if isinstance(outcome, Failure)]

    def by_kind(self) -> dict[ErrorKind, list[Failure]]:
        """The failures, grouped by kind, in the order of their first occurrence."""
        groups: dict[ErrorKind, list[Failure]] = {}
        for failure in self.failures:
            groups.setdefault(failure.kind, []).append(failure)
        return groups

    def raise_for_failures(self) -> None:
        """Raise the errors of all failures together, unless the fan-out is ``ok``.

        A dropped call did not fail by itself, so its error is left out. If the fan-out has its ``successes``, nothing
        is raised, even if other calls failed.

        Raises:
            ExceptionGroup: The errors, in order.
        """
        if self.ok:
            return
        too_few = f"successes is {self._successes}, but the iterable gave only {len(self)} calls, and all succeeded"
        raise ExceptionGroup(str(self), self._errors() or [InvalidRequestError(too_few)])

    def _errors(self) -> list[Exception]:
        return [failure.error for failure in self.failures if not failure.dropped]

    @overload
    def __getitem__(self, index: int) -> Outcome[T]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Outcome[T], ...]: ...
    def __getitem__(self, index: int | slice) -> Outcome[T] | tuple[Outcome[T], ...]:
        return self._outcomes[index]

    def __len__(self) -> int:
        return len(self._outcomes)

    def __iter__(self) -> Iterator[Outcome[T]]:
        return iter(self._outcomes)

    def __str__(self) -> str:
        failures = self.failures
        dropped = sum(failure.dropped for failure in failures)
        kinds = Counter(failure.kind for failure in failures if not failure.dropped)
        parts = [f"{len(self) - len(failures)} of {len(self)} calls succeeded"]
        if self._successes is not None:
            parts[0] += f" ({self._successes} wanted)"
        if kinds:
            parts.append("failed: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
        if dropped:
            parts.append(f"dropped: {dropped}")
        return "; ".join(parts)

    def __repr__(self) -> str:
        return f"<GatherResult {self}>"

    def _repr_html_(self) -> str:
        """An HTML table for notebooks, with the first hundred outcomes."""
        from html import escape

        title = str(self) if self.elapsed is None else f"{self}; {self.elapsed:.3g} s in all"
        head = "".join(f"<th>{name}</th>" for name in ("", "key", "outcome", "attempts", "seconds", "what"))
        rows = [_row(index, outcome) for index, outcome in enumerate(self._outcomes[:_MAX_ROWS])]
        if len(self) > _MAX_ROWS:
            rows.append(f'<tr><td colspan="6">and {len(self) - _MAX_ROWS} more</td></tr>')
        return f"<table><caption>{escape(title)}</caption><tr>{head}</tr>{''.join(rows)}</table>"


def _row(index: int, outcome: Outcome[object]) -> str:
    """An outcome as an HTML row. Keys, values and errors may hold anything, so all text is truncated and escaped."""
    from html import escape

    key = "" if outcome.key is None else outcome.key if isinstance(outcome.key, str) else _repr.repr(outcome.key)
    match outcome:
        case Success(value=value):
            status, text = "ok", _repr.repr(value)
        case Failure(error=error):
            status, text = str(outcome.kind), str(error)
    cells = (str(index), key, status, str(outcome.attempts), f"{outcome.elapsed:.3f}", text)
    return "<tr>" + "".join(f"<td>{escape(_truncate(cell))}</td>" for cell in cells) + "</tr>"


def _truncate(text: str) -> str:
    return text if len(text) <= _MAX_CELL_LENGTH else text[: _MAX_CELL_LENGTH - 1] + "…"


_repr = Repr()  # limits the size while it builds the text, and survives a value whose ``__repr__`` raises
_repr.maxstring = _repr.maxother = _MAX_CELL_LENGTH
