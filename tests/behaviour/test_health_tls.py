"""The rule of certificates in a health check: one that ends soon is told before it does, a bad one is a failure."""

from __future__ import annotations

import datetime
import ssl

import pytest
import trustme
from tests.behaviour.support import soon

from resilient_client import ConnectionSettings, ErrorKind, HealthState, Probe, ProbeResult, probe
from resilient_client.testing._fault_server import FaultServer

AUTHORITY = trustme.CA()
TRUSTING = ssl.create_default_context()
AUTHORITY.configure_trust(TRUSTING)
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def serving(authority: trustme.CA, days: float) -> ssl.SSLContext:
    """A server whose certificate has so many days left."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", not_after=NOW + datetime.timedelta(days=days)).configure_cert(context)
    return context


async def result_of(context: ssl.SSLContext, **options: float) -> ProbeResult:
    """What a check that trusts our authority says of a server."""
    async with FaultServer(tls=context) as server:
        target = Probe(server.url, name="it", **options)  # type: ignore[arg-type]  # numbers only
        return (await soon(probe([target], connection=ConnectionSettings(tls=TRUSTING))))["it"]


async def test_certificate_with_time_left_is_well() -> None:
    """The result says how much."""
    result = await result_of(serving(AUTHORITY, 100))
    assert (result.state, result.reason) == (HealthState.UP, "")
    assert result.certificate is not None
    assert result.certificate.expires_at == NOW + datetime.timedelta(days=100)
    assert result.days_left == pytest.approx(100, abs=0.01)


@pytest.mark.parametrize(("days", "words"), [(5.01, "5 days"), (0.5, "12 hours")])
async def test_expiring_certificate_degrades(days: float, words: str) -> None:
    """It still works, so the target is not down; somebody has to act."""
    result = await result_of(serving(AUTHORITY, days))
    assert (result.state, result.ok) == (HealthState.DEGRADED, True)
    assert result.reason == f"the certificate expires in {words}"


async def test_expiring_certificate_may_be_ignored() -> None:
    """Negative control: with ``certificate_days=0`` it counts for nothing until it has ended."""
    assert (await result_of(serving(AUTHORITY, 5), certificate_days=0)).state is HealthState.UP


@pytest.mark.parametrize(
    ("context", "words"),
    [(serving(AUTHORITY, -1), "certificate has expired"), (serving(trustme.CA(), 100), "unable to get local issuer")],
    ids=["expired", "untrusted"],
)
async def test_bad_certificate_names_reason(context: ssl.SSLContext, words: str) -> None:
    """In the words of OpenSSL, and without advice on retries; the handshake took its time, and no request followed."""
    result = await result_of(context)
    assert (result.state, result.kind, result.status) == (HealthState.DOWN, ErrorKind.TLS, None)
    assert words in result.reason
    assert "retried" not in result.reason
    assert result.timings.tls is not None
    assert result.timings.first_byte is None


async def test_failing_target_shows_certificate() -> None:
    """It was verified before the server said 503."""
    from resilient_client.testing.faults import reply

    async with FaultServer(tls=serving(AUTHORITY, 100)) as server:
        server.script(reply(503))
        result = (await soon(probe([server.url], connection=ConnectionSettings(tls=TRUSTING))))[0]
    assert result.state is HealthState.DOWN
    assert result.certificate is not None
