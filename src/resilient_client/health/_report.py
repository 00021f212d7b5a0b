"""What came of a check: one result a target, and one word for the whole. Frozen by convention; asks nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, overload

from resilient_client._core.certificate import Certificate
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.timings import Timings
from resilient_client._policies.balancing.hysteresis import HealthState

SCHEMA = 1
"""The version of ``to_dict``: raised when a field changes its meaning or goes, not when one is added."""


class ProbeResult(NamedTuple):
    """How one target is.

    Attributes:
        name: Of the target.
        target: Its URL without secrets, or the name of its function.
        critical: Whether the whole is down when it is.
        state: How it stands, after all looks so far (see ``Prober`` for what turns it).
        ok: Whether the latest look found it up or degraded; may differ from ``state`` until enough looks agree.
        reason: One line about the latest look; ``""`` if it is simply up. Holds no secret.
        kind: What went wrong in it, in one word, or ``None``.
        error: The exception behind it, or ``None``. Its text may hold secrets if a function of yours raised it.
        status: The HTTP status, or ``None`` where no reply came.
        elapsed: Seconds it took.
        timings: Where they were spent; of a failure, as far as it came.
        certificate: The server's TLS certificate, if it was verified; ``None`` for anything but https.
        days_left: Days until that certificate expires, or ``None``.
        attempts: Attempts of this look: 1, or 0 where the target was never called.
        streak: Latest looks in a row that speak against ``state``.
        since: When it came to be in ``state``; ``None`` before the first look.
        tags: Of the ``Probe``.
    """

    name: str
    target: str
    critical: bool
    state: HealthState
    ok: bool
    reason: str = ""
    kind: ErrorKind | None = None
    error: Exception | None = None
    status: int | None = None
    elapsed: float = 0.0
    timings: Timings = Timings()
    certificate: Certificate | None = None
    days_left: float | None = None
    attempts: int = 0
    streak: int = 0
    since: datetime | None = None
    tags: Mapping[str, str] = {}

    def __str__(self) -> str:
        took = _duration(self.elapsed)
        what = f"{self.status} in {took}" if self.status is not None else took if self.ok else ""
        return "; ".join(part for part in (what, self.reason) if part)

    def __repr__(self) -> str:  # not of ``error``: the text of a foreign one may hold a secret
        what = str(self)
        return f"<ProbeResult {self.name!r} {_shown(self.state)}{': ' if what else ''}{what}>"

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; see ``HealthReport.to_dict``."""
        certificate = self.certificate
        return {
            "name": self.name,
            "target": self.target,
            "critical": self.critical,
            "state": self.state.value,
            "ok": self.ok,
            "reason": self.reason,
            "kind": None if self.kind is None else self.kind.value,
            "status": self.status,
            "elapsed": self.elapsed,
            "timings": self.timings._asdict(),
            "certificate": None
            if certificate is None
            else {
                "subject": certificate.subject,
                "issuer": certificate.issuer,
                "expires_at": certificate.expires_at.isoformat(),
                "days_left": self.days_left,
            },
            "attempts": self.attempts,
            "streak": self.streak,
            "since": None if self.since is None else self.since.isoformat(),
            "tags": dict(self.tags),
        }


class HealthReport(Sequence[ProbeResult]):
    """The results of a check, in the order of its targets, also to be had by name: ``report["users"]``.

    Attributes:
        results: One a target.
        checked_at: When the check began; ``None`` if there was none yet.
        elapsed: Seconds it took.
    """

    __slots__ = ("_by_name", "checked_at", "elapsed", "results")

    def __init__(
        self, results: Iterable[ProbeResult], *, checked_at: datetime | None = None, elapsed: float = 0.0
    ) -> None:
        self.results = tuple(results)
        self.checked_at = checked_at
        self.elapsed = elapsed
        self._by_name = {result.name: result for result in self.results}

    @property
    def state(self) -> HealthState:
        """The whole in one word.

        ``DOWN`` if something critical is down; else ``UNKNOWN`` if something critical is, or everything;
        else ``DEGRADED`` if anything is not simply up; else ``UP``.
        """
        critical = {result.state for result in self.results if result.critical}
        for state in (HealthState.DOWN, HealthState.UNKNOWN):
            if state in critical:
                return state
        everything = {result.state for result in self.results} or {HealthState.UNKNOWN}
        if len(everything) == 1 and everything <= {HealthState.UP, HealthState.UNKNOWN}:
            return everything.pop()
        return HealthState.DEGRADED

    @property
    def ok(self) -> bool:
        """Whether everything critical is known to be alive: the state is up or degraded."""
        return self.state in (HealthState.UP, HealthState.DEGRADED)

    def to_dict(self) -> dict[str, Any]:
        """The report, ready for JSON. Fields are only ever added within one version of ``schema``."""
        return {
            "schema": SCHEMA,
            "state": self.state.value,
            "ok": self.ok,
            "checked_at": None if self.checked_at is None else self.checked_at.isoformat(),
            "elapsed": self.elapsed,
            "targets": [result.to_dict() for result in self.results],
        }

    @overload
    def __getitem__(self, which: int | str) -> ProbeResult: ...
    @overload
    def __getitem__(self, which: slice) -> tuple[ProbeResult, ...]: ...
    def __getitem__(self, which: int | str | slice) -> ProbeResult | tuple[ProbeResult, ...]:
        return self._by_name[which] if isinstance(which, str) else self.results[which]

    def __contains__(self, what: object) -> bool:
        return what in self._by_name or what in self.results

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[ProbeResult]:
        return iter(self.results)

    def __str__(self) -> str:
        width = max((len(result.name) for result in self.results), default=0)
        lines = [self._summary()]
        lines += [
            f"{'!' if result.critical else ' '} {result.name:<{width}}  {_shown(result.state):<8}  {result}".rstrip()
            for result in self.results
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<HealthReport {self._summary()}>"

    def _repr_html_(self) -> str:
        from html import escape

        cells = [
            (result.name, "yes" if result.critical else "", _shown(result.state), str(result))
            for result in self.results
        ]
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
        head = "<tr><th>target</th><th>critical</th><th>state</th><th>latest look</th></tr>"
        return f"<table><caption>{escape(self._summary())}</caption>{head}{rows}</table>"

    def _summary(self) -> str:
        counts = Counter(result.state for result in self.results)
        told = ", ".join(f"{counts[state]} {state}" for state in HealthState if counts[state])
        return f"{_shown(self.state)}: {told}, in {_duration(self.elapsed)}"


def _shown(state: HealthState) -> str:
    """What is bad stands out, without colours, too."""
    return state.upper() if state is HealthState.DOWN else state.value


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
