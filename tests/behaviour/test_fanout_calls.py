"""The rule of the calls of a fan-out: what is none is refused, each has its options, none another one's deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.behaviour.support import FanOut, Lasting, client, gathered, lasting, soon, streamed, turns

from resilient_client import (
    APIClient,
    Call,
    ErrorKind,
    Failure,
    GatherResult,
    InvalidRequestError,
    Outcome,
    Response,
    as_completed,
    gather,
)
from resilient_client._core.deadline import ambient_deadline
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import run_virtual

both_fan_outs = pytest.mark.parametrize("fan_out", [gathered, streamed])


# --- what is no call ---


@pytest.mark.parametrize("kind", [list, tuple])
async def test_list_is_checked_before_sending(server: FaultServer, kind: Callable[[list[Any]], Any]) -> None:
    """A wrong item is found first, wherever it stands."""
    async with client(server) as api:
        wrong = kind([*(Call.post("/payments") for _ in range(50)), "/users"])
        with pytest.raises(InvalidRequestError, match=r"item 50 .* is str"):
            await api.gather(wrong)
        with pytest.raises(InvalidRequestError, match=r"item 50 .* is str"):
            api.as_completed(wrong)
        await turns()
    assert server.hits == 0


@both_fan_outs
@pytest.mark.parametrize("item", [None, "/users", 7])
def test_wrong_item_is_named(fan_out: FanOut, item: object) -> None:
    """``None`` is no call either, and does not pass for the end."""
    with pytest.raises(InvalidRequestError, match=rf"item 1 of the fan-out is {type(item).__name__}"):
        run_virtual(fan_out(iter([Call.get("/", key=0), item]), client=Lasting()))


@pytest.mark.parametrize(("calls", "told"), [(Call.get("/"), "calls is Call"), (7, "calls is int")])
def test_as_completed_of_non_iterable(calls: Any, told: str) -> None:
    """At once, not in the first step."""
    with pytest.raises(InvalidRequestError, match=told):
        as_completed(calls, client=Lasting())


# --- what has a length ---


def test_sized_input_is_labelled() -> None:
    """Not only lists: what stands in a dict has an end, too."""
    calls = dict(enumerate(lasting(9, 9, 9, 9, 9)))
    result = run_virtual(gather(calls.values(), client=Lasting(), concurrency=2, timeout=1))
    assert [isinstance(outcome, Failure) and outcome.kind for outcome in result] == [ErrorKind.DEADLINE] * 5


# --- options of a call ---


@pytest.mark.virtual_time
async def test_gather_heeds_the_options_of_each_call(server: FaultServer) -> None:
    """Its own timeout, its own retries, its own word on statuses."""
    server.route("GET", "/slow", faults.hang_before_headers())
    server.route("GET", "/flaky", faults.drop(), faults.reply(200))
    server.route("GET", "/missing", faults.reply(404))
    async with APIClient(server.url) as api:
        result: GatherResult[Response] = await soon(
            api.gather(
                [
                    Call.get("/slow", timeout=0.05),
                    Call.get("/flaky", retry=None),
                    Call.get("/missing", raise_for_status=False),
                ]
            )
        )
    assert [getattr(outcome, "kind", None) for outcome in result] == [ErrorKind.DEADLINE, ErrorKind.DISCONNECTED, None]
    assert (result.values[0].status, server.hits) == (404, 3)


# --- the deadline of the fan-out is its own ---


def test_nested_fan_out_leaks_no_deadline() -> None:
    """Calls of an inner fan-out end with it; neither its siblings nor what comes after feel its timeout."""
    seen: dict[str, float] = {}

    class Nesting(Lasting):
        async def run(self, call: Call[Any]) -> Outcome[Any]:
            if call.path == "/nest":
                await gather([Call.get("/inner", key=1)], client=self, timeout=2)
                async with as_completed([Call.get("/inner stream", key=1)], client=self, timeout=3) as outcomes:
                    async for _ in outcomes:
                        seen["consumer"] = ambient_deadline()
            seen[call.path] = ambient_deadline()
            return await super().run(call)

    async def scenario() -> None:
        calls = [Call.get("/nest", key=5), Call.get("/sibling", key=5)]
        assert len((await gather(calls, client=Nesting(), timeout=20)).values) == 2
        seen["after"] = ambient_deadline()

    run_virtual(scenario())
    assert seen == {
        "/inner": 2,
        "/inner stream": 1 + 3,
        "consumer": 20,
        "/nest": 20,
        "/sibling": 20,
        "after": float("inf"),
    }
