"""`MockUpstream`: an upstream in memory that answers as scripted.

It replaces the network below an unchanged client, so deadline, retry, circuit, auth, redirects and decoding are those
of production. Without sockets they can run in virtual time. For the behaviour of real sockets (resets, half-open
connections, bytes that are not HTTP) use `FaultServer`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import unquote

from yarl import URL

from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._settings.connection import ConnectionSettings
from resilient_client.testing._mock_session import ActiveRequests, MemoryTransport
from resilient_client.testing._mock_steps import MockRequest, Step, check_step


class MockUpstream:
    """A transport in memory: `APIClient("https://api.example.com", transport=upstream)`.

    It answers requests to any host. One upstream may serve many clients at once, and several event loops one after
    the other. Closing a client does not change it. It has no default reply: a request for which no step is scripted
    raises an `AssertionError` that lists the scripted routes.

    Args:
        connection: Sets the pool size and the size limit of replies. Settings for real connections have no effect.
    """

    def __init__(self, *, connection: ConnectionSettings | None = None) -> None:
        self.requests: list[MockRequest] = []
        """Every request that was received, in order. Requests that failed before sending are not included."""
        self.sends = 0
        """The number of requests that the client tried to send, including those that failed before sending."""
        self._settings = connection or ConnectionSettings()
        self._script: _Script | None = None
        self._routes: dict[str, _Route] = {}
        self._unscripted: list[str] = []
        self._active = ActiveRequests()
        self._transport: tuple[asyncio.AbstractEventLoop, MemoryTransport] | None = None
        self._arrived = asyncio.Event()

    # -- scripting -----------------------------------------------------------------------------------------------

    def script(self, *steps: Step) -> None:
        """Replace the script for requests without a route. Each request takes one step. The last step repeats.

        Raises:
            ValueError: `steps` is empty.
            TypeError: One of them is not a step.
        """
        self._script = _Script("the script", steps)

    def route(self, method: str, path: str, *steps: Step) -> None:
        """Set a separate script for a method and a path, or replace it.

        Args:
            method: Upper or lower case.
            path: As the upstream receives it, including the base path, without the query. A `{name}` matches one
                segment. If more than one route matches, the one with the fewest `{names}` answers.
            steps: One per request, in order. The last one repeats.

        Raises:
            ValueError: `steps` is empty, or `path` is not a path.
            TypeError: One of the steps is not a step.
        """
        route = _Route(method, path, steps)
        self._routes[route.name] = route

    # -- inspection ----------------------------------------------------------------------------------------------

    @property
    def hits(self) -> int:
        """The number of requests received. Compare it with what a client reports about its attempts."""
        return len(self.requests)

    @property
    def active(self) -> int:
        """The number of requests that the upstream is handling now. A request counts until the head of its reply."""
        return self._active.active

    @property
    def peak(self) -> int:
        """The highest value that `active` has reached."""
        return self._active.peak

    async def wait_for_hits(self, count: int) -> None:
        """Wait until `hits` is at least `count`. It has no timeout of its own."""
        while self.hits < count:
            await self._arrived.wait()

    def assert_called(self, method: str, path: str, *, times: int | None = None) -> list[MockRequest]:
        """Return the requests received for a method and path, which may hold `{names}` as in `route`.

        Args:
            method: Upper or lower case.
            path: Including the base path, without the query.
            times: The expected number. None means at least one.

        Raises:
            AssertionError: The number differs. The message lists all requests received.
        """
        wanted = _Pattern(method, path)
        found = [request for request in self.requests if wanted.match(request.method, request.url) is not None]
        if (times is None and not found) or (times is not None and len(found) != times):
            expected = "at least one" if times is None else str(times)
            received = "\n".join(f"  {request.method} {request.path}" for request in self.requests) or "  nothing"
            raise AssertionError(
                f"expected {expected} of {wanted.name}, received {len(found)}; all received:\n{received}"
            )
        return found

    def assert_all_used(self) -> None:
        """Check that every step has answered at least once and that every request was scripted.

        The second check finds requests whose `AssertionError` a fan-out turned into an outcome.

        Raises:
            AssertionError: The message lists the unused steps and the requests without a step.
        """
        scripts = [*self._routes.values(), *([self._script] if self._script is not None else [])]
        wrong = [f"{script.name} has not used {step!r}" for script in scripts for step in script.unused]
        wrong += [f"no step is scripted for {request}" for request in self._unscripted]
        if wrong:
            raise AssertionError("; ".join(wrong))

    # -- Transport -----------------------------------------------------------------------------------------------

    async def send(self, request: Request) -> Response:
        """Answer one request, as `resilient_client.Transport` defines it."""
        loop = asyncio.get_running_loop()
        # The real transport is bound to one loop. Script and counters outlive it.
        if self._transport is None or self._transport[0] is not loop:
            self._transport = loop, MemoryTransport(self._settings, self._choose_step, self._on_request, self._active)
        return await self._transport[1].send(request)

    async def close(self) -> None:
        """Do nothing: other clients may be using the upstream."""

    def _choose_step(self, method: str, url: URL) -> tuple[Step, Mapping[str, str]]:
        self.sends += 1
        matches = [(route, names) for route in self._routes.values() if (names := route.match(method, url)) is not None]
        if matches:
            route, params = min(matches, key=lambda match: len(match[1]))
            return route.next(), params
        if self._script is not None:
            return self._script.next(), {}
        request = f"{method} {url.path}"
        self._unscripted.append(request)
        scripted = ", ".join(route.name for route in self._routes.values()) or "no route; call script() or route()"
        raise AssertionError(f"no step is scripted for {request}; scripted: {scripted}")

    def _on_request(self, request: MockRequest) -> None:
        self.requests.append(request)
        # A new event instead of clear(): the next waiter may run on another event loop, and an event is bound to one.
        self._arrived.set()
        self._arrived = asyncio.Event()

    def __repr__(self) -> str:
        return f"<MockUpstream, {self.hits} hits>"


class _Script:
    """Steps in order. The last one repeats."""

    def __init__(self, name: str, steps: tuple[Step, ...]) -> None:
        if not steps:
            raise ValueError(f"{name} needs at least one step: reply(...), fail(...) or a function")
        self.name = name
        self._steps = tuple(map(check_step, steps))
        self._used = 0

    @property
    def unused(self) -> tuple[Step, ...]:
        return self._steps[self._used :]

    def next(self) -> Step:
        step = self._steps[min(self._used, len(self._steps) - 1)]
        self._used += 1
        return step


class _Pattern:
    """A method and a path that may hold `{names}`."""

    def __init__(self, method: str, path: str) -> None:
        if not path.startswith("/") or "?" in path:
            raise ValueError(f"a route is a path such as '/users/{{id}}', without origin and query, not {path!r}")
        self.name = f"{method.upper()} {path}"
        self._method = method.upper()
        self._names = _PLACEHOLDER.findall(path)
        self._segments = [_segment(text) for text in path.split("/")]

    def match(self, method: str, url: URL) -> dict[str, str] | None:
        """Return the decoded values of the `{names}` if a request matches, else None."""
        segments = url.raw_path.split("/")  # raw: an encoded slash belongs to its segment
        if method != self._method or len(segments) != len(self._segments):
            return None
        found = [regex.fullmatch(unquote(text)) for regex, text in zip(self._segments, segments, strict=True)]
        if not all(found):
            return None
        values = [value for part in found if part is not None for value in part.groups()]
        return dict(zip(self._names, values, strict=True))


class _Route(_Script, _Pattern):
    """A script for the requests that match a pattern."""

    def __init__(self, method: str, path: str, steps: tuple[Step, ...]) -> None:
        _Pattern.__init__(self, method, path)
        _Script.__init__(self, self.name, steps)


_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _segment(text: str) -> re.Pattern[str]:
    """Compile one path segment, in which each `{name}` becomes a group."""
    literals = _PLACEHOLDER.split(text)[::2]
    return re.compile("(.+)".join(map(re.escape, literals)), re.DOTALL)
