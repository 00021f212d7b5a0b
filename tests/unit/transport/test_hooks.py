"""What a socket tells of its connection: when the first one is tried, and when the one that counts stands."""

from __future__ import annotations

import errno
import itertools
import select
import socket
from collections.abc import Iterator

import pytest

from resilient_client._core.kinds import Stage
from resilient_client._transport.hooks import create_socket
from resilient_client._transport.trace import WireTrace, current_trace

INET = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0))
ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)


@pytest.fixture
def progress() -> Iterator[WireTrace]:
    """That of a request whose clock counts how often it is read."""
    ticks = itertools.count()
    progress = WireTrace(lambda: float(next(ticks)), attempt=1, tls=True)
    token = current_trace.set(progress)
    yield progress
    current_trace.reset(token)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody who takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_connect_time_begins_at_first_address(progress: WireTrace) -> None:
    """Whoever has to try a second one has waited since the first."""
    with create_socket(INET), create_socket(INET):
        assert (progress.connecting, progress.connected) == (1.0, None)


def test_connected_once_connect_returns(progress: WireTrace, listener: socket.socket) -> None:
    """As on a blocking socket."""
    with create_socket(INET) as made:
        made.connect(listener.getsockname())
        assert progress.connected == 2.0


def test_connected_once_loop_reports_no_error(progress: WireTrace) -> None:
    """As on a socket that does not block; only the first word counts."""
    with create_socket(INET) as made:
        assert made.getsockopt(*ERROR) == 0
        assert made.getsockopt(*ERROR) == 0
        assert progress.connected == 2.0


def test_other_socket_options_are_ignored(progress: WireTrace) -> None:
    """Zero there is no word of success."""
    with create_socket(INET) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        assert progress.connected is None


def test_refused_connection_is_not_connected(progress: WireTrace) -> None:
    """The loop hears of an error, which is no word of success."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with create_socket(INET) as made:
        made.setblocking(False)
        assert made.connect_ex(address) == errno.EINPROGRESS
        select.select([], [made], [], 5)
        assert made.getsockopt(*ERROR) == errno.ECONNREFUSED
        assert progress.connected is None


def test_handshake_time_restarts_per_address(progress: WireTrace, listener: socket.socket) -> None:
    """The handshake with the earlier one has failed, or it would not be tried."""
    with create_socket(INET) as first, create_socket(INET) as second:
        first.connect(listener.getsockname())
        with create_socket(INET):
            assert progress.connected is None
        second.connect(listener.getsockname())
        assert progress.connected is not None


def test_second_connection_keeps_first_mark(progress: WireTrace, listener: socket.socket) -> None:
    """Of two addresses tried at once, the one that stands first is used."""
    with create_socket(INET) as first, create_socket(INET) as second:
        first.connect(listener.getsockname())
        stood = progress.connected
        second.connect(listener.getsockname())
        assert progress.connected == stood


def test_connected_socket_keeps_no_progress(progress: WireTrace, listener: socket.socket) -> None:
    """It lives as long as the connection, which serves many requests more."""
    with create_socket(INET) as made:
        made.connect(listener.getsockname())
        assert made.trace is None  # type: ignore[attr-defined]  # ours has it
        assert made in progress.sockets


def test_socket_without_request(listener: socket.socket) -> None:
    """Such as one of a session that others use, too."""
    with create_socket(INET) as made:
        made.connect(listener.getsockname())
        assert made.getpeername() == listener.getsockname()


def test_handshake_while_any_connection_stands(progress: WireTrace, listener: socket.socket) -> None:
    """Whichever address was tried last: a dead service is told from a dead host."""
    progress.pooled = 0.0
    with create_socket(INET) as first, create_socket(INET):
        assert progress.stage() is Stage.CONNECT
        first.connect(listener.getsockname())
        with create_socket(INET):
            assert progress.stage() is Stage.TLS
