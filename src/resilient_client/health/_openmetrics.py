"""Writes a report as OpenMetrics text, for Prometheus and compatible systems.

The metric names are those of Prometheus' blackbox exporter. Needs no library.
Format: https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from resilient_client._core.timings import Timings
from resilient_client._policies.balancing.hysteresis import HealthState
from resilient_client.health._report import HealthReport, ProbeResult

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The media type of the text, for a ``Content-Type`` header."""

Values = Callable[[ProbeResult], "Iterator[tuple[Mapping[str, str], float]]"]
"""Gives the samples of one metric family for one target, as pairs of further labels and value."""


class _Family(NamedTuple):
    name: str
    help: str
    values: Values
    type: str = "gauge"
    unit: str = ""


def openmetrics(report: HealthReport) -> str:
    """The report as one OpenMetrics exposition, with the labels ``name`` and ``target`` on each sample.

    ``probe_success`` is about the latest check, ``probe_state`` about the state after all checks. A phase that did not
    take place has no sample.
    """
    lines: list[str] = []
    for family in _FAMILIES:
        samples = [
            f"{family.name}{_format_labels({'name': result.name, 'target': result.target, **labels})} {value:.10g}"
            for result in report
            for labels, value in family.values(result)
        ]
        if samples:
            lines.append(f"# TYPE {family.name} {family.type}")
            if family.unit:
                lines.append(f"# UNIT {family.name} {family.unit}")
            lines.append(f"# HELP {family.name} {_escape(family.help)}")
            lines += samples
    return "\n".join([*lines, "# EOF"]) + "\n"


def _success(result: ProbeResult) -> Iterator[tuple[Mapping[str, str], float]]:
    yield {}, float(result.ok)


def _state(result: ProbeResult) -> Iterator[tuple[Mapping[str, str], float]]:
    for state in HealthState:
        yield {"probe_state": state.value}, float(state is result.state)


def _duration(result: ProbeResult) -> Iterator[tuple[Mapping[str, str], float]]:
    if result.attempts:
        yield {}, result.elapsed


def _phases(result: ProbeResult) -> Iterator[tuple[Mapping[str, str], float]]:
    for phase, seconds in zip(_PHASES, result.timings[1:], strict=True):
        if seconds is not None:
            yield {"phase": phase}, seconds


def _status(result: ProbeResult) -> Iterator[tuple[Mapping[str, str], float]]:
    if result.status is not None:
        yield {}, result.status


def _expiry(result: ProbeResult) -> Iterator[tuple[Mapping[str, str], float]]:
    if result.certificate is not None:
        yield {}, result.certificate.expires_at.timestamp()


_PHASES = dict(zip(("resolve", "connect", "tls", "processing", "transfer"), Timings._fields[1:], strict=True))
_FAMILIES = (
    _Family("probe_success", "Whether the latest check found the target up or degraded.", _success),
    _Family("probe_state", "The state of the target after all checks.", _state, type="stateset"),
    _Family("probe_duration_seconds", "The duration of the latest check.", _duration, unit="seconds"),
    _Family("probe_http_duration_seconds", "The duration of the latest check, by phase.", _phases, unit="seconds"),
    _Family("probe_http_status_code", "The status of the reply.", _status),
    _Family("probe_ssl_earliest_cert_expiry", "When the certificate expires, in seconds since 1970.", _expiry),
)


def _format_labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
