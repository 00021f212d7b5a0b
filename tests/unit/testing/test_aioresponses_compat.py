"""The shim for aioresponses: it works, it can be removed completely, and it is still needed."""

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
def unpatched() -> None:
    """Remove the shim in case an earlier test has installed it."""
    install_aioresponses_compat()()


@pytest.fixture
def mocked(unpatched: None) -> Iterator[aioresponses]:
    uninstall = install_aioresponses_compat()
    with aioresponses() as mocked:
        yield mocked
    uninstall()


async def test_shim_absent_means_aioresponses_cannot_answer() -> None:
    """The shim is needed as long as this test passes."""
    async with aiohttp.ClientSession() as session:
        with aioresponses() as mocked:
            mocked.get(URL)
            try:
                await session.get(URL)
            except TypeError as error:
                assert "stream_writer" in str(error)  # noqa: PT017 -- pytest.raises cannot give the message below
                return
    pytest.fail("aioresponses answers on this aiohttp by itself: remove testing/_aioresponses_compat.py and its docs")


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_shim_status_and_json_arrive(mocked: aioresponses, status: int) -> None:
    """A mocked reply has its status and its JSON."""
    mocked.get(URL, status=status, payload={"id": 1})
    async with aiohttp.ClientSession() as session, session.get(URL) as reply:
        assert (reply.status, await reply.json()) == (status, {"id": 1})


async def test_shim_raise_for_status_raises(mocked: aioresponses) -> None:
    """``raise_for_status`` of aiohttp works on a mocked reply."""
    mocked.get(URL, status=503)
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        with pytest.raises(aiohttp.ClientResponseError, match="503"):
            await session.get(URL)


async def test_shim_large_body_arrives_whole(mocked: aioresponses) -> None:
    """A body larger than the buffer of a real reader is neither cut nor does it hang."""
    body = b"x" * 300_000
    mocked.get(URL, body=body)
    async with aiohttp.ClientSession() as session, session.get(URL) as reply:
        assert await reply.read() == body


async def test_shim_unmatched_url_is_rejected(mocked: aioresponses) -> None:
    """A request to a URL that is not mocked does not reach the network."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError, match="Connection refused"):
            await session.get(URL)


async def test_shim_with_client_retries_and_decodes(mocked: aioresponses) -> None:
    """A suite built on aioresponses works with an ``APIClient``, retries included."""
    mocked.get(URL, status=503)
    mocked.get(URL, payload={"id": 1}, headers={"X-Request-Id": "abc"})
    async with APIClient("https://api.example.com", retry=Retry(backoff={"initial": 0.001})) as api:
        response = await api.get("/users/1")
    assert (response.json(), response.attempts, response.request_id) == ({"id": 1}, 2, "abc")


async def test_shim_with_client_raises_for_status(mocked: aioresponses) -> None:
    """An error status raises the library's exception."""
    mocked.get(URL, status=500)
    async with APIClient("https://api.example.com", retry=None) as api:
        with pytest.raises(InternalServerError):
            await api.get("/users/1")


async def test_shim_with_client_and_own_session(mocked: aioresponses) -> None:
    """The shim works with a session that the caller passes to the client."""
    mocked.get(URL, payload=[1])
    async with aiohttp.ClientSession() as session, APIClient("https://api.example.com", session=session) as api:
        assert await api.get("/users/1", response_model=list[int]) == [1]


async def test_shim_with_client_unmatched_url_raises(mocked: aioresponses) -> None:
    """A URL that is not mocked is a connection error, and the client knows that nothing was sent."""
    async with APIClient("https://api.example.com", retry=None) as api:
        with pytest.raises(APIConnectionError) as caught:
            await api.get("/users/1")
    assert caught.value.maybe_processed is False


def test_shim_installed_twice_is_removed_at_once() -> None:
    """Installing is idempotent, and uninstalling restores aioresponses."""
    before = dict(vars(core))
    uninstall = install_aioresponses_compat()
    second_uninstall = install_aioresponses_compat()
    assert vars(core) != before
    second_uninstall()
    assert vars(core) == before
    uninstall()
    assert vars(core) == before


def test_shim_without_aioresponses_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error contains the install command."""
    monkeypatch.setitem(sys.modules, "aioresponses.core", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'resilient-client\[testing\]'"):
        install_aioresponses_compat()
