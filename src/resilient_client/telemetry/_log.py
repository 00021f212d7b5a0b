"""Writes the events of a client to the loggers below ``resilient_client``.

A listener like any other, which each client has from the start. What a record says is decided by ``_records``, how
often it may repeat by ``_repeats``. The log subscribes only to events whose level is enabled, and others are not even
built. Those of successful calls are logged at ``DEBUG``, so usually such a call only pays for the check of the levels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.events import Event
from resilient_client._core.listeners import Events
from resilient_client.telemetry._environment import follow_environment
from resilient_client.telemetry._levels import version as levels_version
from resilient_client.telemetry._records import RECORDS, fields_of, suppressed_fields, upstream_of
from resilient_client.telemetry._repeats import Repeats
from resilient_client.telemetry._span import current_span_ids

_DEBUG: Final = logging.DEBUG


class ClientLog:
    """The log of one client. It belongs to the client's event loop.

    Repeats are bounded per event, level and upstream, unless ``DEBUG`` is enabled for the logger: that asks for every
    line.
    """

    __slots__ = ("_client", "_events", "_repeats", "_unsubscribe", "_version")

    def __init__(self, client: str, events: Events) -> None:
        """Subscribe to the events that are logged.

        Args:
            client: The name of the client.
            events: Its events.

        Raises:
            ConfigurationError: The environment variable ``RESILIENT_CLIENT_LOG`` is wrong.
        """
        follow_environment()
        self._client = client
        self._events = events
        self._repeats: Repeats[tuple[type[Event], int, Endpoint | None]] = Repeats()
        self._version = -1
        self._unsubscribe: Callable[[], None] | None = None
        self.follow_levels()

    def follow_levels(self) -> None:
        """Subscribe to the events that are logged by now. Each call begins with it: levels may change at any time."""
        version = levels_version()
        if version != self._version:
            self._version = version
            self._subscribe()

    def _subscribe(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        types = [
            event
            for event, record in RECORDS.items()
            if record.logger.isEnabledFor(max(record.level, record.other_level))
        ]
        if types:  # without any, it would be a subscription to all
            self._unsubscribe = self._events.subscribe(self._log, *types)

    def close(self) -> None:
        """Log how many records were left out and not reported yet. May be called twice."""
        for (event, level, upstream), suppressed in self._repeats.drain():
            record = RECORDS[event]
            fields = suppressed_fields(self._client, upstream, record.name, suppressed)
            text = "%d more records of client %s were not logged: %s, %s"
            try:
                record.logger.log(level, text, suppressed, fields["client"], record.name, upstream, extra=fields)
            except Exception:  # noqa: S110 -- a handler or a filter that fails must not keep the client open
                pass

    def _log(self, event: Event) -> None:
        record = RECORDS[type(event)]
        level, logger = record.level_of(event), record.logger
        if not logger.isEnabledFor(level):
            return
        suppressed: int | None = 0
        if not logger.isEnabledFor(_DEBUG):
            suppressed = self._repeats.admit((type(event), level, upstream_of(event)), event.at)
            if suppressed is None:
                return
        fields = fields_of(record, event)
        fields["trace_id"], fields["span_id"] = current_span_ids()
        fields["suppressed"] = suppressed
        text, arguments = record.text(event)
        if suppressed:
            text, arguments = f"{text} (%d more like this were not logged)", (*arguments, suppressed)
        # perf: logger.log() would search the stack for the place in the code, which is this one for all records
        logger.handle(logger.makeRecord(logger.name, level, __file__, 0, text, arguments, None, record.name, fields))
