"""The types of `FaultServer`: the request it received, the wire it answers on, and the step that answers.

A `Step` is any async function of request and wire. A `Fault` is a step described as data: bytes, pauses, and how the
connection ends. Nothing here opens a socket. The server passes the wire.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias

from multidict import CIMultiDictProxy, MultiDictProxy


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request as the server read it."""

    method: str
    target: str
    """The request target as sent: path and query, percent-encoding untouched."""
    path: str
    """The target up to the `?`, percent-encoding untouched."""
    query: MultiDictProxy[str]
    """The query, decoded."""
    headers: CIMultiDictProxy[str]
    body: bytes
    """The body without its transfer coding. If the request is not `complete`, the part that arrived."""
    complete: bool
    """False if the client disconnected while sending the body. Such a request is counted but never answered."""
    connection_id: int
    """The number of the accepted connection that carried it, counted from 1."""
    at: float
    """When the whole request had arrived, in seconds of the event loop's clock."""


class Wire(Protocol):
    """The server's end of one connection, as a step sees it."""

    async def write(self, data: bytes) -> None:
        """Send bytes unchanged. Wait while the client does not read. Do nothing after the connection has ended."""

    def close(self) -> None:
        """Send everything written so far, then FIN."""

    def reset(self) -> None:
        """Send RST (`SO_LINGER` 0). Data that the client has not received is lost."""

    def close_on_reuse(self) -> None:
        """Keep the connection open, but close it without a reply when the next request arrives on it."""


Step: TypeAlias = Callable[[ReceivedRequest, Wire], Awaitable[None]]
"""Answers one request: a `Fault`, a `Hold`, or your own async function."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for `seconds` seconds."""

    seconds: float


class End(Enum):
    """How a fault ends the connection. Without one of these the connection stays open for the next request."""

    CLOSE = "fin"
    RESET = "rst"
    HANG = "silence until the client disconnects"
    CLOSE_ON_REUSE = "fin instead of the next reply"


Part: TypeAlias = bytes | Pause | End


@dataclass(frozen=True, slots=True)
class Fault:
    """A reply described as the parts that are sent, in order.

    Args:
        name: Shown in `repr` and in error messages.
        parts: Returns the parts for a request. They are taken one at a time, so they may be endless.
    """

    name: str
    parts: Callable[[ReceivedRequest], Iterable[Part]] = field(repr=False)

    async def __call__(self, request: ReceivedRequest, wire: Wire) -> None:
        """Send the parts. The server cancels this when the client disconnects."""
        for part in self.parts(request):
            if isinstance(part, bytes):
                await wire.write(part)
            elif isinstance(part, Pause):
                await asyncio.sleep(part.seconds)
            elif part is End.CLOSE:
                wire.close()
            elif part is End.RESET:
                wire.reset()
            elif part is End.CLOSE_ON_REUSE:
                wire.close_on_reuse()
            else:
                await asyncio.get_running_loop().create_future()  # End.HANG


class Hold:
    """Holds requests until the test releases them. Created by `hold()`, and bound to the loop that first waits.

    Args:
        step: Answers each request after its release.
    """

    __slots__ = ("_open", "_step")

    def __init__(self, step: Step) -> None:
        self._step = step
        self._open = asyncio.Event()

    def release(self) -> None:
        """Release every held request. Later requests are not held."""
        self._open.set()

    async def __call__(self, request: ReceivedRequest, wire: Wire) -> None:
        """Wait for `release`, then answer."""
        await self._open.wait()
        await self._step(request, wire)
