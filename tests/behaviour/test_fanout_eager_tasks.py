"""The rule of many calls under a task factory of the caller's: eager tasks run within whoever starts them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.behaviour.support import FanOut, gathered, soon, streamed

from resilient_client import APIClient, Call, Outcome, Success
from resilient_client.testing import MockUpstream, reply

ALL = 2_000


def own_factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """As callers have them, to name their tasks or to count them."""
    return asyncio.Task(work, loop=loop, **options)


FACTORIES: list[Any] = [own_factory]
if sys.version_info >= (3, 12):
    FACTORIES.append(asyncio.eager_task_factory)
pytestmark = pytest.mark.parametrize("factory", FACTORIES)


def run_with(factory: Any, scenario: Coroutine[Any, Any, None]) -> None:
    """Run it on a loop of asyncio's: uvloop knows no eager tasks."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(factory)
        runner.run(scenario)


class AtOnce:
    """Answers without waiting; remembers the order."""

    def __init__(self) -> None:
        self.begun: list[object] = []

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        self.begun.append(call.key)
        return Success(call.key, key=call.key)


@pytest.mark.parametrize("fan_out", [gathered, streamed])
def test_immediate_calls_need_no_deep_stack(fan_out: FanOut, factory: Any) -> None:
    """As many at once as there are calls: none runs inside another, and they begin in order."""
    runner = AtOnce()
    calls = [Call.get("/", key=number) for number in range(ALL)]

    async def scenario() -> None:
        assert len(await soon(fan_out(calls, client=runner, concurrency=ALL))) == ALL

    run_with(factory, scenario())
    assert runner.begun == list(range(ALL))


@pytest.mark.parametrize("fan_out", [gathered, streamed])
def test_calls_of_a_client_need_no_deep_stack(fan_out: FanOut, factory: Any) -> None:
    """The whole chain, with an upstream that answers at once."""
    upstream = MockUpstream()
    upstream.script(reply(json=1))

    async def scenario() -> None:
        async with APIClient("https://api.example.com", transport=upstream) as api:
            assert len(await soon(fan_out([Call.get("/")] * ALL, client=api, concurrency=ALL))) == ALL

    run_with(factory, scenario())
    assert upstream.hits == ALL
