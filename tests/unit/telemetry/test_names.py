"""The names of telemetry are an API: none changes by accident, and each is documented and used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.telemetry_names import main

import resilient_client
from resilient_client import events
from resilient_client.telemetry import _names
from tools import telemetry_names

SOURCE = Path(resilient_client.__file__).parent

LOGGERS = "call attempt retry hedging limits circuit endpoints auth transport events fanout health loop"
EVENTS = """
call_finished call_failed call_cancelled call_coalesced fallback_used attempt_started attempt_finished retry_scheduled
retry_refused
hedge_started call_rejected endpoint_paused circuit_opened circuit_half_opened circuit_closed endpoint_ejected
endpoint_restored endpoints_resolved token_refreshed early_refresh_failed path_chosen loop_blocked listener_failed
outcome_callback_failed result_callback_failed records_suppressed
"""
COMMON_FIELDS = """
event client upstream method route tags call_id attempt request_id trace_id span_id suppressed
"""
FIELDS = """
attempts cause delay detail elapsed endpoint endpoints error file flight_id function kind line maybe_processed ok
reason reauthenticated
redirects retry_after reused seconds sent stage status suppressed_event waited waiters
"""
METRICS = """
http.client.request.duration http.client.active_requests http.client.open_connections resilient_client.call.duration
resilient_client.attempts resilient_client.retries resilient_client.hedges resilient_client.rejections
resilient_client.fallbacks resilient_client.coalesced resilient_client.circuit.state
resilient_client.circuit.transitions resilient_client.retry_budget.available resilient_client.bulkhead.limit
resilient_client.bulkhead.in_use resilient_client.bulkhead.waiting resilient_client.endpoint.healthy
resilient_client.pool.in_use resilient_client.pool.waiting resilient_client.loop.lag resilient_client.label_overflows
"""
SPAN_ATTRIBUTES = """
http.request.method http.request.method_original http.request.resend_count http.response.status_code error.type
network.peer.address network.peer.port network.protocol.version server.address server.port url.full url.template
resilient_client.call_id resilient_client.client resilient_client.attempts resilient_client.kind
"""
UNBOUNDED = {"call_id", "request_id", "trace_id", "span_id", "path", "url.full", "key", "id"}


def test_names_are_the_agreed_ones() -> None:
    """A name is added, changed or removed only together with this list, and with a line in the changelog."""
    assert (_names.ROOT, _names.ENVIRONMENT_VARIABLE) == ("resilient_client", "RESILIENT_CLIENT_LOG")
    assert list(_names.LOGGERS) == LOGGERS.split()
    assert [event.name for event in _names.EVENTS] == EVENTS.split()
    assert list(_names.COMMON_FIELDS) == COMMON_FIELDS.split()
    assert list(_names.FIELDS) == FIELDS.split()
    assert list(_names.METRICS) == METRICS.split()
    assert (_names.CALL_SPAN, list(_names.SPAN_ATTRIBUTES)) == ("resilient_client.call", SPAN_ATTRIBUTES.split())


def test_name_of_event_follows_its_class() -> None:
    """``RetryScheduled`` is ``retry_scheduled``: who knows one name knows the other."""
    for event in _names.EVENTS:
        if event.source:
            assert event.name == re.sub(r"(?<!^)(?=[A-Z])", "_", event.source).lower()
            assert hasattr(events, event.source)


def test_events_use_listed_loggers_and_all_fields() -> None:
    """No event has a field or a logger that is not explained, and nothing is explained that no event has."""
    assert {event.logger for event in _names.EVENTS} - {""} == set(_names.LOGGERS)
    assert {field for event in _names.EVENTS for field in event.fields} == set(_names.FIELDS)
    assert not set(_names.FIELDS) & set(_names.COMMON_FIELDS)


def test_names_in_the_code_are_listed() -> None:
    """A module that logs directly writes its logger and its event by name, so both are looked for in the code."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    loggers = re.findall(r'(?:getLogger\(|LOGGER: Final = )"resilient_client\.([\w.]+)"', code)
    named = re.findall(r'extra=\{"event": "(\w+)"', code)
    assert {"auth", "transport", "events", "fanout", "health"} <= set(loggers) <= set(_names.LOGGERS)
    assert set(named) == {event.name for event in _names.EVENTS if event.logger and not event.source}


def test_prometheus_names_follow_the_conventions() -> None:
    """The exposition has the same name with underscores, the unit, and ``_total`` for a counter."""
    for name, (prometheus, kind, attributes) in _names.METRICS.items():
        suffix = {"counter": "_total", "histogram": "_seconds"}.get(kind, "")
        assert prometheus == name.replace(".", "_") + suffix
        assert not UNBOUNDED & set(attributes)


def test_tables_of_the_docs_are_current() -> None:
    """``docs/logging.md`` has the names of today."""
    assert main(["--check"]) == 0, "run python tools/telemetry_names.py"


def test_check_of_stale_tables_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is missing in the docs is found, and making the tables anew mends it."""
    page = tmp_path / "logging.md"
    page.write_text("before\n<!-- names: loggers -->\n| old |\n<!-- end -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(telemetry_names, "PAGE", page)
    assert main(["--check"]) == 1
    assert "run python tools/telemetry_names.py" in capsys.readouterr().err
    assert main([]) == main(["--check"]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n")  # noqa: PT018 -- one page
    assert "| `resilient_client.retry` |" in text
