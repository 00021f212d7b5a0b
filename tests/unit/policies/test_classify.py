"""What counts against an upstream."""

from __future__ import annotations

import pytest

from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._policies.classify import blames_upstream


@pytest.mark.parametrize(("stale", "blames"), [(False, True), (True, False)])
def test_lost_connection_blames_upstream_unless_stale(stale: bool, blames: bool) -> None:
    """A kept-alive connection that was closed is neither side's fault."""
    assert blames_upstream(ErrorKind.DISCONNECTED, Stage.HEADERS, stale=stale) is blames


@pytest.mark.parametrize(
    ("kind", "reached", "blames"),
    [
        (ErrorKind.TIMEOUT, Stage.CONNECT, False),
        (ErrorKind.TIMEOUT, Stage.HEADERS, True),
        (ErrorKind.CONNECT, Stage.CONNECT, True),
        (ErrorKind.TIMEOUT, None, False),
    ],
)
def test_unobservable_pool_wait_needs_more_than_silence(kind: ErrorKind, reached: Stage | None, blames: bool) -> None:
    """Before sending, a timeout may be a wait for the caller's pool. Any other failure is clear."""
    assert blames_upstream(kind, reached, pool_wait_unobservable=True) is blames


def test_connect_timeout_blames_upstream_with_own_pool() -> None:
    """Negative control: with the client's own pool, a timeout while connecting is no pool wait."""
    assert blames_upstream(ErrorKind.TIMEOUT, Stage.CONNECT)
