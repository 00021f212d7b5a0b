"""Events are plain records: built from keywords, equal if type and values are equal, with a complete repr."""

from __future__ import annotations

from typing import Any

import pytest

from resilient_client import ErrorKind
from resilient_client.events import CallCoalesced, FallbackUsed, TokenRefreshed

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
