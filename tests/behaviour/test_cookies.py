"""With ``cookies=True`` a cookie goes back to the host that set it, with its value as it came (RFC 6265)."""

from __future__ import annotations

import pytest
from tests.behaviour.support import soon

from resilient_client import APIClient, ConnectionSettings
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import garbage, reply

KEEPING = ConnectionSettings(cookies=True)


def setting(*fields: bytes) -> object:
    """A reply with these ``Set-Cookie`` fields, byte for byte."""
    lines = b"".join(b"Set-Cookie: " + field + b"\r\n" for field in fields)
    return garbage(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n")


async def sent_back(server: FaultServer, url: str, *fields: bytes) -> str | None:
    """Return the ``Cookie`` field of the request after a reply that sets these cookies."""
    server.script(setting(*fields), reply(200))  # type: ignore[arg-type]  # a step
    async with APIClient(url, connection=KEEPING) as api:
        await soon(api.get("/"))
        await soon(api.get("/"))
    return server.requests[1].headers.get("Cookie")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize(
    "value",
    ["YWJjZA==", '"quoted"', '"a b"', '{"k":"v"}', "1,2", "a b", "a\\b", "é", "a@b:c/d?e", "%22", '"', ""],
)
@pytest.mark.one_loop
async def test_cookie_value_comes_back_as_sent(server: FaultServer, value: str, host: str) -> None:
    """Servers compare values letter by letter. Cookies of a host named by its address are kept, too."""
    url = server.url.replace("127.0.0.1", host)
    cookie = await sent_back(server, url, f"sid={value}; Path=/; HttpOnly".encode())
    assert cookie == f"sid={value}".encode().decode("latin-1")  # as the server reads fields


async def test_cookies_of_one_host_go_back_together(server: FaultServer) -> None:
    """A later value replaces an earlier one, and one that has expired is not sent."""
    fields = b"a=1", b'b="2"', b"a=3,4; Path=/", b"c=5; Max-Age=0"
    assert await sent_back(server, server.url, *fields) == 'a=3,4; b="2"'


@pytest.mark.one_loop
async def test_cookie_of_address_stays_there(server: FaultServer) -> None:
    """A cookie of one address is neither sent to another host nor accepted for a domain (RFC 6265 section 5.1.3)."""
    server.script(setting(b"sid=1", b"other=2; Domain=0.0.1"), reply(200))  # type: ignore[arg-type]  # a step
    async with APIClient(None, connection=KEEPING) as api:
        await soon(api.get(server.url))
        await soon(api.get(server.url.replace("127.0.0.1", "localhost")))
        await soon(api.get(server.url))
    assert [request.headers.get("Cookie") for request in server.requests] == [None, None, "sid=1"]


@pytest.mark.one_loop
async def test_cookies_are_off_by_default(server: FaultServer) -> None:
    """Negative control: a client that was not asked to keep cookies sends none."""
    server.script(setting(b"sid=1"), reply(200))  # type: ignore[arg-type]  # a step
    async with APIClient(server.url) as api:
        await soon(api.get("/"))
        await soon(api.get("/"))
    assert server.requests[1].headers.get("Cookie") is None
