"""The layers of settings."""

from __future__ import annotations

import pytest

from resilient_client import Backoff, InvalidRequestError, Retry, Timeout
from resilient_client._call.settings import Layers

CLIENT = Layers().over("client", {"timeout": Timeout(total=5, attempt=2), "retry": Retry(max_attempts=5)})


def test_plan_of_equal_settings_with_other_fields_set_is_another_plan() -> None:
    """What a call did not set comes from the client, also after a call that set that very value."""
    assert CLIENT.plan({"retry": Retry(max_attempts=3)}).retry == Retry(max_attempts=3)
    assert CLIENT.plan({"retry": Retry(max_retry_after=60)}).retry == Retry(max_attempts=5)


def test_plan_of_equal_inner_settings_with_other_fields_set_is_another_plan() -> None:
    """The same holds for settings within settings."""
    client = Layers().over("client", {"retry": Retry(backoff=Backoff(initial=1))})
    assert client.plan({"retry": Retry(backoff=Backoff(initial=0.2))}).retry == Retry(backoff=Backoff(initial=0.2))
    assert client.plan({"retry": Retry(backoff=Backoff(max_delay=10))}).retry == Retry(backoff=Backoff(initial=1))


def test_plan_of_a_boolean_timeout_is_refused_after_an_equal_number_was_planned() -> None:
    """``True`` equals 1 but is no duration, whatever was planned before."""
    assert CLIENT.plan({"timeout": 1}).limits.total == 1
    with pytest.raises(InvalidRequestError, match="timeout"):
        CLIENT.plan({"timeout": True})


def test_plan_of_a_mapping_is_that_of_the_settings_it_spells() -> None:
    """A mapping is read as settings are read from a file; it does not break on being unhashable."""
    assert CLIENT.plan({"retry": {"max_attempts": 2}}).retry == Retry(max_attempts=2)


def test_plan_of_the_same_options_is_resolved_once() -> None:
    """Resolving is paid once a distinct set of options."""
    assert CLIENT.plan({"timeout": Timeout(attempt=1)}) is CLIENT.plan({"timeout": Timeout(attempt=1)})
