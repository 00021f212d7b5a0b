"""The layers of settings."""

from __future__ import annotations

import pytest

from resilient_client import Backoff, InvalidRequestError, Retry, Timeout
from resilient_client._call.settings import SettingsStack

CLIENT = SettingsStack().over("client", {"timeout": Timeout(total=5, attempt=2), "retry": Retry(max_attempts=5)})


def test_equal_settings_with_other_fields_set() -> None:
    """What a call did not set comes from the client, also after a call that set that very value."""
    assert CLIENT.for_call({"retry": Retry(max_attempts=3)}).retry == Retry(max_attempts=3)
    assert CLIENT.for_call({"retry": Retry(retry_after_cap=60)}).retry == Retry(max_attempts=5)


def test_equal_inner_settings_with_other_fields() -> None:
    """The same holds for settings within settings."""
    client = SettingsStack().over("client", {"retry": Retry(backoff=Backoff(initial=1))})
    assert client.for_call({"retry": Retry(backoff=Backoff(initial=0.2))}).retry == Retry(backoff=Backoff(initial=0.2))
    assert client.for_call({"retry": Retry(backoff=Backoff(maximum=10))}).retry == Retry(backoff=Backoff(initial=1))


def test_boolean_timeout_refused_despite_cache() -> None:
    """``True`` equals 1 but is no duration, whatever was planned before."""
    assert CLIENT.for_call({"timeout": 1}).limits.total == 1
    with pytest.raises(InvalidRequestError, match="timeout"):
        CLIENT.for_call({"timeout": True})


def test_mapping_equals_its_settings() -> None:
    """A mapping is read as settings are read from a file; it does not break on being unhashable."""
    assert CLIENT.for_call({"retry": {"max_attempts": 2}}).retry == Retry(max_attempts=2)


def test_same_options_are_resolved_once() -> None:
    """Resolving is paid once a distinct set of options."""
    assert CLIENT.for_call({"timeout": Timeout(attempt=1)}) is CLIENT.for_call({"timeout": Timeout(attempt=1)})
