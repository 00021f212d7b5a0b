"""The protocols of the parts that users may implement: middleware, transport, auth, runner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar

from resilient_client._core.call import Call
from resilient_client._core.outcome import Outcome
from resilient_client._core.request import Request
from resilient_client._core.response import Response

T = TypeVar("T")

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
"""The rest of the chain: takes a request, and returns a response of any status or raises an ``APIError``."""


class Middleware(Protocol):
    """One link of the chain. It may serve many clients and calls at the same time: keep no state of a call in it."""

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Process the request, pass it to ``call_next``, and process and return the response.

        ``call_next`` returns a ``Response`` for every status, and raises an ``APIError`` for every other failure. Never
        swallow ``asyncio.CancelledError``.
        """
        ...


class Transport(Protocol):
    """Sends requests over the network, each exactly once.

    A client whose event loop was closed may be used on another one. A transport that holds something of the loop, such
    as connections, also has a method ``leave_loop()``, which drops it, and an attribute ``in_use``, the number of
    requests and open bodies. A client does not leave its loop while ``in_use`` is above 0.
    """

    async def send(self, request: Request) -> Response:
        """Send the request and return its response, whatever the status.

        The body is read, except for a streaming call and a status below 400: then it stays open as ``open_body`` of
        the response, and the response is also kept as ``request.context.open_response``.

        Raises:
            APIError: Any failure, with its kind, stage and ``maybe_processed``.
        """
        ...

    async def close(self) -> None:
        """Close everything that the transport opened itself. May be called twice."""
        ...


class Auth(Protocol):
    """Supplies the credentials of a client. Applied to each attempt, and refreshed after a status of 401.

    An implementation whose credentials differ for each request (a signature, a nonce) sets ``always_differs = True``.
    Otherwise such a difference would look like a renewal.
    """

    async def apply(self, request: Request) -> None:
        """Add the credentials to ``request.headers`` (or ``request.url``).

        Raises:
            APIError: The credentials could not be obtained. Nothing is sent.
        """
        ...

    async def refresh(self, rejected: Response) -> bool:
        """Get new credentials after a status of 401, and return whether there are any.

        Each client calls this from one task at a time. All calls that wait for new credentials share the result.
        """
        ...


class Runner(Protocol):
    """Anything that can run calls. A fan-out needs no more of a client than this."""

    async def run(self, call: Call[T]) -> Outcome[T]:
        """Run the call and return its outcome. A failure is an outcome, never an exception.

        A caller's cancellation propagates. An implementation should end the call at the deadline set by ``with
        deadline(...)``, if there is one.
        """
        # A client also annotates a cancellation with how far the call had come: see _core.cancellation.
        ...
