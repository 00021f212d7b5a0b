"""Wrong arguments: every public parameter meets every kind of wrong value, and answers with one sentence.

Nothing is sent. A parameter may accept a value (``True`` for a flag), but what it refuses, it refuses as
``ConfigurationError`` or ``InvalidRequestError``, never with a foreign exception from somewhere inside.
"""

from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta
from typing import Any

import pytest

from resilient_client import (
    APIClient,
    Call,
    ConfigurationError,
    InvalidRequestError,
    deadline,
)
from resilient_client._core.call import OPTION_NAMES
from resilient_client._settings.config import ClientConfig
from resilient_client.testing import MockUpstream, reply

URL = "https://api.example.com"
WRONG: dict[str, Any] = {
    "object": object(),
    "true": True,
    "negative": -1,
    "nan": float("nan"),
    "huge": 10**400,
    "text": "nonsense",
    "empty text": "",
    "line break": "a\r\nb",
    "bytes": b"bytes",
    "list": [1, object()],
    "empty list": [],
    "mapping": {1: object()},
    "set": {"a"},
    "function": print,
    "class": int,
    "exception": ValueError("x"),
    "unhashable tuple": ([],),
}
REFUSED = (ConfigurationError, InvalidRequestError)

each_value = pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)


def one_sentence(error: Exception) -> None:
    """The text fits into one line, and says something."""
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 600


def client_parameters() -> list[str]:
    """The keyword parameters of a client; a config has a test of its own."""
    names = inspect.signature(APIClient.__init__).parameters
    return [name for name in names if name not in {"self", "unknown"}]


@each_value
@pytest.mark.parametrize("name", client_parameters())
def test_client_parameter_refuses_wrong_values(name: str, value: Any) -> None:
    """At construction, or never: what is accepted builds a client."""
    try:
        APIClient(**({"base_url": URL} | {name: value}))
    except REFUSED as error:
        one_sentence(error)


@each_value
@pytest.mark.parametrize("name", sorted(ClientConfig.model_fields))
def test_config_field_refuses_wrong_values(name: str, value: Any) -> None:
    """Every setting, one by one."""
    try:
        ClientConfig(**{name: value})
    except REFUSED as error:
        one_sentence(error)


@each_value
@pytest.mark.parametrize("name", ["method", "path", *sorted(OPTION_NAMES), "response_model", "key", "client"])
async def test_call_parameter_refuses_wrong_values(name: str, value: Any) -> None:
    """Before anything is sent; what is accepted may be sent."""
    upstream = MockUpstream()
    upstream.script(reply(200, json=1))
    async with APIClient(URL, transport=upstream, retry=None) as api:
        arguments: dict[str, Any] = {"method": "GET", "path": "/"} | {name: value}
        try:
            await api.send(Call(**arguments))
        except REFUSED as error:
            one_sentence(error)
            assert upstream.requests == []


@each_value
@pytest.mark.parametrize(
    "name", ["timeout", "retry", "hedging", "fallback", "coalesce", "raise_for_status", "priority"]
)
def test_view_parameter_refuses_wrong_values(name: str, value: Any) -> None:
    """As for the client itself."""
    try:
        APIClient(URL).with_options(**{name: value})
    except REFUSED as error:
        one_sentence(error)


@each_value
@pytest.mark.parametrize("name", ["calls", "concurrency", "timeout", "successes", "stop_on_failure", "on_outcome"])
async def test_gather_parameter_refuses_wrong_values(name: str, value: Any) -> None:
    """Before the first call is sent."""
    upstream = MockUpstream()
    upstream.script(reply(200))
    async with APIClient(URL, transport=upstream) as api:
        arguments: dict[str, Any] = {"calls": [Call.get("/")]} | {name: value}
        try:
            await api.gather(**arguments)
        except REFUSED as error:
            one_sentence(error)


@pytest.mark.parametrize("path", [["/a"], ("/a",), {"/a"}, b"/a", 5, None])
async def test_path_that_is_not_text_is_refused(path: Any) -> None:
    """A list of paths is a likely mistake; nothing is sent."""
    upstream = MockUpstream()
    upstream.script(reply(200))
    async with APIClient(URL, transport=upstream) as api:
        with pytest.raises(InvalidRequestError) as caught:
            await api.get(path)
    one_sentence(caught.value)
    assert upstream.requests == []


@pytest.mark.parametrize("value", [2, 2.0, "2s", "2000ms", timedelta(seconds=2)], ids=repr)
async def test_duration_is_the_same_everywhere(value: Any) -> None:
    """In settings, per call, in a deadline and in a fan-out."""
    upstream = MockUpstream()
    upstream.script(reply(200))
    async with APIClient(URL, transport=upstream, timeout=value) as api:
        assert api.config.timeout is not None
        assert api.config.timeout.total == 2
        await api.get("/", timeout=value)
        assert len(await api.gather([Call.get("/")], timeout=value)) == 1
        async with api.as_completed([Call.get("/")], timeout=value) as outcomes:
            assert [outcome.ok async for outcome in outcomes] == [True]
        with deadline(after=value) as ends_at:
            assert 0 < ends_at - asyncio.get_running_loop().time() <= 2


@pytest.mark.parametrize(
    "value",
    [True, False, float("nan"), 10**400, "two", "2 minutes", b"2s", [2], object()],
    ids=["true", "false", "nan", "huge", "word", "sentence", "bytes", "list", "object"],
)
async def test_wrong_duration_is_refused_everywhere(value: Any) -> None:
    """A boolean is no duration, though Python counts it among the numbers."""
    upstream = MockUpstream()
    upstream.script(reply(200))
    async with APIClient(URL, transport=upstream) as api:
        for use in (
            lambda: APIClient(URL, timeout=value),
            lambda: api.with_options(timeout=value),
            lambda: api.as_completed([Call.get("/")], timeout=value),
            lambda: deadline(after=value).__enter__(),
            lambda: deadline(at=value).__enter__(),
        ):
            with pytest.raises(REFUSED) as caught:
                use()
            one_sentence(caught.value)
        for call in (api.get("/", timeout=value), api.gather([Call.get("/")], timeout=value)):
            with pytest.raises(REFUSED) as caught:
                await call
            one_sentence(caught.value)
    assert upstream.requests == []
