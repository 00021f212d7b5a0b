"""`MockUpstream`: an upstream in memory that answers as scripted.

It takes the place of the network under an unchanged client, so deadline, retry, circuit, auth, redirects and decoding
are those of production, and with no socket in the way they run in virtual time. What happens on a real socket
(resets, half-open connections, bytes that are not HTTP) is the business of `FaultServer`.
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
from resilient_client.testing._mock_session import Load, MemoryTransport
from resilient_client.testing._scripted import MockRequest, Step, checked


class MockUpstream:
    """A transport in memory: `APIClient("https://api.example.com", transport=upstream)`.

    Whoever calls and on which host, it answers; one may serve many clients and event loops, one after the other.
    Closing a client leaves it as it is. Nothing is answered by default: a request for which nothing is scripted
    raises an `AssertionError` that tells what is.

    Args:
        connection: Size of the pool and limit of the reply; what concerns real connections has no effect.
    """

    def __init__(self, *, connection: ConnectionSettings | None = None) -> None:
        self.requests: list[MockRequest] = []
        """Every request that was received, in order; not those that failed before anything was sent."""
        self.sends = 0
        """How often the client tried to send, including what failed before anything was sent."""
        self._settings = connection or ConnectionSettings()
        self._script: _Script | None = None
        self._routes: dict[str, _Route] = {}
        self._unscripted: list[str] = []
        self._load = Load()
        self._transport: tuple[asyncio.AbstractEventLoop, MemoryTransport] | None = None
        self._arrived = asyncio.Event()

    # -- what it is told -----------------------------------------------------------------------------------------

    def script(self, *steps: Step) -> None:
        """Replace the script for requests without a route: one step a request, in order; the last one repeats.

        Raises:
            ValueError: There is no step.
            TypeError: Something is no step.
        """
        self._script = _Script("the script", steps)

    def route(self, method: str, path: str, *steps: Step) -> None:
        """Give a method and a path a script of its own, or replace the one it has.

        Args:
            method: In any case.
            path: As the upstream sees it, base path included, without the query. A `{name}` stands for any one
                segment; where several routes fit, the one with the fewest of them answers.
            steps: One a request, in order; the last one repeats.

        Raises:
            ValueError: There is no step, or the path is none.
            TypeError: Something is no step.
        """
        route = _Route(method, path, steps)
        self._routes[route.name] = route

    # -- what it tells -------------------------------------------------------------------------------------------

    @property
    def hits(self) -> int:
        """How many requests were received: the truth about a client's attempts."""
        return len(self.requests)

    @property
    def active(self) -> int:
        """Requests in the hands of the upstream now, up to the head of the reply."""
        return self._load.active

    @property
    def peak(self) -> int:
        """The largest `active` there ever was."""
        return self._load.peak

    async def wait_for_hits(self, count: int) -> None:
        """Wait until `hits` is at least `count`; put a timeout around it, it has none."""
        while self.hits < count:
            await self._arrived.wait()

    def assert_called(self, method: str, path: str, *, times: int | None = None) -> list[MockRequest]:
        """Give the requests that were received for a method and path, which may hold `{names}` as in `route`.

        Args:
            method: In any case.
            path: Base path included, without the query.
            times: How many there must be; None: at least one.

        Raises:
            AssertionError: There are more or fewer; the message lists all that were received.
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
        """Hold every step to have answered at least once, and every request to have been scripted.

        Raises:
            AssertionError: Some did not; the message lists them.
        """
        scripts = [*self._routes.values(), *([self._script] if self._script is not None else [])]
        wrong = [f"{script.name} has not used {step!r}" for script in scripts for step in script.unused]
        wrong += [f"nothing is scripted for {request}" for request in self._unscripted]
        if wrong:
            raise AssertionError("; ".join(wrong))

    # -- core.protocols.Transport ---------------------------------------------------------------------------------

    async def send(self, request: Request) -> Response:
        """Answer one request; see `core.protocols.Transport`."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport[0] is not loop:
            self._transport = loop, MemoryTransport(self._settings, self._choose, self._receive, self._load)
        return await self._transport[1].send(request)

    async def close(self) -> None:
        """Nothing to give back: other clients may be using it."""

    def _choose(self, method: str, url: URL) -> tuple[Step, Mapping[str, str]]:
        self.sends += 1
        fits = [(route, found) for route in self._routes.values() if (found := route.match(method, url)) is not None]
        if fits:
            route, params = min(fits, key=lambda fit: len(fit[1]))
            return route.next(), params
        if self._script is not None:
            return self._script.next(), {}
        request = f"{method} {url.path}"
        self._unscripted.append(request)
        scripted = ", ".join(route.name for route in self._routes.values()) or "nothing; call script() or route()"
        raise AssertionError(f"nothing is scripted for {request}; scripted is: {scripted}")

    def _receive(self, request: MockRequest) -> None:
        self.requests.append(request)
        # A pulse: who waits now wakes up; the next to wait may do so on another event loop.
        self._arrived.set()
        self._arrived = asyncio.Event()

    def __repr__(self) -> str:
        return f"<MockUpstream, {self.hits} hits>"


class _Script:
    """Steps in order; the last one repeats."""

    def __init__(self, name: str, steps: tuple[Step, ...]) -> None:
        if not steps:
            raise ValueError(f"{name} needs at least one step: reply(...), fail(...) or a function")
        self.name = name
        self._steps = tuple(map(checked, steps))
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
            raise ValueError(f"a route is a path such as '/users/{{id}}', without origin and query; not {path!r}")
        self.name = f"{method.upper()} {path}"
        self._method = method.upper()
        self._names = _PLACEHOLDER.findall(path)
        self._segments = [_segment(text) for text in path.split("/")]

    def match(self, method: str, url: URL) -> dict[str, str] | None:
        """The values of the `{names}`, decoded, if a request fits."""
        segments = url.raw_path.split("/")  # raw: an encoded slash belongs to its segment
        if method != self._method or len(segments) != len(self._segments):
            return None
        found = [regex.fullmatch(unquote(text)) for regex, text in zip(self._segments, segments, strict=True)]
        if not all(found):
            return None
        values = [value for part in found if part is not None for value in part.groups()]
        return dict(zip(self._names, values, strict=True))


class _Route(_Script, _Pattern):
    """A script for the requests that fit a pattern."""

    def __init__(self, method: str, path: str, steps: tuple[Step, ...]) -> None:
        _Pattern.__init__(self, method, path)
        _Script.__init__(self, self.name, steps)


_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _segment(text: str) -> re.Pattern[str]:
    literals = _PLACEHOLDER.split(text)[::2]
    return re.compile("(.+)".join(map(re.escape, literals)), re.DOTALL)
