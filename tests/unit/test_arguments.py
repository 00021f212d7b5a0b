"""Wrong arguments: every public parameter is tested with every kind of wrong value.

A parameter may accept a value, such as ``True`` for a flag. A value that it refuses raises ``ConfigurationError`` or
``InvalidRequestError`` with one sentence, never an exception from deep inside. Nothing is sent.
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


def assert_one_sentence(error: Exception) -> None:
    """Assert that the text is a single line of reasonable length, and not empty."""
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 600


def client_parameters() -> list[str]:
    """Return the keyword parameters of ``APIClient``."""
    names = inspect.signature(APIClient.__init__).parameters
    return [name for name in names if name not in {"self", "unknown"}]


@each_value
@pytest.mark.parametrize("name", client_parameters())
def test_client_parameter_refuses_wrong_values(name: str, value: Any) -> None:
    """A client refuses a wrong argument in its constructor with one sentence, or accepts it."""
    try:
        APIClient(**({"base_url": URL} | {name: value}))
    except REFUSED as error:
        assert_one_sentence(error)


@each_value
@pytest.mark.parametrize("name", sorted(ClientConfig.model_fields))
def test_config_field_refuses_wrong_values(name: str, value: Any) -> None:
    """A config refuses a wrong value of any field with one sentence, or accepts it."""
    try:
        ClientConfig(**{name: value})
    except REFUSED as error:
        assert_one_sentence(error)


@each_value
@pytest.mark.parametrize("name", ["method", "path", *sorted(OPTION_NAMES), "response_model", "key", "client"])
async def test_call_parameter_refuses_wrong_values(name: str, value: Any) -> None:
    """A call refuses a wrong argument before anything is sent, or accepts it."""
    upstream = MockUpstream()
    upstream.script(reply(200, json=1))
    async with APIClient(URL, transport=upstream, retry=None) as api:
        arguments: dict[str, Any] = {"method": "GET", "path": "/"} | {name: value}
        try:
            await api.send(Call(**arguments))
        except REFUSED as error:
            assert_one_sentence(error)
            assert upstream.requests == []


@each_value
@pytest.mark.parametrize(
    "name", ["timeout", "retry", "hedging", "fallback", "coalesce", "raise_for_status", "priority"]
)
def test_view_parameter_refuses_wrong_values(name: str, value: Any) -> None:
    """A view refuses a wrong option with one sentence, or accepts it."""
    try:
        APIClient(URL).with_options(**{name: value})
    except REFUSED as error:
        assert_one_sentence(error)


@each_value
@pytest.mark.parametrize("name", ["calls", "concurrency", "timeout", "successes", "stop_on_failure", "on_outcome"])
async def test_gather_parameter_refuses_wrong_values(name: str, value: Any) -> None:
    """A fan-out refuses a wrong argument with one sentence, or accepts it."""
    upstream = MockUpstream()
    upstream.script(reply(200))
    async with APIClient(URL, transport=upstream) as api:
        arguments: dict[str, Any] = {"calls": [Call.get("/")]} | {name: value}
        try:
            await api.gather(**arguments)
        except REFUSED as error:
            assert_one_sentence(error)


@pytest.mark.parametrize("path", [["/a"], ("/a",), {"/a"}, b"/a", 5, None])
async def test_path_that_is_not_text_is_refused(path: Any) -> None:
    """A path of another type is refused before anything is sent. A list of paths is a likely mistake."""
    upstream = MockUpstream()
    upstream.script(reply(200))
    async with APIClient(URL, transport=upstream) as api:
        with pytest.raises(InvalidRequestError) as caught:
            await api.get(path)
    assert_one_sentence(caught.value)
    assert upstream.requests == []


@pytest.mark.parametrize("value", [2, 2.0, "2s", "2000ms", timedelta(seconds=2)], ids=repr)
async def test_duration_is_the_same_everywhere(value: Any) -> None:
    """Settings, calls, deadlines and fan-outs accept the same forms of a duration."""
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
    """Every place refuses the same wrong durations, including booleans, which are numbers in Python."""
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
            assert_one_sentence(caught.value)
        for call in (api.get("/", timeout=value), api.gather([Call.get("/")], timeout=value)):
            with pytest.raises(REFUSED) as caught:
                await call
            assert_one_sentence(caught.value)
    assert upstream.requests == []
