"""Which calls are alike, against a plain model."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from resilient_client import Backoff, Call, Endpoint, Retry, Timeout
from resilient_client._core.body import Body
from resilient_client._core.context import CallContext, ClientContext
from resilient_client._core.listeners import Events
from resilient_client._core.request import Request
from resilient_client._policies.http.coalescing_key import flight_key
from resilient_client._settings.call_settings import CallSettings

CLIENTS = [ClientContext(name, Events(), Random(0)) for name in "ab"]


class Wish(NamedTuple):
    """What a caller asks, as the policy may see it."""

    client: int = 0
    method: str = "GET"
    query: str = "a=1"
    path: str = "/users"
    headers: tuple[tuple[str, str], ...] = ()
    timeout: Timeout | None = Timeout()
    retry: Retry | None = Retry()
    tags: tuple[tuple[str, str], ...] = ()


def asked(wanted: Wish, **more: Any) -> Request:
    """The request of a call with these options."""
    url = URL(f"https://api.example.com{wanted.path}?{wanted.query}")
    client = CLIENTS[wanted.client]
    given: dict[str, Any] = {"tags": dict(wanted.tags)} if wanted.tags else {}
    call: Call[Any] = Call(wanted.method, wanted.path, **given, **more)
    limits = (Timeout(total=None, attempt=None, connect=None) if wanted.timeout is None else wanted.timeout).limits()
    priority = more.get("priority", "user")
    context = CallContext(call, client, CallSettings(limits, wanted.retry, priority=priority), 0.0)
    context.upstream = Endpoint.of(url)
    return Request(wanted.method, url, CIMultiDict(wanted.headers), None, context)


def meaning(wanted: Wish) -> object:
    """The options in a comparable form: two calls are equal exactly if these are."""
    headers: dict[str, list[str]] = {}
    for name, value in wanted.headers:
        headers.setdefault(name.lower(), []).append(value)
    timeout, retry = wanted.timeout, wanted.retry
    return (
        wanted[:4],
        headers,
        None if timeout is None else (timeout.attempt, timeout.connect, timeout.idle),
        None if retry is None else (retry.max_attempts, retry.backoff, retry.statuses, retry.max_retry_after),
        dict(wanted.tags),
    )


def pairs(names: str) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    one = st.tuples(st.sampled_from(names.split()), st.sampled_from("12"))
    return st.lists(one, max_size=2).map(tuple)


wishes = st.builds(
    Wish,
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from(["GET", "GET", "HEAD"]),
    st.sampled_from(["a=1", "a=1", "a=2", "a=1&b=1", "b=1&a=1"]),
    st.sampled_from(["/users", "/users", "/users/"]),
    pairs("Accept accept X-Tenant"),
    st.sampled_from([Timeout(), Timeout(total=3), Timeout(total=60), Timeout(attempt=3), Timeout(idle=1), None]),
    st.sampled_from([Retry(), Retry(max_attempts=3), Retry(max_attempts=2), Retry(backoff=Backoff(initial=1)), None]),
    pairs("page").map(lambda tags: tags[:1]),
)


@given(wishes, wishes)
def test_keys_are_equal_exactly_for_calls_that_are_alike(one: Wish, other: Wish) -> None:
    """Nothing that matters is missing from the key, and nothing that does not is in it."""
    assert (flight_key(asked(one)) == flight_key(asked(other))) is (meaning(one) == meaning(other))


@given(wishes)
def test_key_of_a_call_is_equal_each_time_it_is_made(wanted: Wish) -> None:
    """Equal keys have equal hashes: a call finds the flight of its twin."""
    assert len({flight_key(asked(wanted)), flight_key(asked(wanted))}) == 1


def test_key_tells_priorities_apart() -> None:
    """A user who joined a batch would wait as long as a batch."""
    one, other = asked(Wish()), asked(Wish(), priority="batch")
    assert flight_key(one) != flight_key(other)


@pytest.mark.parametrize("name", ["response_model", "key", "raise_for_status", "fallback", "coalesce"])
def test_key_is_blind_to_what_the_edge_does(name: str) -> None:
    """What is each caller's own, before and after the chain, makes no difference."""
    value: Any = {"response_model": int, "key": "k", "raise_for_status": False, "fallback": None, "coalesce": True}
    assert flight_key(asked(Wish(), **{name: value[name]})) == flight_key(asked(Wish()))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_key_is_for_get_and_head_only(method: str) -> None:
    """Any other method may do something, and each call shall do it."""
    assert flight_key(asked(Wish(method=method))) is None


def test_key_excludes_bodies_streams_and_repeat_hazards() -> None:
    """A call that can be read or sent only once, or must not be repeated, is not shared."""
    with_body, streaming = asked(Wish()), asked(Wish())
    with_body.body = Body.build(json=None, content=b"query", data=None, files=None)
    streaming.context.streaming = True
    assert [flight_key(request) for request in (with_body, streaming, asked(Wish(), idempotent=False))] == [None] * 3


class Unhashable:
    __hash__ = None  # type: ignore[assignment]  # that is how Python says it

    def __call__(self, _state: object) -> float:
        return 0.0


def test_key_of_what_cannot_be_compared_is_none() -> None:
    """A backoff of the user's that has no hash is no reason to fail: the call shares no flight."""
    assert flight_key(asked(Wish(retry=Retry(backoff=Unhashable())))) is None
