"""Events are plain records: equal if type and values are equal, with a complete repr, built only for who wants them."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
from yarl import URL

from resilient_client import Endpoint, ErrorKind
from resilient_client._core.listeners import Events
from resilient_client.events import CallCoalesced, CallEvent, EndpointPaused, Event, FallbackUsed, TokenRefreshed

ENDPOINT = Endpoint.of(URL("https://api.example.com"))
COMMON: dict[str, Any] = {"client": "users", "at": 1.5}
CALL: dict[str, Any] = {**COMMON, "method": "GET", "route": "/", "tags": {}}


def test_event_repr_shows_all_fields() -> None:
    """The repr shows the event's own attributes, inherited ones and defaults."""
    event = TokenRefreshed(client="users", at=1.5, ok=True)
    assert repr(event) == "TokenRefreshed(client='users', at=1.5, ok=True, detail='')"
    assert vars(event) == {**COMMON, "ok": True, "detail": ""}


def test_equality_by_type_and_fields() -> None:
    """Events are equal if type and attributes are equal, whether a default is passed or omitted."""
    fields: dict[str, Any] = {**CALL, "kind": ErrorKind.TIMEOUT, "ok": True}
    assert FallbackUsed(**fields) == FallbackUsed(**fields, detail="")
    assert FallbackUsed(**fields) != FallbackUsed(**fields, detail="gone")
    assert TokenRefreshed(client="users", at=1.5, ok=True) != FallbackUsed(**fields)


@pytest.mark.parametrize(
    ("arguments", "wrong"), [({"ok": True, "okay": 1}, "okay"), ({}, "ok"), ({"okay": True}, "okay")]
)
def test_wrong_arguments_refused(arguments: dict[str, Any], wrong: str) -> None:
    """A missing or unknown attribute is refused by name, so a listener never gets an incomplete event."""
    with pytest.raises(TypeError, match=rf"argument:? '{wrong}'"):
        TokenRefreshed(**COMMON, **arguments)


def test_events_do_not_share_fields() -> None:
    """Each event has its own attributes, and refuses those of another event."""
    fields: dict[str, Any] = {**CALL, "waiters": 2}
    assert CallCoalesced(**fields).waiters == 2
    with pytest.raises(TypeError, match="unexpected keyword argument 'status'"):
        CallCoalesced(**fields, status=1)


def test_listener_failure_is_logged_once_per_kind(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that fails on each of 1,000 events writes one record per type of error and of event."""
    events = Events()
    errors = [LookupError("first"), ValueError("second")]

    def broken(event: object) -> None:
        raise errors[calls.pop()]

    unsubscribe = events.subscribe(broken)
    event, other = TokenRefreshed(**COMMON, ok=True), EndpointPaused(**COMMON, endpoint=ENDPOINT, seconds=1.0)
    calls = [0] * 1_000
    while calls:
        events.emit(event)
    assert [record.name for record in caplog.records] == ["resilient_client.events"]
    assert "a listener failed on TokenRefreshed with LookupError" in caplog.text
    calls += [0, 1, 0, 1]
    for each in (event, other, event, other):  # ValueError on the first and third, LookupError on the others
        events.emit(each)
    assert len(caplog.records) == 3
    unsubscribe()
    calls += [0]
    events.subscribe(broken)
    events.emit(event)
    assert len(caplog.records) == 4  # a new subscription: it is logged again


def test_each_failing_listener_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One listener that fails does not hide another, and kinds of failure without an end do not fill the memory."""
    events = Events()
    for _ in range(2):
        events.subscribe(lambda event: 1 / 0)
    events.emit(TokenRefreshed(**COMMON, ok=True))
    assert len(caplog.records) == 2

    def inventive(event: object) -> None:
        raise type("New", (Exception,), {})

    events.subscribe(inventive)
    for _ in range(200):
        events.emit(TokenRefreshed(**COMMON, ok=True))
    assert len(caplog.records) == len(events._logged) == 100


def test_listener_that_returns_a_coroutine_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not every async function can be seen from outside. Its coroutine is closed: warnings are errors."""

    async def listen(event: object) -> None: ...

    events = Events()
    events.subscribe(lambda event: listen(event))  # noqa: PLW0108 - hides that it is async
    for _ in range(2):
        events.emit(TokenRefreshed(**COMMON, ok=True))
    assert len(caplog.records) == 1
    assert "the listener is async, and is not awaited" in caplog.text


def test_unwanted_events_are_not_built() -> None:
    """Only wanted types are passed, and a base class stands for all of its events, also for those to come."""
    events = Events()
    one: list[Event] = []
    all_of_calls: list[Event] = []
    everything: list[Event] = []
    assert not events.listeners_of[CallCoalesced]
    end_one = events.subscribe(one.append, CallCoalesced, EndpointPaused)
    end_calls = events.subscribe(all_of_calls.append, CallEvent)
    assert not events.listeners_of[TokenRefreshed]

    class Later(CallEvent): ...

    coalesced, later, refreshed = CallCoalesced(**CALL, waiters=2), Later(**CALL), TokenRefreshed(**COMMON, ok=True)
    emitted: list[Event] = [coalesced, later, refreshed]
    for event in emitted:
        events.emit(event)
    assert (one, all_of_calls) == ([coalesced], [coalesced, later])
    end_all = events.subscribe(everything.append)
    end_calls()
    for event in emitted:
        events.emit(event)
    assert (len(one), len(all_of_calls), everything) == (2, 2, emitted)
    for end in (end_one, end_all, end_calls):
        end()
    assert not any(events.listeners_of[type(event)] for event in emitted)


def test_each_subscription_ends_alone() -> None:
    """A listener that was subscribed twice gets what the other subscription wants, in the order of subscriptions."""
    events = Events()
    seen: list[str] = []

    def listener(event: Event) -> None:
        seen.append(type(event).__name__)

    end_first = events.subscribe(listener, TokenRefreshed)
    events.subscribe(lambda event: seen.append("between"))
    events.subscribe(listener, Event)
    events.emit(TokenRefreshed(**COMMON, ok=True))
    end_first()
    end_first()
    events.emit(TokenRefreshed(**COMMON, ok=True))
    assert seen == ["TokenRefreshed", "between", "TokenRefreshed", "between", "TokenRefreshed"]


def test_subscription_during_an_event_begins_with_the_next() -> None:
    """A listener may subscribe and unsubscribe others. The event under way goes to those that it began with."""
    events = Events()
    seen: list[str] = []

    def first(event: Event) -> None:
        end_second()
        events.subscribe(lambda _: seen.append("third"))

    events.subscribe(first)
    end_second = events.subscribe(lambda _: seen.append("second"))
    events.emit(TokenRefreshed(**COMMON, ok=True))
    assert seen == ["second"]
    events.emit(TokenRefreshed(**COMMON, ok=True))
    assert seen == ["second", "third"]


def test_events_can_be_copied_and_pickled() -> None:
    """An event may travel to a queue or another process."""
    event = CallCoalesced(**CALL, waiters=2)
    assert pickle.loads(pickle.dumps(event)) == copy.copy(event) == event  # noqa: S301 - our own pickle


def test_library_prints_nothing_by_itself() -> None:
    """A program that has not configured logging gets no output of the library: its logger has a ``NullHandler``."""
    program = (
        "from resilient_client.events import TokenRefreshed\n"
        "from resilient_client._core.listeners import Events\n"
        "events = Events()\n"
        "events.subscribe(lambda event: 1 / 0)\n"
        "events.emit(TokenRefreshed(client='a', at=0.0, ok=True))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    assert (done.stdout, done.stderr) == ("", "")
