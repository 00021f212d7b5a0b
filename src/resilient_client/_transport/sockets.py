"""Sockets that tell when they are made, and when their connection stands."""

from __future__ import annotations

import socket
from typing import Any

from resilient_client._transport.trace import Progress, current


def make_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    """The socket factory for aiohttp: called once for each address that is tried."""
    family, kind, protocol, _, _ = address
    made = _MarkingSocket(family, kind, protocol)
    if (progress := current.get()) is not None:
        if progress.connecting is None:
            progress.connecting = progress.clock()
        progress.connected = None  # of an earlier address, whose handshake failed
        progress.sockets = (*progress.sockets, made)
        made.progress = progress
    return made


class _MarkingSocket(socket.socket):
    """Tells when its connection stands, and with it the TLS handshake begins.

    Nothing of aiohttp or of an event loop says so. But a loop learns it from the socket, where connect(2) says it is
    to be learned: ``connect`` returns, or later ``SO_ERROR`` is asked for and is zero. Both asyncio's selector loop
    and uvloop do.
    """

    __slots__ = ("progress",)

    progress: Progress | None

    def __init__(self, *what: int) -> None:
        super().__init__(*what)
        self.progress = None

    def connect(self, address: Any) -> None:
        super().connect(address)
        self._mark()

    def getsockopt(self, *what: int) -> Any:
        answer = super().getsockopt(*what)
        if answer == 0 and what == _ERROR:
            self._mark()
        return answer

    def _mark(self) -> None:
        progress, self.progress = self.progress, None  # never kept for as long as the connection is
        if progress is not None and progress.connected is None:
            progress.connected = progress.clock()


_ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)
