"""What came of a fan-out: a sequence of outcomes that knows the usual questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from reprlib import Repr
from typing import Generic, TypeVar, overload

from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.outcome import Failure, Outcome, Success

T = TypeVar("T")

_ROWS = 100
_WIDTH = 120


class GatherResult(Sequence[Outcome[T]], Generic[T]):
    """The outcomes of a fan-out, in the order of its calls.

    Attributes:
        elapsed: Seconds the whole fan-out took; ``None`` if that is not known.
    """

    __slots__ = ("_outcomes", "_wanted", "elapsed")

    def __init__(
        self, outcomes: Iterable[Outcome[T]], *, successes: int | None = None, elapsed: float | None = None
    ) -> None:
        """Hold outcomes.

        Args:
            outcomes: In order.
            successes: How many were asked for; ``None``: that all succeed.
            elapsed: Seconds.
        """
        self._outcomes = tuple(outcomes)
        self._wanted = successes
        self.elapsed = elapsed

    @property
    def ok(self) -> bool:
        """Whether the fan-out has what it was asked for: ``successes``, or, without that, no failure."""
        return not self._errors() if self._wanted is None else len(self.values) >= self._wanted

    @property
    def values(self) -> list[T]:
        """The values of the successes, in order."""
        return [outcome.value for outcome in self._outcomes if isinstance(outcome, Success)]

    @property
    def failures(self) -> list[Failure]:
        """The failures, in order; the calls that the fan-out dropped are among them (``failure.dropped``)."""
        return [outcome for outcome in self._outcomes if isinstance(outcome, Failure)]

    def by_kind(self) -> dict[ErrorKind, list[Failure]]:
        """The failures, grouped by what happened."""
        groups: dict[ErrorKind, list[Failure]] = {}
        for failure in self.failures:
            groups.setdefault(failure.kind, []).append(failure)
        return groups

    def raise_for_failures(self) -> None:
        """Raise all real failures together, unless the fan-out is ``ok``.

        A call that the fan-out dropped itself did not really fail, so its error is left out. With ``successes``
        reached there is nothing to raise, whatever failed on the way.

        Raises:
            ExceptionGroup: Of the errors, in order.
        """
        if self.ok:
            return
        too_few = f"successes is {self._wanted}, but the iterable gave only {len(self)} calls, and all succeeded"
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
        if self._wanted is not None:
            parts[0] += f" ({self._wanted} wanted)"
        if kinds:
            parts.append("failed: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
        if dropped:
            parts.append(f"dropped: {dropped}")
        return "; ".join(parts)

    def __repr__(self) -> str:
        return f"<GatherResult {self}>"

    def _repr_html_(self) -> str:
        """A table for notebooks: the first hundred outcomes, one a row."""
        from html import escape

        title = str(self) if self.elapsed is None else f"{self}; {self.elapsed:.3g} s in all"
        head = "".join(f"<th>{name}</th>" for name in ("", "key", "outcome", "attempts", "seconds", "what"))
        rows = [_row(index, outcome) for index, outcome in enumerate(self._outcomes[:_ROWS])]
        if len(self) > _ROWS:
            rows.append(f'<tr><td colspan="6">and {len(self) - _ROWS} more</td></tr>')
        return f"<table><caption>{escape(title)}</caption><tr>{head}</tr>{''.join(rows)}</table>"


def _row(index: int, outcome: Outcome[object]) -> str:
    """An outcome as a row of HTML. Keys, values and errors may hold anything: all text is cut and escaped."""
    from html import escape

    key = "" if outcome.key is None else outcome.key if isinstance(outcome.key, str) else _short.repr(outcome.key)
    match outcome:
        case Success(value=value):
            word, what = "ok", _short.repr(value)
        case Failure(error=error):
            word, what = str(outcome.kind), str(error)
    cells = (str(index), key, word, str(outcome.attempts), f"{outcome.elapsed:.3f}", what)
    return "<tr>" + "".join(f"<td>{escape(_cut(cell))}</td>" for cell in cells) + "</tr>"


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


_short = Repr()
_short.maxstring = _short.maxother = _WIDTH
