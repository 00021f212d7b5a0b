"""Sockets that tell when they are made, and when their connection stands."""

from __future__ import annotations

import socket
from typing import Any

from resilient_client._transport.trace import WireTrace, current_trace


def create_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    """The socket factory for aiohttp: called once for each address that is tried."""
    family, kind, protocol, _, _ = address
    made = TracingSocket(family, kind, protocol)
    if (trace := current_trace.get()) is not None:
        if trace.connecting is None:
            trace.connecting = trace.clock()
        trace.connected = None  # of an earlier address, whose handshake failed
        trace.sockets = (*trace.sockets, made)
        made.trace = trace
    return made


class TracingSocket(socket.socket):
    """Tells when its connection stands, and with it the TLS handshake begins.

    Nothing of aiohttp or of an event loop says so. But a loop learns it from the socket, where connect(2) says it is
    to be learned: ``connect`` returns, or later ``SO_ERROR`` is asked for and is zero. Both asyncio's selector loop
    and uvloop do.
    """

    __slots__ = ("trace",)

    trace: WireTrace | None

    def __init__(self, *what: int) -> None:
        super().__init__(*what)
        self.trace = None

    def connect(self, address: Any) -> None:
        super().connect(address)
        self._mark()

    def getsockopt(self, *what: int) -> Any:
        answer = super().getsockopt(*what)
        if answer == 0 and what == _ERROR:
            self._mark()
        return answer

    def _mark(self) -> None:
        trace, self.trace = self.trace, None  # never kept for as long as the connection is
        if trace is not None and trace.connected is None:
            trace.connected = trace.clock()


_ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)
