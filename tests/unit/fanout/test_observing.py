"""``on_outcome``: called in the order of completion, and unable to affect a call."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import pytest

from resilient_client import Call, ErrorKind, Failure, InvalidRequestError, Outcome, Response, Success, gather
from resilient_client.testing._virtual_time import run_virtual


class Lasting:
    """A runner whose calls take ``key`` seconds."""

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        assert isinstance(call.key, (int, float))
        await asyncio.sleep(call.key)
        return Success(call.key, key=call.key)


def lasting(*seconds: float) -> list[Call[Response]]:
    return [Call.get("/", key=second) for second in seconds]


def test_callback_gets_outcomes_in_order_of_completion() -> None:
    """Each outcome is passed once, when it arrives, while other calls are in flight."""
    seen: list[tuple[object, float]] = []

    async def scenario() -> None:
        now = asyncio.get_running_loop().time
        await gather(lasting(3, 1, 2), client=Lasting(), on_outcome=lambda outcome: seen.append((outcome.key, now())))

    run_virtual(scenario())
    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_callback_gets_outcomes_of_dropped_calls() -> None:
    """It gets as many outcomes as the result has, with those of calls that were not started."""
    seen: list[Outcome[Any]] = []
    result = run_virtual(gather(lasting(1, 9, 9), client=Lasting(), concurrency=2, successes=1, on_outcome=seen.append))
    assert len(seen) == len(result) == 3
    assert {outcome.kind for outcome in seen if isinstance(outcome, Failure)} == {ErrorKind.CANCELLED}


def test_callback_raising_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The callback still gets all outcomes, and no call is affected."""
    count = 0

    def broken(_outcome: Outcome[Any]) -> None:
        nonlocal count
        count += 1
        raise ValueError("a bug of the caller")

    with caplog.at_level(logging.ERROR, logger="resilient_client.fanout"):
        result = run_virtual(gather(lasting(1, 2, 3), client=Lasting(), on_outcome=broken))
    assert (len(result.values), count, len(caplog.records)) == (3, 3, 1)
    assert caplog.records[0].exc_info is not None


class Async:
    async def __call__(self, outcome: Outcome[Any]) -> None: ...


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (Async().__call__, "is async"),
        (partial(Async().__call__), "is async"),
        (Async(), "is async"),
        ("print", "is of type str; give a function"),
    ],
)
def test_callback_async_or_not_callable_is_refused(callback: Any, words: str) -> None:
    """A coroutine function would never be awaited, so it would do nothing."""
    with pytest.raises(InvalidRequestError, match=f"on_outcome {words}"):
        run_virtual(gather(lasting(1), client=Lasting(), on_outcome=callback))
