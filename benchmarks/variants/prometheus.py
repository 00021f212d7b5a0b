"""A subscriber that keeps Prometheus metrics. The library does not provide one yet."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from resilient_client.events import AttemptFinished, CallEvent, CallFinished, Event


class Metrics:
    """A histogram of calls and a counter of attempts, by client, method, route and result."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        labels = ("client", "method", "route", "result")
        self.calls = Histogram("http_client_call_seconds", "Calls", labels, registry=registry)
        self.attempts = Counter("http_client_attempts", "Attempts", labels, registry=registry)
        self.children: dict[tuple[Any, ...], Any] = {}

    def __call__(self, event: Event) -> None:
        """Count a finished call or attempt."""
        if isinstance(event, CallFinished):
            self.child(self.calls, event, event.kind or event.status).observe(event.elapsed)
        elif isinstance(event, AttemptFinished):
            self.child(self.attempts, event, event.record.kind or event.record.status).inc()

    def child(self, metric: Histogram | Counter, event: CallEvent, result: object) -> Any:
        """Return the metric with its labels. It is cached, because ``labels()`` is the most expensive part."""
        key = (metric, event.client, event.method, event.route, result)
        found = self.children.get(key)
        if found is None:
            found = self.children[key] = metric.labels(event.client, event.method, event.route, str(result))
        return found
