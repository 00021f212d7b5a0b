"""What counts against an upstream."""

from __future__ import annotations

import pytest

from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._policies.classify import blames_upstream


@pytest.mark.parametrize(("stale", "blames"), [(False, True), (True, False)])
def test_blame_for_a_lost_connection_is_the_servers_unless_it_was_stale(stale: bool, blames: bool) -> None:
    """A kept-alive connection that is closed by now is nobody's fault."""
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
def test_blame_where_the_pool_is_out_of_sight_needs_more_than_silence(
    kind: ErrorKind, reached: Stage | None, blames: bool
) -> None:
    """Before sending, a timeout may be a wait for the caller's own pool; any other failure is plain."""
    assert blames_upstream(kind, reached, pool_wait_unobservable=True) is blames


def test_blame_for_a_connect_timeout_is_the_hosts_where_the_pool_is_ours() -> None:
    """Negative control: with a pool of our own, a timeout in connecting is no wait for a place."""
    assert blames_upstream(ErrorKind.TIMEOUT, Stage.CONNECT)
