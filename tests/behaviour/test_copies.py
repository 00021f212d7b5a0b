"""Calls, fallbacks, replies and outcomes can be copied and pickled. A client cannot be pickled, and says so."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from tests.behaviour.support import soon

from resilient_client import APIClient, Call, Fallback, GatherResult, Retry, Success, Timeout
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import drop, reply

T = TypeVar("T")

pytestmark = pytest.mark.one_loop


def pickled(value: T) -> T:
    return pickle.loads(pickle.dumps(value))  # type: ignore[no-any-return]  # noqa: S301 -- our own bytes


WAYS: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, pickled]

CALLS = [
    Call.get("/users/{id}", path_params={"id": 7}, key=("a", 1), headers={"X": "y"}),
    Call.post("/users", json={"a": 1}, idempotency_key="k", timeout=Timeout(total=3), retry=Retry(max_attempts=2)),
    Call.get("/users", response_model=list[int], fallback=Fallback(Call.get("/cached"), kinds=["dns"])),  # type: ignore[list-item]  # text of a kind will do
]


def as_told(call: Call[Any]) -> tuple[object, ...]:
    """What a call holds, in a form that can be compared."""
    given = {name: repr(value) if isinstance(value, Fallback) else value for name, value in call.given.items()}
    return call.method, call.path, call.key, call.client, call.response_model, given


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_call_comes_back_as_it_was(call: Call[Any], way: Callable[[Any], Any]) -> None:
    """The same description, still frozen."""
    back = way(call)
    assert as_told(back) == as_told(call)
    with pytest.raises(AttributeError, match="frozen"):
        back.path = "/other"


@pytest.mark.parametrize("way", WAYS)
async def test_copied_call_sends_its_body(server: FaultServer, way: Callable[[Any], Any]) -> None:
    """Bytes and the parts of a form survive, before the first send and after it."""
    async with APIClient(server.url) as api:
        for call in (Call.put("/", content=bytearray(b"bytes")), Call.put("/", files={"f": ("name", b"part")})):
            before = way(call)
            await soon(api.send(call))
            await soon(api.send(before))
            await soon(api.send(way(call)))
    assert [b"bytes" in request.body or b"part" in request.body for request in server.requests] == [True] * 6
    assert all(request.complete for request in server.requests)


def one_shot() -> Any:
    yield b"once"


async def test_copy_of_one_shot_call_shares_body(server: FaultServer) -> None:
    """A generator can be sent once, through the call or its copy, and is never sent empty."""
    async with APIClient(server.url) as api:
        call = Call.put("/", content=one_shot())
        await soon(api.send(call))
        assert not (await api.run(copy.copy(call))).ok
    assert [request.body for request in server.requests] == [b"once"]


async def test_call_through_another_process(server: FaultServer) -> None:
    """A worker that has imported nothing yet can send what it takes from a queue."""
    program = (
        "import asyncio, pickle, sys\n"
        "base_url, call = pickle.load(sys.stdin.buffer)\n"
        "from resilient_client import APIClient\n"
        "async def main():\n"
        "    async with APIClient(base_url) as api:\n"
        "        return await api.gather([call])\n"
        "sys.stdout.buffer.write(pickle.dumps(asyncio.run(main())))\n"
    )
    call = Call.put("/file", content=bytearray(b"bytes"), key=7)
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program],
        input=pickle.dumps((server.url, call)),
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    result: GatherResult[Any] = pickle.loads(run.stdout)  # noqa: S301 -- our own bytes
    assert [(outcome.ok, outcome.key) for outcome in result] == [(True, 7)]
    assert server.requests[0].body == b"bytes"


@pytest.mark.parametrize("way", WAYS)
async def test_outcomes_come_back_as_they_were(server: FaultServer, way: Callable[[Any], Any]) -> None:
    """Successes, failures and fallbacks with their errors, replies and histories."""
    server.route("GET", "/dropped", drop())
    server.route("GET", "/wrong", reply(422, json={"detail": "no"}))
    server.route("GET", "/fine", reply(200, json=[1]))
    calls: list[Call[Any]] = [
        Call.get("/fine", key=0),
        Call.get("/fine", key=1, response_model=list[int]),
        Call.get("/wrong", key=2),
        Call.get("/dropped", key=3),
        Call.get("/dropped", key=4, fallback=Fallback([0])),
    ]
    async with APIClient(server.url, retry=None) as api:
        result = await soon(api.gather(calls))
    for before, after in zip(result, way(result), strict=True):
        assert type(after) is type(before)
        assert (after.key, after.ok, after.from_fallback, after.attempts) == (
            before.key,
            before.ok,
            before.from_fallback,
            before.attempts,
        )
        assert after.history == before.history
        assert repr(after) == repr(before)
        assert repr(getattr(after, "value", None)) == repr(getattr(before, "value", None))
    first = way(result[0])
    assert isinstance(first, Success)
    assert (first.value.json(), first.value.headers["content-type"]) == ([1], "application/json")


@pytest.mark.parametrize("view", [False, True], ids=["client", "view"])
def test_client_refuses_to_be_pickled(view: bool) -> None:
    """One sentence by name, with what to do, also from within a call; no error of what happens to lie inside."""
    api = APIClient("http://127.0.0.1:1", name="orders")
    for value in (api.with_options(timeout=3) if view else api, Call.get("/", client=api)):
        with pytest.raises(TypeError, match=r"the client 'orders' cannot be pickled.*; build an APIClient in each"):
            pickle.dumps(value)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_copies_share_the_client(way: Callable[[Any], Any]) -> None:
    """A second object with the same connections would be closed with the first."""
    api = APIClient("http://127.0.0.1:1")
    assert way(api) is api
    assert way(Call.get("/", client=api)).client is api
