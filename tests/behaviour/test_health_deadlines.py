"""The rules of a health check that ends before its targets have answered: who ends it, and what is made of that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.behaviour.support import cancelled, soon, turns

from resilient_client import DeadlineExceededError, ErrorKind, HealthReport, HealthState, Probe, Prober, deadline, probe
from resilient_client.testing._virtual_time import run_virtual

UP, DEGRADED, DOWN, UNKNOWN = HealthState


class Target:
    """A database that answers when it is told to.

    Attributes:
        asked: How often.
        answers: Set, it answers.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Event()

    async def ping(self) -> None:
        self.asked += 1
        await self.answers.wait()


def stubborn(answer: object) -> Callable[[], Awaitable[object]]:
    """A target that takes a cancellation for a reason to answer."""

    async def function() -> object:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return answer

    return function


# -- the deadline of who asks ------------------------------------------------------------------------------------------


def test_prober_ends_at_deadline() -> None:
    """Whoever asks waits no longer than that, and nothing is concluded from its impatience."""

    async def scenario() -> tuple[float, HealthState]:
        async with Prober([Target().ping], timeout=30, fall=1) as prober:
            with deadline(after=2), pytest.raises(DeadlineExceededError, match="before the end of the check"):
                await prober.check()
            return asyncio.get_running_loop().time(), prober.report.state

    assert run_virtual(scenario()) == (pytest.approx(2, abs=0.01), UNKNOWN)


def test_prober_within_long_deadline() -> None:
    """The control: the timeout of the check is what ends it, and what hung by then is down."""

    async def scenario() -> HealthState:
        async with Prober([Target().ping], timeout=1) as prober:
            with deadline(after=2):
                return (await prober.check()).state

    assert run_virtual(scenario()) is DOWN


async def test_first_caller_out_of_time() -> None:
    """A deadline bounds who set it, not the check that others wait for."""
    target = Target()
    async with Prober([target.ping]) as prober:

        async def hasty() -> None:
            with deadline(after=0.05):
                await prober.check()

        first = asyncio.create_task(hasty())
        await turns()
        second = asyncio.create_task(prober.check())
        with pytest.raises(DeadlineExceededError):
            await soon(first)
        target.answers.set()
        assert (await soon(second)).ok
    assert target.asked == 1


async def test_prober_past_deadline_sends_nothing() -> None:
    """Nobody has the time to hear the answer."""
    target = Target()
    async with Prober([target.ping]) as prober:
        with deadline(after=0), pytest.raises(DeadlineExceededError):
            await soon(prober.check())
    assert target.asked == 0


async def test_prober_past_deadline_reuses_report() -> None:
    """It costs no time."""
    target = Target()
    target.answers.set()
    async with Prober([target.ping], max_age=60) as prober:
        report = await soon(prober.check())
        with deadline(after=0):
            assert await soon(prober.check()) is report


# -- targets that do not let go ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, False])
async def test_target_swallowing_cancel_is_ignored(answer: object) -> None:
    """What it says when the last who asked has left is no answer, neither a good nor a bad one."""
    told: list[HealthState] = []
    ping = Target()
    ping.answers.set()
    targets = {"stubborn": stubborn(answer), "ping": ping.ping}
    async with Prober(targets, timeout=60, on_result=lambda result: told.append(result.state)) as prober:
        asking = asyncio.create_task(prober.check())
        await turns()
        await cancelled([asking])
        await turns()
    assert told == [UP]  # of the one that had answered


@pytest.mark.parametrize("own", [0.05, None])
async def test_target_swallowing_timeout_is_down(own: float | None) -> None:
    """What it says after that comes too late, be the limit its own or that of the check."""
    report: HealthReport = await soon(probe([Probe(stubborn(True), timeout=own)], timeout=0.1))
    assert (report[0].state, report[0].kind) == (DOWN, ErrorKind.DEADLINE)
