"""How many attempts may be sent to one endpoint per unit of time."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from resilient_client._settings.base import PositiveSeconds, Seconds, Settings


class RateLimit(Settings):
    """At most ``rate`` attempts per ``per`` seconds to one endpoint, ``burst`` of them at once.

    With a rate limit, replies that ask to slow down (``Retry-After``, an exhausted quota) hold back all calls to their
    endpoint, not only the one that got the reply.
    """

    _hints: ClassVar[dict[str, str]] = {
        "rate": "a number above 0; to send nothing at all, do not call, and for no limit leave RateLimit out",
        "burst": "a whole number, 1 or more",
    }

    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Attempts per ``per`` seconds."""
    per: PositiveSeconds = 1.0
    """The unit of time of ``rate``, in seconds."""
    burst: Annotated[int, Field(ge=1)] = 1
    """Attempts that may be sent at once after a quiet time."""
    max_wait: Seconds = 0.0
    """Seconds an attempt may wait for its slot. One that would wait longer is refused at once."""
    max_pause: Seconds = 60.0
    """The longest pause that a reply may impose on all calls to its endpoint, in seconds. 0: none."""
