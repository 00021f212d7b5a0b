"""Shared by the tests of authentication: a request without a client, and an upstream that checks credentials."""

import asyncio
from random import Random

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from resilient_client._core.attempt import Attempt
from resilient_client._core.body import Body
from resilient_client._core.call import Call
from resilient_client._core.context import CallContext, ClientContext
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.listeners import Events
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._settings.call_settings import CallSettings
from resilient_client._settings.timeout import Timeout

CANARY = "canary-5f1d"


def request_to(
    url: str = "https://api.example.com/orders", *, body: Body | None = None, events: Events | None = None
) -> Request:
    """The request of a first attempt."""
    endpoint = Endpoint.of(URL(url))
    client = ClientContext("test", events or Events(), Random(0))
    context = CallContext(Call.get("/orders"), client, CallSettings(Timeout().limits()), 0.0)
    context.upstream = endpoint
    return Request("GET", URL(url), CIMultiDict(), body, context, Attempt(1, endpoint, 0.0))


def reply_to(request: Request, status: int = 200, content: bytes = b"") -> Response:
    """A reply without headers."""
    return Response(status, CIMultiDictProxy(CIMultiDict()), content, request.url)


class Upstream:
    """Answers 200 to the credentials it accepts, and 401 to all others."""

    def __init__(self, *accepted: str) -> None:
        self.accepted = accepted
        self.seen: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.seen.append(request)
        await asyncio.sleep(0)
        return reply_to(request, 200 if request.headers.get("Authorization") in self.accepted else 401)


async def settle() -> None:
    """Let all tasks run until each waits for something else than the loop."""
    for _ in range(20):
        await asyncio.sleep(0)


def others() -> set[asyncio.Task[object]]:
    """All tasks but the current one."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
