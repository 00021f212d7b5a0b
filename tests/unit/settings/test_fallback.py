"""What a ``Fallback`` may be made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resilient_client import APIClient, Call, ConfigurationError, ErrorKind, Fallback

UNLESS_NAMED = {
    ErrorKind.REDIRECT,
    ErrorKind.TOO_LARGE,
    ErrorKind.CLIENT_ERROR,
    ErrorKind.INVALID_RESPONSE,
    ErrorKind.INVALID_REQUEST,
    ErrorKind.CANCELLED,
    ErrorKind.UNEXPECTED,
}


async def fetch() -> list[int]:
    return []


def test_fallback_left_to_itself_covers_no_mistake_of_either_side() -> None:
    """By default it stands in where no answer could be had; a new kind of error is put on one side knowingly."""
    assert Fallback(None).kinds == set(ErrorKind) - UNLESS_NAMED


def test_fallback_takes_kinds_by_name_too() -> None:
    """A kind read from a file is a text, and equals the member."""
    assert Fallback(None, kinds=["timeout", ErrorKind.TLS]).kinds == {ErrorKind.TIMEOUT, ErrorKind.TLS}  # type: ignore[list-item]  # a StrEnum


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Fallback(list), "the class list"),
        (lambda: Fallback(fetch()), "awaited only once"),
        (lambda: Fallback(lambda: 0), "with the error alone"),
        (lambda: Fallback(lambda error, more: []), "with the error alone"),
        (lambda: Fallback(Call.get("/", fallback=Fallback([]))), "fallback of its own"),
        (lambda: Fallback([], kinds=ErrorKind.TIMEOUT), "give some of ErrorKind"),
        (lambda: Fallback([], kinds=set()), "give some of ErrorKind"),
        (lambda: Fallback([], kinds={"time_out"}), "give some of ErrorKind"),
        (lambda: Fallback([], kinds=None), "give some of ErrorKind"),
        (lambda: APIClient("http://127.0.0.1", fallback=[]), "give Fallback"),
        (lambda: APIClient("http://127.0.0.1").with_options(fallback=[]), "give Fallback"),
        (lambda: APIClient("http://127.0.0.1", coalesce="often"), "coalesce is 'often'; give True or False"),
    ],
)
def test_fallback_that_cannot_work_is_refused_when_it_is_made(make: Callable[[], Any], what: str) -> None:
    """What would fail in the outage fails at construction, and says what to give."""
    with pytest.raises(ConfigurationError, match=what):
        make()


@pytest.mark.parametrize("function", [len, max, lambda error=None: error, lambda *errors: errors])
def test_fallback_takes_any_function_of_one_argument(function: Callable[..., object]) -> None:
    """Builtins that tell no signature, defaults and ``*args`` are no reason to refuse."""
    assert Fallback(function).source is function


def test_fallback_shows_where_its_value_comes_from_and_never_the_value() -> None:
    """A value may be secret, so only its type is shown."""
    assert repr(Fallback("s3cret")) == "<Fallback to a str>"
    assert repr(Fallback(Call.get("/users", params={"key": "s3cret"}))) == (
        "<Fallback to <Call GET /users with params>>"
    )
    assert repr(Fallback(len, kinds={ErrorKind.TLS, ErrorKind.DNS})) == "<Fallback to len() for dns tls>"
