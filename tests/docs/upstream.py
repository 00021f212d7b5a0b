"""The upstream of the documentation: `https://api.example.com` and its sibling hosts, in memory.

It replaces only the wire; everything above it is the real chain. Each path has one behaviour, which the pages describe.
An example therefore reads as if it were written against a real server.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from resilient_client._core.errors import APIConnectionError
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.timings import Timings
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._transport import AiohttpTransport

LATENCY = 0.02  # seconds a reply takes
_CONNECTED = Timings(pool=0.0, dns=0.001, connect=0.003, tls=0.006)
_KEPT = Timings(pool=0.0, first_byte=LATENCY - 0.001, body=0.001)
_REPLIED = _CONNECTED._replace(first_byte=LATENCY - 0.011, body=0.001)
SCRIPTS = {
    "/payments": (503, 201),
    "/flaky": (503, 503, 200),
    "/recovering": (*[503] * 10, 200),
    "/down": (503,),
    "/busy": (503,),
    "/throttled": (429, 200),
    "/prices/broken": (500,),
    "/users/404": (404,),
    "/moved": (302,),
}
"""The statuses of a path, one per request. The last one repeats. Paths not listed answer 200."""
FAILING_HOST = "east.example.com"
"""The host that answers everything with 503."""
HEADERS = {
    "/busy": {"Retry-After": "120"},
    "/throttled": {"Retry-After": "5"},
    "/moved": {"Location": "https://elsewhere.example.com/"},
    "/users/404": {"Content-Type": "application/problem+json"},
}
EXPORT = [b'{"id": 1}\n{"id"', b': 2}\n{"id": 3}\n']


class Wire:
    """A transport that sends to ``upstream``, and to real sockets for local addresses (a ``FaultServer``)."""

    def __init__(
        self, upstream: Upstream, settings: ConnectionSettings, session: aiohttp.ClientSession | None = None
    ) -> None:
        self._upstream = upstream
        self._sockets = AiohttpTransport(settings, session)

    async def send(self, request: Request) -> Response:
        """Send to real sockets for the loopback address, else to the upstream in memory."""
        return await (self._sockets if request.url.host == "127.0.0.1" else self._upstream).send(request)

    async def close(self) -> None:
        """Close the sockets."""
        await self._sockets.close()


class _Trace:
    """What the trace of a real request would report."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings

    def timings(self) -> Timings:
        """Where the time went."""
        return self._timings

    def stage(self) -> Stage:
        """Every request waits for its reply."""
        return Stage.HEADERS

    def certificate(self) -> None:
        """There is no TLS."""


class Upstream:
    """The servers of the documentation, for all clients of a page."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        """The number of requests per path that would have been on the wire."""

    async def send(self, request: Request) -> Response:
        """Answer one request and set its attempt (stage, trace, ``sent``) as the real transport does."""
        attempt = request.attempt
        self.hits[request.url.path] += 1
        kept = attempt.number > 1
        attempt.sent, attempt.reused, attempt.stage = True, kept, Stage.HEADERS
        attempt.trace = _Trace(Timings() if kept else _CONNECTED)
        response = await self._answer(request)
        attempt.stage, attempt.trace = None, _Trace(_KEPT if kept else _REPLIED)
        if request.context.streaming and request.url.path == "/export":
            response.open_body = _Open()
            request.context.open_response = response
        return response

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        await asyncio.sleep(3600 if path.endswith("/slow") else LATENCY)
        script = SCRIPTS.get(path, (200,))
        status = 503 if request.url.host == FAILING_HOST else script[min(self.hits[path], len(script)) - 1]
        if path == "/lost":
            raise _failed(request, ErrorKind.DISCONNECTED, "the server closed the connection before the reply")
        if path == "/me" and not request.headers.get("Authorization", "").startswith("Bearer fresh"):
            status = 401
        return _reply(request, status, _content(request, path.strip("/").split("/")))


def _content(request: Request, path: list[str]) -> object:
    match path:
        case ["users"]:
            return [{"id": 7, "name": "Ada"}, {"id": 8, "name": "Grace"}]
        case ["users", "404"]:
            return {"title": "No such user"}
        case ["users", number]:
            return {"id": int(number), "name": "Ada"}
        case ["health"]:
            return {"status": "up"}
        case ["me"]:
            return {"name": "Ada"}
        case ["prices", sku]:
            return {"sku": sku, "amount": 9.5}
        case ["payments"]:
            return {"id": "pay_1", "key": request.headers.get("Idempotency-Key")}
        case ["oauth", "token"]:
            return {"access_token": "fresh", "token_type": "Bearer", "expires_in": 3600}
    return {"headers": dict(request.headers)}


class _Open:
    """The body of a streamed reply, in pieces."""

    def __init__(self) -> None:
        self._pieces = list(EXPORT)

    async def read(self) -> bytes:
        """Return the next piece, or ``b""`` at the end."""
        await asyncio.sleep(LATENCY)
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        """Do nothing: there is no connection to release."""


def _reply(request: Request, status: int, content: object) -> Response:
    headers = CIMultiDict({"Content-Type": "application/json", "X-Request-Id": "req_42"})
    headers.update(HEADERS.get(request.url.path, {}))
    return Response(status, CIMultiDictProxy(headers), json.dumps(content).encode(), request.url)


def _failed(request: Request, kind: ErrorKind, what: str) -> APIConnectionError:
    return APIConnectionError(what, kind=kind, stage=request.attempt.stage, retryable=True, label=request.label)
