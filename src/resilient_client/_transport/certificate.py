"""Converts a certificate as Python's ssl module decodes it. Verifies nothing: the handshake did."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from resilient_client._core.certificate import Certificate


def certificate_of(decoded: Mapping[str, Any] | None) -> Certificate | None:
    """The certificate that ``SSLSocket.getpeercert()`` decoded; ``None`` if it is empty: it was not verified."""
    if not decoded or "notAfter" not in decoded:
        return None
    subject, issuer = _attributes(decoded, "subject"), _attributes(decoded, "issuer")
    names = tuple(value for _, value in decoded.get("subjectAltName", ()))
    return Certificate(
        subject=subject.get("commonName") or next(iter(names), ""),
        issuer=issuer.get("organizationName") or issuer.get("commonName", ""),
        names=names,
        starts_at=_moment(decoded["notBefore"]),
        expires_at=_moment(decoded["notAfter"]),
    )


def _attributes(decoded: Mapping[str, Any], whose: str) -> dict[str, str]:
    """The attributes of a distinguished name, which comes as a sequence of sequences of pairs."""
    return {name: value for relative in decoded.get(whose, ()) for name, value in relative}


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
