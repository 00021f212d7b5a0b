"""What users may write themselves, and what the layers ask of one another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar

from resilient_client._core.call import Call
from resilient_client._core.outcome import Outcome
from resilient_client._core.request import Request
from resilient_client._core.response import Response

T = TypeVar("T")

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
"""The rest of the chain: takes a request, gives a reply of any status, or raises an ``APIError``."""


class Middleware(Protocol):
    """One link of the chain. May serve many clients and calls at once: keep no state of a call in it."""

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Act, hand on to ``call_next``, act again. Every status comes back as a ``Response``; failures raise.

        Never swallow ``asyncio.CancelledError``.
        """
        ...


class Transport(Protocol):
    """Touches the wire: one request, exactly once."""

    async def send(self, request: Request) -> Response:
        """Send and read the reply, whatever its status.

        For a streaming call and a status below 400 the body is left open: it is ``open_body`` of
        the response, which is also kept as ``request.context.open_response``.

        Raises:
            APIError: Whatever went wrong, translated, with kind, stage and ``maybe_processed``.
        """
        ...

    async def close(self) -> None:
        """Give back everything it made itself. May be called twice."""
        ...


class Auth(Protocol):
    """Who the caller is. Applied to each attempt; asked to refresh when the server says 401.

    One whose credentials differ each time by nature (a signature, a nonce) sets ``always_differs = True``, so that a
    difference is not taken for a renewal.
    """

    async def apply(self, request: Request) -> None:
        """Put the credentials into ``request.headers`` (or ``request.url``).

        Raises:
            APIError: There are no credentials to be had; nothing is sent.
        """
        ...

    async def refresh(self, rejected: Response) -> bool:
        """Get new credentials after a 401.

        Called by one task at a time in each client, for all who wait. Returns whether there are new ones.
        """
        ...


class Runner(Protocol):
    """Anything that makes calls: all that the fan-out knows of a client."""

    async def run(self, call: Call[T]) -> Outcome[T]:
        """Make the call; a failure is an outcome, never an exception. A caller's cancellation propagates.

        It should end the call at the deadline set by ``with deadline(...)``, if there is one.
        """
        # A client also annotates a cancellation with how far the call had come: see _core.cancellation.
        ...
