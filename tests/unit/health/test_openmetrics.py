"""``openmetrics``: the text, checked against the grammar of OpenMetrics 1.0."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from resilient_client import Certificate, HealthReport, HealthState, ProbeResult, Timings
from resilient_client.health import openmetrics

EXPIRES = datetime(2030, 1, 2, tzinfo=UTC)
WHOLE = ProbeResult(
    name='a "quoted" \\ name\nwith a break',
    target="https://users.example/health?key=***",
    critical=True,
    state=HealthState.UP,
    ok=True,
    status=200,
    elapsed=0.25,
    timings=Timings(pool=0.0, dns=0.01, connect=0.02, tls=0.03, first_byte=0.04, body=0.05),
    certificate=Certificate("users.example", "CA", ("users.example",), datetime(2029, 1, 1, tzinfo=UTC), EXPIRES),
    attempts=1,
)
FUNCTION = ProbeResult("db", "ping", False, HealthState.DOWN, False, elapsed=0.5, attempts=1)
NEVER = ProbeResult("new", "ping", True, HealthState.UNKNOWN, False)

SAMPLE = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)+)\} (-?[0-9.e+-]+)')


def samples(text: str) -> list[tuple[str, str, float]]:
    """Name, labels and value of each line that is not a comment. Fails on a line that is neither."""
    found = [SAMPLE.fullmatch(line) for line in text.splitlines() if not line.startswith("# ")]
    assert None not in found
    return [(match[1], match[2], float(match[3])) for match in found if match is not None]


def values_of(text: str, name: str, label: str = "") -> list[float]:
    """The values of a family, for all targets or for the samples with a certain label."""
    return [value for family, labels, value in samples(text) if family == name and label in labels]


def test_openmetrics_ends_with_eof() -> None:
    """Without the end mark a reader must treat the text as truncated."""
    assert openmetrics(HealthReport([WHOLE])).endswith("\n# EOF\n")


def test_openmetrics_keeps_families_together() -> None:
    """Each family comes once, below its type. A reader refuses one that comes twice."""
    lines = openmetrics(HealthReport([WHOLE, FUNCTION, NEVER])).splitlines()[:-1]
    owners = [line.split(" ")[2] if line.startswith("# ") else line.partition("{")[0] for line in lines]
    runs = [owner for owner, before in zip(owners, ["", *owners], strict=False) if owner != before]
    assert len(runs) == len(set(runs))
    assert {line.split(" ")[2] for line in lines if line.startswith("# TYPE ")} == set(runs)


def test_openmetrics_unit_is_suffix_of_name() -> None:
    """The format requires that a family with a unit ends with it."""
    text = openmetrics(HealthReport([WHOLE]))
    units = [line.split(" ")[2:] for line in text.splitlines() if line.startswith("# UNIT ")]
    assert units
    assert all(name.endswith(f"_{unit}") for name, unit in units)


def test_openmetrics_escapes_label_values() -> None:
    """Quotes, backslashes and line breaks are escaped."""
    assert r'name="a \"quoted\" \\ name\nwith a break"' in openmetrics(HealthReport([WHOLE]))


def test_openmetrics_success_and_state_may_differ() -> None:
    """Success is about the latest check, the state about all of them."""
    failed_once = WHOLE._replace(ok=False)
    text = openmetrics(HealthReport([failed_once]))
    assert values_of(text, "probe_success") == [0.0]
    assert values_of(text, "probe_state", 'probe_state="up"') == [1.0]
    assert sum(values_of(text, "probe_state")) == 1.0


def test_openmetrics_phases_match_blackbox_exporter() -> None:
    """Dashboards for the blackbox exporter work with these names."""
    text = openmetrics(HealthReport([WHOLE]))
    phases = {
        re.findall(r'phase="(\w+)"', labels)[0]: value for name, labels, value in samples(text) if "phase=" in labels
    }
    assert phases == {"resolve": 0.01, "connect": 0.02, "tls": 0.03, "processing": 0.04, "transfer": 0.05}
    assert values_of(text, "probe_duration_seconds") == [0.25]


def test_openmetrics_has_certificate_expiry() -> None:
    """In seconds since 1970."""
    assert values_of(openmetrics(HealthReport([WHOLE])), "probe_ssl_earliest_cert_expiry") == [EXPIRES.timestamp()]


def test_openmetrics_omits_samples_without_value() -> None:
    """A function has no status, phase or certificate. A target that was never called has no duration."""
    text = openmetrics(HealthReport([FUNCTION, NEVER]))
    assert {name for name, _, _ in samples(text)} == {"probe_success", "probe_state", "probe_duration_seconds"}
    assert values_of(text, "probe_duration_seconds") == [0.5]
