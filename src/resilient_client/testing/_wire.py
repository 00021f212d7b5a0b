"""The nouns of `FaultServer`: the request it received, the wire it answers on, and the step that answers.

A `Step` is any async function of request and wire. A `Fault` is a step that is mere description: bytes,
pauses, and how the connection ends. Nothing here opens a socket; the server hands the wire in.
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
    """The body without its transfer coding; what had arrived, if the request is not `complete`."""
    complete: bool
    """False when the client left in the middle of its body; such a request is counted but never answered."""
    connection_id: int
    """Which accepted connection carried it, counted from 1."""
    at: float
    """When it had arrived, in seconds of the event loop's clock."""


class Wire(Protocol):
    """The server's end of one connection, as a step sees it."""

    async def write(self, data: bytes) -> None:
        """Send bytes as given; wait while the client does not read; do nothing after the end."""

    def close(self) -> None:
        """Send what was written, then FIN."""

    def reset(self) -> None:
        """Send RST (`SO_LINGER` 0); what the client has not received is lost."""

    def close_on_reuse(self) -> None:
        """Keep the connection, but when the next request arrives on it, close without an answer."""


Step: TypeAlias = Callable[[ReceivedRequest, Wire], Awaitable[None]]
"""What answers one request: a `Fault`, a `Hold`, or your own async function."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for that many seconds."""

    seconds: float


class End(Enum):
    """How a fault leaves the connection; with none of these it stays open for the next request."""

    CLOSE = "fin"
    RESET = "rst"
    HANG = "silence until the client leaves"
    CLOSE_ON_REUSE = "fin instead of the next reply"


Part: TypeAlias = bytes | Pause | End


@dataclass(frozen=True, slots=True)
class Fault:
    """A reply described as the parts that go on the wire, one after the other.

    Args:
        name: What `repr` and error messages say.
        parts: Makes the parts for a request. They are taken one at a time, so they may be endless.
    """

    name: str
    parts: Callable[[ReceivedRequest], Iterable[Part]] = field(repr=False)

    async def __call__(self, request: ReceivedRequest, wire: Wire) -> None:
        """Play the parts; a client that leaves cancels this."""
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
                await asyncio.get_running_loop().create_future()


class Hold:
    """Holds requests until the test releases them; made by `hold()`, and bound to the loop that first waits.

    Args:
        step: Answers each request once it is released.
    """

    __slots__ = ("_open", "_step")

    def __init__(self, step: Step) -> None:
        self._step = step
        self._open = asyncio.Event()

    def release(self) -> None:
        """Let every held request go on, and all later ones pass."""
        self._open.set()

    async def __call__(self, request: ReceivedRequest, wire: Wire) -> None:
        """Wait for `release`, then answer."""
        await self._open.wait()
        await self._step(request, wire)
