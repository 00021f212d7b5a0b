"""The fields of a server's TLS certificate that users need, above all its expiry."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple


class Certificate(NamedTuple):
    """A server's own certificate, as it was verified in a TLS handshake.

    Attributes:
        subject: The subject's common name, or else the first of ``names``.
        issuer: The issuer's organization, or else its common name.
        names: The DNS names and IP addresses that the certificate is valid for.
        starts_at: The start of its validity, in UTC.
        expires_at: The end of its validity, in UTC.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    starts_at: datetime
    expires_at: datetime

    def days_left(self, now: datetime) -> float:
        """Return the days until the certificate expires, negative afterwards.

        Args:
            now: An aware datetime.
        """
        return (self.expires_at - now) / timedelta(days=1)
