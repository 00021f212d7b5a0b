"""Call settings: layers, merging and caching."""

from __future__ import annotations

import pytest

from resilient_client import Backoff, InvalidRequestError, Retry, Timeout
from resilient_client._call.settings import Layers

CLIENT = Layers().over("client", {"timeout": Timeout(total=5, attempt=2), "retry": Retry(max_attempts=5)})


def test_equal_settings_with_other_fields_set() -> None:
    """A field that a call did not set is the client's, also after a call that set that very value."""
    assert CLIENT.plan({"retry": Retry(max_attempts=3)}).retry == Retry(max_attempts=3)
    assert CLIENT.plan({"retry": Retry(retry_after_cap=60)}).retry == Retry(max_attempts=5)


def test_equal_inner_settings_with_other_fields() -> None:
    """The same holds for settings within settings."""
    client = Layers().over("client", {"retry": Retry(backoff=Backoff(initial=1))})
    assert client.plan({"retry": Retry(backoff=Backoff(initial=0.2))}).retry == Retry(backoff=Backoff(initial=0.2))
    assert client.plan({"retry": Retry(backoff=Backoff(maximum=10))}).retry == Retry(backoff=Backoff(initial=1))


def test_boolean_timeout_refused_despite_cache() -> None:
    """``True`` equals 1 but is not a duration, even if 1 is cached."""
    assert CLIENT.plan({"timeout": 1}).limits.total == 1
    with pytest.raises(InvalidRequestError, match="timeout"):
        CLIENT.plan({"timeout": True})


def test_mapping_equals_its_settings() -> None:
    """A mapping is read as settings from a file, although it is not hashable."""
    assert CLIENT.plan({"retry": {"max_attempts": 2}}).retry == Retry(max_attempts=2)


def test_same_options_are_resolved_once() -> None:
    """Resolving is paid once a distinct set of options."""
    assert CLIENT.plan({"timeout": Timeout(attempt=1)}) is CLIENT.plan({"timeout": Timeout(attempt=1)})
