"""What a hedged call costs that needs no hedge: counted, not timed."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from tests.cancellation.support import a_request

from resilient_client import Hedging, Request, Response, Retry
from resilient_client._middleware.attempt import AttemptMiddleware
from resilient_client._middleware.compose import compose
from resilient_client._middleware.hedging import HedgingMiddleware
from resilient_client.testing._virtual_time import run_virtual

CALLERS, CALLS = 8, 50


async def answers(request: Request) -> Response:
    """A turn of the loop later."""
    await asyncio.sleep(0)
    return Response(200, CIMultiDictProxy(CIMultiDict()), b"", request.url)


@pytest.mark.parametrize("delay", [10.0, "p95"])
def test_timely_calls_share_one_timer(delay: float | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight callers, 400 calls: the callers' tasks are all there are, and no timer is set anew for a call."""
    counted: Counter[str] = Counter()

    def counting(method: str) -> None:
        original = getattr(asyncio.SelectorEventLoop, method)

        def count(self: object, *args: object, **options: object) -> object:
            counted[method] += 1
            return original(self, *args, **options)

        monkeypatch.setattr(asyncio.SelectorEventLoop, method, count)

    async def scenario() -> Counter[str]:
        chain = compose((HedgingMiddleware(None), AttemptMiddleware()), answers)
        first = a_request(Retry())

        async def caller() -> None:
            for _ in range(CALLS):
                request = a_request(Retry(), Hedging(delay=delay))
                request.context.client = first.context.client
                await chain(request)

        counting("create_task")
        counting("call_at")
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return counted.copy()

    counts = run_virtual(scenario())
    assert counts["create_task"] == CALLERS
    assert counts["call_at"] <= 4
