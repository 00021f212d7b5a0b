"""The script of a `MockUpstream`: which step answers, the assertions, and what cannot be scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.testing.support import scripted, using

from resilient_client import (
    APIClient,
    Call,
)
from resilient_client.testing import MockRequest, MockUpstream, fail, faults, reply

# -- routes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/users/me", "literal"),
        ("/users/7", "one name"),
        ("/users/7/pets", "script"),
        ("/users/a%2Fb", "one name"),
        ("/files/x.json", "inside"),
        ("/caf%C3%A9", "encoded"),
    ],
)
def test_route_that_fits_best_answers(path: str, answer: str) -> None:
    """The route with the fewest names answers, a name matches one segment, and the script answers the rest."""
    upstream = scripted(reply(text="script"))
    upstream.route("GET", "/users/{id}", reply(text="one name"))
    upstream.route("GET", "/users/me", reply(text="literal"))
    upstream.route("GET", "/files/{name}.json", reply(text="inside"))
    upstream.route("get", "/café", reply(text="encoded"))
    assert using(upstream, lambda api: api.get(path)).text == answer


def test_route_under_a_base_path_is_the_path_on_the_wire() -> None:
    """A route is matched with the path that the upstream receives, including the base path."""
    upstream = MockUpstream()
    upstream.route("GET", "/v1/users", reply(text="yes"))
    assert using(upstream, lambda api: api.get("/users"), "https://api.example.com/v1").text == "yes"


def test_request_without_a_script_names_what_is_scripted() -> None:
    """There is no default reply. The error lists the scripted routes."""
    upstream = MockUpstream()
    upstream.route("GET", "/users/{id}", reply())
    with pytest.raises(AssertionError, match=r"scripted for POST /users/1; scripted: GET /users/\{id\}$"):
        using(upstream, lambda api: api.post("/users/1"))


# -- assertions ----------------------------------------------------------------------------------------------------


def test_assert_all_used_with_a_step_left_names_it() -> None:
    """A step that never answered is named."""
    upstream = scripted(reply(503), fail("dns"), reply(201))
    using(upstream, lambda api: api.get("/", raise_for_status=False), retry=None)
    with pytest.raises(AssertionError, match=r"the script has not used fail\('dns'\); .* reply\(201\)"):
        upstream.assert_all_used()


def test_assert_all_used_after_the_last_step_passes() -> None:
    """It passes when every step has answered."""
    upstream = scripted(reply(503), reply())
    using(upstream, lambda api: api.gather(Call.get("/") for _ in range(2)))
    upstream.assert_all_used()


def test_assert_all_used_reports_unscripted_requests() -> None:
    """``gather`` turns errors into outcomes, so ``assert_all_used`` reports unscripted requests again."""
    upstream = MockUpstream()
    using(upstream, lambda api: api.gather([Call.get("/nowhere")]))
    with pytest.raises(AssertionError, match="no step is scripted for GET /nowhere"):
        upstream.assert_all_used()


def test_assert_called_returns_the_requests() -> None:
    """The matching requests are returned, so a test can check their content."""
    upstream = scripted(reply())
    using(upstream, lambda api: api.post("/orders/7", json={"n": 1}))
    [order] = upstream.assert_called("POST", "/orders/{id}", times=1)
    assert order.json() == {"n": 1}


@pytest.mark.parametrize(("method", "times"), [("GET", None), ("POST", 2), ("POST", 0)])
def test_assert_called_failure_lists_the_requests(method: str, times: int | None) -> None:
    """The message contains the expected number and all requests received."""
    upstream = scripted(reply())
    using(upstream, lambda api: api.post("/orders"))
    with pytest.raises(AssertionError, match=r"(?s)expected .* of \w+ /orders, received \d.*  POST /orders"):
        upstream.assert_called(method, "/orders", times=times)


async def test_wait_for_hits_wakes_on_arrival() -> None:
    """A test can wait until the upstream has received a request."""
    upstream = scripted(fail("timeout"))
    async with APIClient("https://api.example.com", transport=upstream) as api, asyncio.timeout(5):
        call = asyncio.create_task(api.get("/"))
        await upstream.wait_for_hits(1)
        assert upstream.active == 1
        call.cancel()
        await asyncio.wait((call,))
    assert upstream.active == 0


# -- what cannot be scripted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fail("disconnect"), "use one of dns, connect"),  # type: ignore[arg-type]  # the point
        (lambda: fail("server_error"), r"or reply\(status\)"),  # type: ignore[arg-type]  # the point
        (lambda: fail("dns", stage="body"), "cannot happen in stage body; use one of dns"),
        (lambda: reply(100), "must be a final status"),
        (lambda: reply(content=[fail("dns")]), "cannot happen in stage body"),
        (lambda: MockUpstream().script(), "at least one step"),
        (lambda: MockUpstream().route("GET", "users", reply()), "a route is a path"),
        (lambda: MockUpstream().route("GET", "/users?page=1", reply()), "a route is a path"),
    ],
)
def test_impossible_step_is_rejected(make: Callable[[], object], message: str) -> None:
    """A step that cannot happen on a network is rejected. The error says what is allowed."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("step", [faults.drop(), faults.hold(), 503, MockRequest], ids=["fault", "hold", "int", "type"])
def test_step_of_wrong_type_is_rejected(step: Any) -> None:
    """A fault of the ``FaultServer`` is not a step of a ``MockUpstream`` and is rejected at once."""
    with pytest.raises(TypeError, match=r"pass reply\(...\), fail\(...\) or a function"):
        MockUpstream().script(step)
