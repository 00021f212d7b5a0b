"""Events are plain records: made from keywords, compared by what they say, shown whole."""

from __future__ import annotations

from typing import Any

import pytest

from resilient_client import ErrorKind
from resilient_client.events import CallCoalesced, FallbackUsed, TokenRefreshed

TOLD: dict[str, Any] = {"client": "users", "at": 1.5}


def test_event_repr_shows_all_fields() -> None:
    """Its own attributes, those of its bases, and what has a default."""
    event = TokenRefreshed(client="users", at=1.5, ok=True)
    assert repr(event) == "TokenRefreshed(detail='', client='users', at=1.5, ok=True)"
    assert vars(event) == {**TOLD, "ok": True, "detail": ""}


def test_equality_by_type_and_fields() -> None:
    """A default that is given says nothing new."""
    said: dict[str, Any] = {**TOLD, "method": "GET", "route": "/", "kind": ErrorKind.TIMEOUT, "ok": True}
    assert FallbackUsed(**said) == FallbackUsed(**said, detail="")
    assert FallbackUsed(**said) != FallbackUsed(**said, detail="gone")
    assert TokenRefreshed(client="users", at=1.5, ok=True) != FallbackUsed(**said)


@pytest.mark.parametrize(
    ("given", "wrong"), [({"ok": True, "okay": 1}, "okay"), ({}, "ok"), ({"okay": True}, "ok, okay")]
)
def test_wrong_arguments_refused(given: dict[str, Any], wrong: str) -> None:
    """By name, so that a listener never meets half of one."""
    with pytest.raises(TypeError, match=rf"^TokenRefreshed takes at, client, detail, ok; missing or unknown: {wrong}$"):
        TokenRefreshed(**TOLD, **given)


def test_events_do_not_share_fields() -> None:
    """Each kind has its own attributes; those of a sibling are unknown to it."""
    said: dict[str, Any] = {**TOLD, "method": "GET", "route": "/", "waiters": 2}
    assert CallCoalesced(**said).waiters == 2
    with pytest.raises(TypeError, match="unknown: status"):
        CallCoalesced(**said, status=1)
