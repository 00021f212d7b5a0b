"""What type checkers must infer; checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_type

from pydantic import BaseModel

from resilient_client import (
    APIClient,
    APIError,
    Call,
    ErrorKind,
    Failure,
    Fallback,
    GatherResult,
    HealthReport,
    Outcome,
    Probe,
    Prober,
    ProbeResult,
    Response,
    Success,
    as_completed,
    gather,
    probe,
)
from resilient_client.events import CallFinished, Event, RetryRefused, RetryScheduled


class User(BaseModel):
    id: int


def listeners(api: APIClient) -> None:
    ends: list[CallFinished] = []
    every: list[Event] = []

    def of_calls(event: CallFinished | RetryScheduled) -> None:
        assert_type(event, CallFinished | RetryScheduled)

    api.subscribe(ends.append, CallFinished)
    api.subscribe(every.append)
    api.subscribe(every.append, CallFinished, RetryScheduled)
    api.subscribe(of_calls, CallFinished, RetryScheduled)
    api.subscribe(of_calls, CallFinished, RetryScheduled, RetryRefused)
    api.subscribe(lambda event: event.status, CallFinished)
    api.subscribe(ends.append)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # it would get every event
    api.subscribe(ends.append, RetryScheduled)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # never a CallFinished


async def verbs(api: APIClient) -> None:
    assert_type(await api.get("/"), Response)
    assert_type(await api.get("/", response_model=User), User)
    assert_type(await api.get("/", response_model=list[User], timeout=3), list[User])
    assert_type(await api.post("/", json={}, response_model=User | None), User | None)
    assert_type(await api.request("PURGE", "/", response_model=dict[str, int]), dict[str, int])


async def fallbacks(api: APIClient) -> None:
    async def ask(error: APIError) -> User:
        return User(id=error.attempts)

    for fallback in (Fallback([]), Fallback(ask), Fallback(lambda error: error.kind), Fallback(Call.get("/backup"))):
        assert_type(await api.get("/", response_model=list[User], fallback=fallback, coalesce=True), list[User])
    assert_type(await api.get("/", fallback=None), Response)
    outcome = await api.run(Call.get("/", response_model=User, fallback=Fallback(ask, kinds={ErrorKind.TIMEOUT})))
    assert_type(outcome, Outcome[User])
    assert_type(outcome.from_fallback, bool)
    if isinstance(outcome, Success):
        assert_type(outcome.replaced, APIError | None)


async def calls(api: APIClient) -> None:
    call = Call.get("/", response_model=User)
    assert_type(call, Call[User])
    assert_type(await api.send(call), User)
    assert_type(await api.run(call), Outcome[User])
    result = await api.gather([call])
    assert_type(result, GatherResult[User])
    assert_type(result.values, list[User])
    for outcome in result:
        match outcome:
            case Success(value=user):
                assert_type(user, User)
            case Failure(error=error):
                print(error.kind)


async def pages() -> AsyncIterator[Call[User]]:
    yield Call.get("/", response_model=User)


async def fan_outs(api: APIClient) -> None:
    call = Call.get("/", key=1, client=api, response_model=User)
    assert_type(call, Call[User])
    assert_type(await gather([call], successes=1, on_outcome=print), GatherResult[User])
    assert_type(await api.gather(pages(), progress="users"), GatherResult[User])
    assert_type(await api.gather(Call.post("/", json={}) for _ in range(3)), GatherResult[Response])
    async with api.as_completed(pages(), ordered=True) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Success[User] | Failure)
    async for outcome in as_completed([call]):
        match outcome:
            case Success(value=user):
                assert_type(user, User)
            case Failure(dropped=dropped):
                assert_type(dropped, bool)


def kept(api: APIClient) -> AsyncIterator[Outcome[User]]:
    return api.as_completed(pages())


async def wrong_callback(api: APIClient) -> None:
    def of_a_number(outcome: int) -> None: ...

    await api.gather(pages(), on_outcome=of_a_number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point


def unknown_keyword() -> None:
    APIClient("https://api.example.com", timout=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point


async def ping() -> int:
    return 1


async def health(api: APIClient) -> None:
    report = await probe({"a": "https://a.example", "b": ping, "c": Probe("/", client=api, expect_status={200, 204})})
    assert_type(report, HealthReport)
    assert_type(report["a"], ProbeResult)
    assert_type(report[0], ProbeResult)
    assert_type(report[:1], tuple[ProbeResult, ...])
    await probe(["https://a.example", ping, lambda: api.get("/"), Probe(ping)])
    async with Prober({"b": ping}, on_result=print) as prober:
        assert_type(await prober.check(), HealthReport)
