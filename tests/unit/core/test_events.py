"""Events are plain records: built from keywords, equal if type and values are equal, with a complete repr."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from yarl import URL

from resilient_client import Endpoint, ErrorKind
from resilient_client._core.events import Events
from resilient_client.events import CallCoalesced, EndpointPaused, FallbackUsed, TokenRefreshed

ENDPOINT = Endpoint.of(URL("https://api.example.com"))
COMMON: dict[str, Any] = {"client": "users", "at": 1.5}


def test_event_repr_shows_all_fields() -> None:
    """The repr shows the event's own attributes, inherited ones and defaults."""
    event = TokenRefreshed(client="users", at=1.5, ok=True)
    assert repr(event) == "TokenRefreshed(detail='', client='users', at=1.5, ok=True)"
    assert vars(event) == {**COMMON, "ok": True, "detail": ""}


def test_equality_by_type_and_fields() -> None:
    """Events are equal if type and attributes are equal, whether a default is passed or omitted."""
    fields: dict[str, Any] = {**COMMON, "method": "GET", "route": "/", "kind": ErrorKind.TIMEOUT, "ok": True}
    assert FallbackUsed(**fields) == FallbackUsed(**fields, detail="")
    assert FallbackUsed(**fields) != FallbackUsed(**fields, detail="gone")
    assert TokenRefreshed(client="users", at=1.5, ok=True) != FallbackUsed(**fields)


@pytest.mark.parametrize(
    ("arguments", "wrong"), [({"ok": True, "okay": 1}, "okay"), ({}, "ok"), ({"okay": True}, "ok, okay")]
)
def test_wrong_arguments_refused(arguments: dict[str, Any], wrong: str) -> None:
    """A missing or unknown attribute is refused by name, so a listener never gets an incomplete event."""
    with pytest.raises(TypeError, match=rf"^TokenRefreshed takes at, client, detail, ok; missing or unknown: {wrong}$"):
        TokenRefreshed(**COMMON, **arguments)


def test_events_do_not_share_fields() -> None:
    """Each event has its own attributes, and refuses those of another event."""
    fields: dict[str, Any] = {**COMMON, "method": "GET", "route": "/", "waiters": 2}
    assert CallCoalesced(**fields).waiters == 2
    with pytest.raises(TypeError, match="unknown: status"):
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


def test_library_prints_nothing_by_itself() -> None:
    """A program that has not configured logging gets no output of the library: its logger has a ``NullHandler``."""
    program = (
        "from resilient_client.events import TokenRefreshed\n"
        "from resilient_client._core.events import Events\n"
        "events = Events()\n"
        "events.subscribe(lambda event: 1 / 0)\n"
        "events.emit(TokenRefreshed(client='a', at=0.0, ok=True))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    assert (done.stdout, done.stderr) == ("", "")
