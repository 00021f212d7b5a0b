"""What is worth knowing of a server's TLS certificate."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple


class Certificate(NamedTuple):
    """A server's own certificate, as it was verified in a handshake.

    Attributes:
        subject: Whom it was issued to: its common name, else the first of its names.
        issuer: Who issued it: the organization, else the common name.
        names: The DNS names and addresses it is good for.
        starts_at: When it became valid, in UTC.
        expires_at: When it stops being valid, in UTC.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    starts_at: datetime
    expires_at: datetime

    def days_left(self, now: datetime) -> float:
        """Days until it expires; below zero afterwards.

        Args:
            now: An aware datetime.
        """
        return (self.expires_at - now) / timedelta(days=1)
