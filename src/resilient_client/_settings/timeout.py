"""How long a call and its parts may take."""

from __future__ import annotations

from typing import NamedTuple

from resilient_client._settings.base import PositiveSeconds, Settings


class TimeLimits(NamedTuple):
    """A ``Timeout`` with every value clipped to the ones that include it. ``None`` means no limit.

    Attributes:
        unclipped: ``attempt``, ``connect`` and ``idle`` as they are set, which do not change with ``total``.
    """

    total: float | None
    attempt: float | None
    connect: float | None
    idle: float | None
    unclipped: tuple[float | None, ...] = ()


class Timeout(Settings):
    """Durations in seconds. ``None`` means no limit. A bare number where a ``Timeout`` is expected sets ``total``.

    Values set together must agree (``connect <= attempt <= total``). Defaults adapt to the values that are set: a
    longer ``attempt`` raises the default ``total``, a shorter ``total`` clips the default ``attempt``.
    """

    _ordered = (("connect", "attempt"), ("connect", "total"), ("attempt", "total"))

    total: PositiveSeconds | None = 30.0
    """The whole call: pool waits, all attempts and delays, auth refresh, redirects and reading the body."""
    attempt: PositiveSeconds | None = 10.0
    """One attempt, from choosing the endpoint to the last byte of the body."""
    connect: PositiveSeconds | None = 5.0
    """A new connection: name resolution, TCP and TLS. Waiting for a free connection of the pool is not included."""
    idle: PositiveSeconds | None = None
    """The longest silence of the server while a reply is expected. Off by default: it costs a timer per read."""

    def limits(self) -> TimeLimits:
        """The values in force, each clipped to the ones that include it."""
        attempt = _least(self.attempt, self.total)
        unclipped = self.attempt, self.connect, self.idle
        return TimeLimits(self.total, attempt, _least(self.connect, attempt), self.idle, unclipped)


def _least(value: float | None, limit: float | None) -> float | None:
    if value is None or limit is None:
        return value
    return min(value, limit)
