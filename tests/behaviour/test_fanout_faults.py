"""The rule under a storm: a thousand calls, a tenth of them spoilt in eight ways, each told for what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.behaviour.support import client, in_use, soon

from resilient_client import Call, ConnectionSettings, ErrorKind, Failure, Outcome
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer

CALLS = 1000
CONCURRENCY = 25
SPOILT = {
    ErrorKind.CLIENT_ERROR: faults.reply(404),
    ErrorKind.THROTTLED: faults.reply(429),
    ErrorKind.SERVER_ERROR: faults.reply(503),
    ErrorKind.DISCONNECTED: faults.drop(),
    ErrorKind.PROTOCOL: faults.garbage(),
    ErrorKind.REDIRECT: faults.redirect("https://elsewhere.example.com/"),
    ErrorKind.INVALID_RESPONSE: faults.reply(json={"number": "none"}),
    ErrorKind.TOO_LARGE: faults.reply(body=bytes(4096)),
}
KINDS = list(SPOILT)


def expected(number: int) -> ErrorKind | None:
    """What comes of a call: every tenth fails, in each of the ways in turn."""
    return KINDS[number // 10 % len(KINDS)] if number % 10 == 0 else None


def calls() -> Iterator[Call[dict[str, int]]]:
    return (Call.get(f"/{number}", key=number, response_model=dict[str, int]) for number in range(CALLS))


def kind_of(outcome: Outcome[Any]) -> ErrorKind | None:
    return outcome.kind if isinstance(outcome, Failure) else None


@pytest.mark.parametrize("streamed", [False, True])
async def test_thousand_faults_are_classified(server: FaultServer, streamed: bool) -> None:
    """A thousand outcomes, every kind right, every sibling untouched, and never more at once than allowed."""
    server.script(faults.reply(json={"number": 1}))
    for number in range(0, CALLS, 10):
        kind = expected(number)
        assert kind is not None
        server.route("GET", f"/{number}", SPOILT[kind])
    async with client(server, connection=ConnectionSettings(max_response_size=2048)) as api:
        if streamed:
            stream = api.as_completed(calls(), concurrency=CONCURRENCY)
            outcomes = [outcome async for outcome in stream]
        else:
            outcomes = list(await soon(api.gather(calls(), concurrency=CONCURRENCY)))
        assert in_use(api) == 0
    found = {outcome.key: kind_of(outcome) for outcome in outcomes}
    assert (len(outcomes), found) == (CALLS, {number: expected(number) for number in range(CALLS)})
    assert set(Counter(found.values())) == {*KINDS, None}
    assert server.hits == CALLS
    assert server.peak <= CONCURRENCY
