"""Fixtures of the tests that look at what a client refuses before anything is sent."""

from collections.abc import AsyncIterator

import pytest

from resilient_client import APIClient
from resilient_client.testing import MockUpstream, reply


@pytest.fixture
def upstream() -> MockUpstream:
    """Answers every request, and counts them."""
    made = MockUpstream()
    made.script(reply(200, json=1))
    return made


@pytest.fixture
async def api(upstream: MockUpstream) -> AsyncIterator[APIClient]:
    """A client of that upstream."""
    async with APIClient("https://api.example.com", transport=upstream, retry=None) as made:
        yield made
