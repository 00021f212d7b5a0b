"""The rule of bad input, for several endpoints: one clear sentence, when the client is built."""

from __future__ import annotations

from typing import Any

import pytest

from resilient_client import APIClient, ConfigurationError, LoadBalancing

A, B = "https://a.example/v1", "https://b.example/v1"


async def resolve() -> list[str]:
    return [A]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "the list of endpoints is empty; give at least one base URL"),
        ([A, A], "endpoint https://a.example is given twice; give each once"),
        ([A, "https://a.example:443/v1"], "endpoint https://a.example is given twice"),
        ([A, "https://A.example/v1"], "endpoint https://a.example is given twice"),
        ([A, "https://b.example/v2"], "https://a.example/v1 and https://b.example/v2 differ in their path"),
        ([A, "https://b.example/v1/"], "differ in their path"),
        ([A, "http://b.example/v1"], "https://a.example and http://b.example differ in their scheme"),
        ([A, "b.example/v1"], "base URL 'b.example/v1' needs the scheme http or https"),
        ([A, "https://user:secret@b.example/v1"], "base URL https://b.example carries credentials"),
        ([A, 5], "base URL '5' is not a URL"),
        (5, "the endpoints are int; give a list of base URLs"),
        (b"https://a.example", "the endpoints are bytes; give a list of base URLs"),
    ],
)
def test_invalid_endpoints_refused(given: Any, told: str) -> None:
    """None, twice, or such that a call would not mean the same everywhere; no secret in the message."""
    with pytest.raises(ConfigurationError) as caught:
        APIClient(given)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value).replace("what is secret", "")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "the list of endpoints is empty"),
        ([A, A], "given twice"),
        (["https://c.example/v2"], "differ in their path"),
        (["http://c.example/v1"], "differ in their scheme"),
        ("https://c.example/v1", "the endpoints are str; give a list"),
    ],
)
def test_set_endpoints_invalid_keeps_old(given: Any, told: str) -> None:
    """The first ones decide on scheme and path, for as long as the client lives."""
    api = APIClient([A, B])
    with pytest.raises(ConfigurationError, match=told):
        api.set_endpoints(given)
    assert [str(endpoint) for endpoint in api.endpoints] == ["https://a.example", "https://b.example"]


def test_set_endpoints_on_single_url_refused() -> None:
    """It has no link that picks."""
    with pytest.raises(ConfigurationError, match="build it with a list, even of one URL"):
        APIClient(A).set_endpoints([B])


def test_resolve_without_endpoints_refused() -> None:
    """The first call would have nowhere to go."""
    with pytest.raises(ConfigurationError, match=r"LoadBalancing\.resolve needs endpoints to begin with"):
        APIClient(load_balancing=LoadBalancing(resolve=resolve))


def test_load_balancing_off_refused() -> None:
    """A client of several endpoints cannot do without."""
    with pytest.raises(ConfigurationError, match="load_balancing is None; give LoadBalancing"):
        APIClient([A, B], load_balancing=None)  # type: ignore[arg-type]  # the mistake
