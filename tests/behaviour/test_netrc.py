"""With ``trust_env=True`` a ``.netrc`` may name the host. What the call says takes precedence."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from tests.behaviour.support import soon

from resilient_client import APIClient, Auth, BasicAuth, BearerAuth, ConnectionSettings
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import redirect, reply

TRUSTING = ConnectionSettings(trust_env=True)
OF_NETRC = "Basic ZW52OmVudg=="


@pytest.fixture(autouse=True)
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``.netrc`` with credentials for the server."""
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login env password env\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


def sent(server: FaultServer) -> list[str | None]:
    """The credentials that arrived, in order."""
    return [request.headers.get("Authorization") for request in server.requests]


async def test_header_takes_precedence_over_netrc(server: FaultServer) -> None:
    """Of the call, in any spelling, with a body, and after a redirect within the origin."""
    server.script(reply(200), redirect("/elsewhere"), reply(200))
    async with APIClient(server.url, connection=TRUSTING, retry=None) as api:
        await soon(api.get("/", headers={"authorization": "Bearer mine"}))
        await soon(api.put("/", json={}, headers={"Authorization": "Bearer mine"}))
    assert sent(server) == ["Bearer mine"] * 3


@pytest.mark.parametrize("auth", [BearerAuth("mine"), BasicAuth("me", "mine")], ids=["bearer", "basic"])
@pytest.mark.one_loop
async def test_auth_takes_precedence_over_netrc(server: FaultServer, auth: Auth) -> None:
    """Of the client, for buffered and streamed replies."""
    async with APIClient(server.url, connection=TRUSTING, auth=auth, retry=None) as api:
        await soon(api.get("/"))
        async with api.stream("GET", "/") as stream:
            await stream.read()
    assert OF_NETRC not in sent(server)
    assert len(set(sent(server))) == 1


@pytest.mark.one_loop
async def test_header_takes_precedence_in_callers_session(server: FaultServer) -> None:
    """A session of the caller that reads the ``.netrc`` does not do so for a call with its own header."""
    async with aiohttp.ClientSession(trust_env=True) as session, APIClient(server.url, session=session) as api:
        await soon(api.get("/", headers={"Authorization": "Bearer mine"}))
        await soon(api.get("/"))
    assert sent(server) == ["Bearer mine", OF_NETRC]


@pytest.mark.one_loop
async def test_netrc_serves_calls_without_credentials(server: FaultServer) -> None:
    """Negative control: the file is read, but only with ``trust_env=True``."""
    for settings in (TRUSTING, ConnectionSettings()):
        async with APIClient(server.url, connection=settings) as api:
            await soon(api.get("/"))
    assert sent(server) == [OF_NETRC, None]
