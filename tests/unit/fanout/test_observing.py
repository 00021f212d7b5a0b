"""Who looks on at a fan-out: told in order of completion, and never able to harm a call."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import pytest

from resilient_client import Call, ErrorKind, Failure, InvalidRequestError, Outcome, Response, Success, gather
from resilient_client.testing._virtual_time import run_virtual


class Lasting:
    """A runner that takes ``key`` seconds for a call."""

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        assert isinstance(call.key, (int, float))
        await asyncio.sleep(call.key)
        return Success(call.key, key=call.key)


def lasting(*seconds: float) -> list[Call[Response]]:
    return [Call.get("/", key=second) for second in seconds]


def test_callback_is_told_of_outcomes_in_order_of_completion() -> None:
    """Each once, when it comes, while the others are still in flight."""
    told: list[tuple[object, float]] = []

    async def scenario() -> None:
        now = asyncio.get_running_loop().time
        await gather(lasting(3, 1, 2), client=Lasting(), on_outcome=lambda outcome: told.append((outcome.key, now())))

    run_virtual(scenario())
    assert told == [(1, 1), (2, 2), (3, 3)]


def test_callback_is_told_of_dropped_calls_and_of_those_never_made() -> None:
    """It sees as many outcomes as the result has."""
    told: list[Outcome[Any]] = []
    result = run_virtual(gather(lasting(1, 9, 9), client=Lasting(), concurrency=2, successes=1, on_outcome=told.append))
    assert len(told) == len(result) == 3
    assert {outcome.kind for outcome in told if isinstance(outcome, Failure)} == {ErrorKind.CANCELLED}


def test_callback_that_raises_is_logged_once_and_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """Observation fails open: the callback is still told of all, and one record tells of its bug."""
    told = 0

    def broken(_outcome: Outcome[Any]) -> None:
        nonlocal told
        told += 1
        raise ValueError("a bug of the user's")

    with caplog.at_level(logging.ERROR, logger="resilient_client.fanout"):
        result = run_virtual(gather(lasting(1, 2, 3), client=Lasting(), on_outcome=broken))
    assert (len(result.values), told, len(caplog.records)) == (3, 3, 1)
    assert caplog.records[0].exc_info is not None


class Async:
    async def __call__(self, outcome: Outcome[Any]) -> None: ...


@pytest.mark.parametrize(
    ("callback", "told"),
    [
        (Async().__call__, "is async"),
        (partial(Async().__call__), "is async"),
        (Async(), "is async"),
        ("print", "is of type str; give a function"),
    ],
)
def test_callback_that_nobody_could_call_is_refused(callback: Any, told: str) -> None:
    """A coroutine function would never be awaited, which is worse than an error."""
    with pytest.raises(InvalidRequestError, match=f"on_outcome {told}"):
        run_virtual(gather(lasting(1), client=Lasting(), on_outcome=callback))
