"""The shim for aioresponses: that it works, that it goes without a trace, and that it is still needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import aiohttp
import pytest
from aioresponses import aioresponses, core

from resilient_client import APIClient, APIConnectionError, InternalServerError, MissingExtraError, Retry
from resilient_client.testing import install_aioresponses_compat

URL = "https://api.example.com/users/1"


@pytest.fixture(autouse=True)
def bare() -> None:
    """Aioresponses as it is, whoever installed the shim before."""
    install_aioresponses_compat()()


@pytest.fixture
def mocked(bare: None) -> Iterator[aioresponses]:
    uninstall = install_aioresponses_compat()
    with aioresponses() as mocked:
        yield mocked
    uninstall()


async def test_shim_absent_means_aioresponses_cannot_answer() -> None:
    """As long as this holds, the shim is needed."""
    async with aiohttp.ClientSession() as session:
        with aioresponses() as mocked:
            mocked.get(URL)
            try:
                await session.get(URL)
            except TypeError as broken:
                assert "stream_writer" in str(broken)  # noqa: PT017 -- pytest.raises could not say what to do
                return
    pytest.fail("aioresponses answers on this aiohttp by itself: remove testing/aioresponses_compat.py and its docs")


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_shim_status_and_json_arrive(mocked: aioresponses, status: int) -> None:
    """A mocked reply has its status and its JSON."""
    mocked.get(URL, status=status, payload={"id": 1})
    async with aiohttp.ClientSession() as session, session.get(URL) as reply:
        assert (reply.status, await reply.json()) == (status, {"id": 1})


async def test_shim_raise_for_status_raises(mocked: aioresponses) -> None:
    """Aiohttp's own check of the status works on a mocked reply."""
    mocked.get(URL, status=503)
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        with pytest.raises(aiohttp.ClientResponseError, match="503"):
            await session.get(URL)


async def test_shim_large_body_arrives_whole(mocked: aioresponses) -> None:
    """A body above the limits of a real reader is not cut and does not hang."""
    body = b"x" * 300_000
    mocked.get(URL, body=body)
    async with aiohttp.ClientSession() as session, session.get(URL) as reply:
        assert await reply.read() == body


async def test_shim_unmatched_url_is_refused(mocked: aioresponses) -> None:
    """What is not mocked does not reach a network."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError, match="Connection refused"):
            await session.get(URL)


async def test_shim_under_our_client_gives_status_and_model(mocked: aioresponses) -> None:
    """A suite built on aioresponses works with an ``APIClient``, retries included."""
    mocked.get(URL, status=503)
    mocked.get(URL, payload={"id": 1}, headers={"X-Request-Id": "abc"})
    async with APIClient("https://api.example.com", retry=Retry(backoff={"initial": 0.001})) as api:
        response = await api.get("/users/1")
    assert (response.json(), response.attempts, response.request_id) == ({"id": 1}, 2, "abc")


async def test_shim_under_our_client_raises_for_statuses(mocked: aioresponses) -> None:
    """An error status is our error."""
    mocked.get(URL, status=500)
    async with APIClient("https://api.example.com", retry=None) as api:
        with pytest.raises(InternalServerError):
            await api.get("/users/1")


async def test_shim_under_our_client_with_a_session_of_the_caller(mocked: aioresponses) -> None:
    """The same holds for a session that was handed in."""
    mocked.get(URL, payload=[1])
    async with aiohttp.ClientSession() as session, APIClient("https://api.example.com", session=session) as api:
        assert await api.get("/users/1", response_model=list[int]) == [1]


async def test_shim_under_our_client_unmatched_url_is_a_connection_error(mocked: aioresponses) -> None:
    """What is not mocked is no connection, and is known to have sent nothing."""
    async with APIClient("https://api.example.com", retry=None) as api:
        with pytest.raises(APIConnectionError) as caught:
            await api.get("/users/1")
    assert caught.value.maybe_processed is False


def test_shim_installed_twice_is_undone_at_once() -> None:
    """Installing is idempotent, and undoing leaves aioresponses as it was."""
    before = dict(vars(core))
    uninstall = install_aioresponses_compat()
    again = install_aioresponses_compat()
    assert vars(core) != before
    again()
    assert vars(core) == before
    uninstall()
    assert vars(core) == before


def test_shim_without_aioresponses_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error holds the install command."""
    monkeypatch.setitem(sys.modules, "aioresponses.core", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'resilient-client\[testing\]'"):
        install_aioresponses_compat()
