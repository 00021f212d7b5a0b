"""The rule of a body as text: by the charset that the server declares, whatever it declares; it never raises."""

from __future__ import annotations

import pytest
from tests.behaviour.support import client, soon

from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import reply

pytestmark = pytest.mark.one_loop


async def text_of(server: FaultServer, content: bytes, content_type: str) -> str:
    """What a reply with this body and media type reads as."""
    server.script(reply(body=content, headers={"Content-Type": content_type}))
    async with client(server) as api:
        return (await soon(api.get("/"))).text


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("grün".encode(), "text/plain"),
        ("grün".encode("latin-1"), "text/plain; charset=ISO-8859-1"),
        ("grün".encode("utf-16"), 'text/plain; charset="utf-16"'),
    ],
)
async def test_text_uses_declared_charset(server: FaultServer, content: bytes, content_type: str) -> None:
    """Quoted or not; UTF-8 where nothing is declared."""
    assert await text_of(server, content, content_type) == "grün"


@pytest.mark.parametrize(
    "charset", ["nonsense", "hex", "base64", "zlib", "rot13", "idna", "punycode", "undefined", "unicode_escape"]
)
async def test_unknown_charset_is_utf_8(server: FaultServer, charset: str) -> None:
    """Python has codecs that are no charsets, and a server may name any of them."""
    assert await text_of(server, "grün".encode() + b"\xff", f"text/plain; charset={charset}") == "grün\ufffd"
