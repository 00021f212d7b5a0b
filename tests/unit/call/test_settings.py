"""Call settings: how the options of a call merge with the layers of the client."""

from __future__ import annotations

import pytest

from resilient_client import Backoff, InvalidRequestError, Retry, Timeout
from resilient_client._call.settings import SettingsStack

CLIENT = SettingsStack().over("client", {"timeout": Timeout(total=5, attempt=2), "retry": Retry(max_attempts=5)})


def test_equal_settings_with_other_fields_set() -> None:
    """A field that a call does not set comes from the client, even if an earlier call set an equal value."""
    assert CLIENT.for_call({"retry": Retry(max_attempts=3)}).retry == Retry(max_attempts=3)
    assert CLIENT.for_call({"retry": Retry(max_retry_after=60)}).retry == Retry(max_attempts=5)


def test_equal_inner_settings_with_other_fields() -> None:
    """Fields of nested settings that a call does not set come from the client, too."""
    client = SettingsStack().over("client", {"retry": Retry(backoff=Backoff(initial=1))})
    assert client.for_call({"retry": Retry(backoff=Backoff(initial=0.2))}).retry == Retry(backoff=Backoff(initial=0.2))
    assert client.for_call({"retry": Retry(backoff=Backoff(max_delay=10))}).retry == Retry(backoff=Backoff(initial=1))


def test_boolean_timeout_refused_despite_cache() -> None:
    """``True`` equals 1 but is not a duration. It is refused even if 1 is in the cache."""
    assert CLIENT.for_call({"timeout": 1}).limits.total == 1
    with pytest.raises(InvalidRequestError, match="timeout"):
        CLIENT.for_call({"timeout": True})


def test_mapping_equals_its_settings() -> None:
    """A mapping is read like settings from a file, although it is unhashable and cannot be a cache key."""
    assert CLIENT.for_call({"retry": {"max_attempts": 2}}).retry == Retry(max_attempts=2)


def test_same_options_are_resolved_once() -> None:
    """Each distinct set of options is resolved only once."""
    assert CLIENT.for_call({"timeout": Timeout(attempt=1)}) is CLIENT.for_call({"timeout": Timeout(attempt=1)})
