"""Durations of health checks, auth objects and fan-outs: the same forms are accepted and refused everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from resilient_client import (
    BearerAuth,
    Call,
    ConfigurationError,
    InvalidRequestError,
    OAuth2ClientCredentials,
    Outcome,
    Probe,
    Prober,
    Token,
    as_completed,
    gather,
    probe,
)
from resilient_client.testing._virtual_time import run_virtual

URL = "https://users.example/health"


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


class Hanging:
    """A runner whose calls never end by themselves."""

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        await hang()
        raise AssertionError


def oauth2(**options: Any) -> OAuth2ClientCredentials:
    return OAuth2ClientCredentials("https://id.example/token", "me", "secret", **options)


def probed(timeout: Any) -> float:
    """How long ``probe`` waits for a target that hangs."""
    return run_virtual(probe([hang], timeout=timeout)).elapsed


def gathered(timeout: Any) -> float:
    """How long ``gather`` waits for a call that hangs, without the grace period of its workers."""
    elapsed = run_virtual(gather([Call.get("/")], client=Hanging(), timeout=timeout)).elapsed
    assert elapsed is not None
    return elapsed - 0.05


ABOVE_ZERO: dict[str, Callable[[Any], float | None]] = {
    "Probe(timeout)": lambda value: Probe(URL, timeout=value).timeout,
    "Probe(slow)": lambda value: Probe(URL, slow=value).slow,
    "Prober(timeout)": lambda value: Prober([URL], timeout=value)._timeout,
    "probe(timeout)": probed,
    "BearerAuth(timeout)": lambda value: BearerAuth("token", timeout=value)._keeper._timeout,
    "OAuth2ClientCredentials(timeout)": lambda value: oauth2(timeout=value)._timeout.total,
    "Token(expires_in)": lambda value: Token("token", value).expires_in,
}
ZERO_OR_MORE: dict[str, Callable[[Any], float | None]] = {
    "Prober(max_age)": lambda value: Prober([URL], max_age=value)._max_age,
    "BearerAuth(early_refresh)": lambda value: BearerAuth("token", early_refresh=value)._keeper._early_refresh,
    "OAuth2ClientCredentials(early_refresh)": lambda value: oauth2(early_refresh=value)._keeper._early_refresh,
}
OF_CALLS: dict[str, Callable[[Any], float | None]] = {
    "gather(timeout)": gathered,
    "as_completed(timeout)": lambda value: as_completed([], timeout=value)._timeout,
}

each_parameter = pytest.mark.parametrize(
    "seconds_of", [pytest.param(read, id=name) for name, read in (ABOVE_ZERO | ZERO_OR_MORE | OF_CALLS).items()]
)


def refusal_of(seconds_of: Callable[[Any], float | None], value: object) -> str:
    """The message with which a value is refused, by the error class of the parameter."""
    error = InvalidRequestError if seconds_of in OF_CALLS.values() else ConfigurationError
    with pytest.raises(error) as caught:
        seconds_of(value)
    assert type(caught.value) is error
    return str(caught.value)


@each_parameter
@pytest.mark.parametrize("value", [2, 2.0, "2", "2s", "2000ms", " 2 s ", timedelta(seconds=2)], ids=repr)
def test_duration_forms_mean_the_same(seconds_of: Callable[[Any], float | None], value: object) -> None:
    """Numbers, texts and timedeltas give the same number of seconds."""
    assert seconds_of(value) == pytest.approx(2.0)


@each_parameter
@pytest.mark.parametrize(("value", "seconds"), [("500ms", 0.5), ("1.5m", 90.0), ("1h", 3600.0)])
def test_duration_units_are_known(seconds_of: Callable[[Any], float | None], value: str, seconds: float) -> None:
    """Milliseconds, minutes and hours are converted."""
    assert seconds_of(value) == pytest.approx(seconds)


@each_parameter
@pytest.mark.parametrize(
    "value",
    [True, False, float("nan"), 10**400, -(10**400), "two", "2 days", "", "nan", "-1s", -1, timedelta(-1), [], b"2s"],
    ids=lambda value: f"{value!r:.12}",
)
def test_duration_invalid_is_refused(seconds_of: Callable[[Any], float | None], value: object) -> None:
    """The message is one line with the parameter's name, the start of the value and the accepted forms."""
    message = refusal_of(seconds_of, value)
    assert "\n" not in message
    assert len(message) < 250
    assert " is " in message
    assert "must be a duration" in message
    assert "give seconds such as 2.5, text such as '500ms', or a timedelta" in message


@pytest.mark.parametrize("seconds_of", ABOVE_ZERO.values(), ids=ABOVE_ZERO)
@pytest.mark.parametrize("value", [0, "0s", timedelta(0), float("inf")], ids=repr)
def test_duration_without_end_or_length_is_refused(seconds_of: Callable[[Any], float | None], value: object) -> None:
    """A timeout of zero would fail every call, and one without an end would bound nothing."""
    assert "must be a duration above 0" in refusal_of(seconds_of, value)


@pytest.mark.parametrize("seconds_of", ZERO_OR_MORE.values(), ids=ZERO_OR_MORE)
@pytest.mark.parametrize("value", [0, "0s", timedelta(0)], ids=repr)
def test_duration_of_zero_switches_off(seconds_of: Callable[[Any], float | None], value: object) -> None:
    """Zero means that the report, or the token, is used until it is too old."""
    assert seconds_of(value) == 0.0


@pytest.mark.parametrize("option", ["timeout", "slow"])
def test_duration_left_out_means_no_limit(option: str) -> None:
    """``None`` is allowed where the parameter is optional."""
    assert getattr(Probe(URL, **{option: None}), option) is None  # type: ignore[arg-type]  # of either option
