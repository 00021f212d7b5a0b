"""The result of one check of one target: the reason in it."""

from __future__ import annotations

import pytest

from resilient_client import APIError, ErrorKind, HealthState, Probe, probe
from resilient_client.health._check import failed, format_statuses
from resilient_client.testing._fault_server import refused_url


@pytest.mark.parametrize("method", ["GET", "M-SEARCH"])
async def test_check_of_refused_port_has_plain_reason(method: str) -> None:
    """The reason does not contain the method, even one with a hyphen."""
    result = (await probe([Probe(refused_url(), method=method)]))[0]
    assert (result.state, result.kind) == (HealthState.DOWN, ErrorKind.CONNECT)
    assert result.reason.startswith("cannot connect")
    assert method not in result.reason


def test_failed_reason_is_summary_of_error() -> None:
    """Neither the label nor the advice is part of it, and a colon in the summary is kept."""
    error = APIError("cannot connect: refused", label="M-SEARCH https://users.example/a: b", kind=ErrorKind.CONNECT)
    error.advice = ("POST is not retried",)
    assert failed(error).reason == "cannot connect: refused"


@pytest.mark.parametrize(
    ("statuses", "text"),
    [
        (range(200, 400), "200-399"),
        (range(200, 201), "200"),
        ({404, 200}, "200, 404"),
        (range(200, 205, 2), "200, 202, 204"),
    ],
)
def test_format_statuses_joins_ranges(statuses: set[int] | range, text: str) -> None:
    """A range without gaps is written with a dash, everything else as a list."""
    assert format_statuses(statuses) == text
