"""The results of a check: one per target, and one state for the whole. Do not change them."""

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
"""The version of ``to_dict``. It rises when a field is removed or changes its meaning, not when one is added."""


class ProbeResult(NamedTuple):
    """The state of one target, and the result of its latest check.

    Attributes:
        name: The target's name.
        target: Its URL without secrets, or the name of its function.
        critical: Whether the whole is down when this target is.
        state: The state after all checks so far (see ``Prober`` for what changes it).
        ok: Whether the latest check found the target up or degraded. It may differ from ``state`` until enough checks
            in a row agree.
        reason: One line about the latest check, or ``""`` if it found the target up. Holds no secret.
        kind: The kind of failure in the latest check, or ``None``.
        error: The exception behind the failure, or ``None``. Its text may hold secrets if your function raised it.
        status: The HTTP status, or ``None`` if there was no reply.
        elapsed: Seconds the latest check took.
        timings: How these seconds divide into stages. A failure has those up to the stage in which it ended.
        certificate: The server's TLS certificate if a handshake verified it. Always ``None`` without https.
        days_left: Days until that certificate expires, or ``None``.
        attempts: Attempts of the latest check: 1, or 0 if the target was never called.
        streak: The number of latest checks in a row that disagree with ``state``.
        since: When the target entered ``state``, or ``None`` before the first check.
        tags: The tags of the ``Probe``.
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
        duration = _format_duration(self.elapsed)
        answer = f"{self.status} in {duration}" if self.status is not None else duration if self.ok else ""
        return "; ".join(part for part in (answer, self.reason) if part)

    def __repr__(self) -> str:  # without ``error``: the text of another library's exception may hold a secret
        text = str(self)
        return f"<ProbeResult {self.name!r} {_format_state(self.state)}{': ' if text else ''}{text}>"

    def to_dict(self) -> dict[str, Any]:
        """The result as values that ``json.dumps`` takes (see ``HealthReport.to_dict``)."""
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
    """The results of a check, in the order of the targets. ``report["users"]`` finds one by name.

    Attributes:
        results: One result per target.
        checked_at: When the check began, or ``None`` if there was no check yet.
        elapsed: Seconds the check took.
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
        """The state of the whole.

        ``DOWN`` if a critical target is down. Else ``UNKNOWN`` if a critical target is unknown, or if all targets
        are. Else ``DEGRADED`` if any target is not up. Else ``UP``.
        """
        critical = {result.state for result in self.results if result.critical}
        for state in (HealthState.DOWN, HealthState.UNKNOWN):
            if state in critical:
                return state
        states = {result.state for result in self.results} or {HealthState.UNKNOWN}
        if len(states) == 1 and states <= {HealthState.UP, HealthState.UNKNOWN}:
            return states.pop()
        return HealthState.DEGRADED

    @property
    def ok(self) -> bool:
        """Whether the state is up or degraded: every critical target is known to answer as expected."""
        return self.state in (HealthState.UP, HealthState.DEGRADED)

    def to_dict(self) -> dict[str, Any]:
        """The report as values that ``json.dumps`` takes. Within one version of ``schema`` fields are only added."""
        return {
            "schema": SCHEMA,
            "state": self.state.value,
            "ok": self.ok,
            "checked_at": None if self.checked_at is None else self.checked_at.isoformat(),
            "elapsed": self.elapsed,
            "targets": [result.to_dict() for result in self.results],
        }

    @overload
    def __getitem__(self, key: int | str) -> ProbeResult: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[ProbeResult, ...]: ...
    def __getitem__(self, key: int | str | slice) -> ProbeResult | tuple[ProbeResult, ...]:
        return self._by_name[key] if isinstance(key, str) else self.results[key]

    def __contains__(self, item: object) -> bool:
        return item in self._by_name or item in self.results

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[ProbeResult]:
        return iter(self.results)

    def __str__(self) -> str:
        width = max((len(result.name) for result in self.results), default=0)
        lines = [self._summary()]
        for result in self.results:
            mark = "!" if result.critical else " "
            lines.append(f"{mark} {result.name:<{width}}  {_format_state(result.state):<8}  {result}".rstrip())
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<HealthReport {self._summary()}>"

    def _repr_html_(self) -> str:
        from html import escape

        cells = [
            (result.name, "yes" if result.critical else "", _format_state(result.state), str(result))
            for result in self.results
        ]
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
        head = "<tr><th>target</th><th>critical</th><th>state</th><th>latest check</th></tr>"
        return f"<table><caption>{escape(self._summary())}</caption>{head}{rows}</table>"

    def _summary(self) -> str:
        counts = Counter(result.state for result in self.results)
        text = ", ".join(f"{counts[state]} {state}" for state in HealthState if counts[state])
        return f"{_format_state(self.state)}: {text}, in {_format_duration(self.elapsed)}"


def _format_state(state: HealthState) -> str:
    """The state in lower case, but ``DOWN`` in upper case: it stands out without colours."""
    return state.upper() if state is HealthState.DOWN else state.value


def _format_duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
