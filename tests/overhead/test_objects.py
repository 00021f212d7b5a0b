"""Objects, futures and timers that a successful call creates. A clock would only notice ten more."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from types import FrameType
from typing import Any

import pytest
from tests.overhead.upstream import upstream

from resilient_client import APIClient, Bulkhead, RateLimit

CALLS = 20


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with upstream() as url:
        yield url


async def made_by(call: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Return the library's objects that one call creates, by class, which must be the same for each call."""
    for _ in range(CALLS):
        await call()  # connections, caches
    made: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == "__init__" and "resilient_client" in code.co_filename:
            made[code.co_qualname.removesuffix(".__init__")] += 1

    sys.setprofile(note)
    try:
        for _ in range(CALLS):
            await call()
    finally:
        sys.setprofile(None)
    assert all(count % CALLS == 0 for count in made.values())
    return Counter({name: count // CALLS for name, count in made.items()})


DEFAULT = Counter(["CallContext", "Request", "Attempt", "TaskTimeout", "Ticket", "WireTrace", "Response"])


async def test_default_chain_creates_seven_objects(url: str) -> None:
    """One for the call, one for its request, and one for each thing that is settled, timed or given back."""
    async with APIClient(url) as api:
        assert await made_by(lambda: api.get("/items")) == DEFAULT


async def test_call_with_options_creates_one_more(url: str) -> None:
    """The description of the call, which is shared by calls without options."""
    async with APIClient(url) as api:
        assert await made_by(lambda: api.get("/items", headers={"X": "1"})) == DEFAULT + Counter(["Call"])


async def test_idle_limits_create_no_object(url: str) -> None:
    """A permit and a token are numbers."""
    limits: dict[str, Any] = {"bulkhead": Bulkhead(max_concurrent=10), "rate_limit": RateLimit(rate=1e6, burst=1000)}
    async with APIClient(url, **limits) as api:
        assert await made_by(lambda: api.get("/items")) == DEFAULT


def watch(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is asked of the loop from now on, by name."""
    asked: Counter[str] = Counter()

    def watched(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def note(*args: Any, **options: Any) -> Any:
            asked[name] += 1
            return method(*args, **options)

        return note

    for name in ("create_task", "create_future", "call_at", "call_later"):
        monkeypatch.setattr(loop, name, watched(name, getattr(loop, name)))
    return asked


@pytest.mark.parametrize("at_once", [1, 32])
async def test_call_takes_one_future_and_no_task(at_once: int, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The future is that of the reply, and concurrent calls share one timer."""
    start = asyncio.Event()

    async def worker() -> None:
        await api.get("/items")
        ready.release()
        await start.wait()
        await api.get("/items")

    async with APIClient(url) as api:
        ready = asyncio.Semaphore(0)
        workers = [asyncio.create_task(worker()) for _ in range(at_once)]
        for _ in workers:
            await ready.acquire()
        asked = watch(asyncio.get_running_loop(), monkeypatch)
        start.set()
        for task in workers:
            await task
        monkeypatch.undo()
    assert asked.pop("call_later", 1) == 1  # each of the two is made of the other, in one loop or another
    assert asked == Counter({"create_future": at_once, "call_at": 1})
