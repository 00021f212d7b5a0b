"""The rule of retried bodies: a repeat carries the same bytes, or it does not take place."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.behaviour.support import failure, soon

from resilient_client import APIClient, Retry
from resilient_client.testing._fault_server import FaultServer, refused_url
from resilient_client.testing.faults import drop, echo, reply

pytestmark = pytest.mark.usefixtures("both_paths")

EAGER = Retry(max_attempts=3, backoff=lambda _: 0.0)
"""Three attempts, no pause."""


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """A client that retries at once."""
    async with APIClient(server.url, retry=EAGER) as api:
        yield api


async def _pieces() -> AsyncIterator[bytes]:
    yield b"one "
    yield b"shot"


def _iterator() -> Iterator[bytes]:
    yield from (b"one ", b"shot")


class _Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("make", [_pieces, _iterator, lambda: _Unseekable(b"one shot")], ids=["async", "sync", "file"])
async def test_one_shot_body_is_sent_once(server: FaultServer, api: APIClient, make: Callable[[], Any]) -> None:
    """What can be read only once is never resent, let alone empty."""
    server.script(drop())
    error = await failure(api.put("/", content=make()))
    assert [request.body for request in server.requests] == [b"one shot"]
    assert "one-shot" in str(error)


async def test_one_shot_body_that_never_left_is_not_spent() -> None:
    """Where no connection was had, nothing was read, and another attempt is made."""
    async with APIClient(refused_url(), retry=EAGER) as api:
        error = await failure(api.put("/", content=_pieces()))
    assert error.attempts == 3


async def _whole() -> AsyncIterator[bytes]:
    yield b"whole "
    yield b"body"


def _file() -> io.BytesIO:
    file = io.BytesIO(b"xxwhole body")
    file.seek(2)
    return file


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"content": b"whole body"},
        lambda: {"content": "whole body"},
        lambda: {"content": _file()},
        lambda: {"content": [b"whole ", b"body"]},
        lambda: {"content": lambda: [b"whole ", b"body"]},
        lambda: {"content": _whole},
        lambda: {"content": b"whole body" * 50_000},
        lambda: {"json": {"whole": "body"}},
        lambda: {"data": {"whole": "body"}},
        lambda: {"files": {"file": ("body.bin", _file())}},
        lambda: {"data": {"whole": "body"}, "files": {"file": b"content"}},
    ],
    ids=["bytes", "text", "file", "list", "factory", "async factory", "large", "json", "form", "files", "mixed"],
)
async def test_replayable_body_is_resent_whole(
    server: FaultServer, api: APIClient, make: Callable[[], dict[str, Any]]
) -> None:
    """Each attempt carries the same bytes, from where a file stood when it was given."""
    server.script(drop(), reply(503), echo())
    response = await soon(api.put("/", **make()))
    first, *others = [_content(request.body) for request in server.requests]
    assert (response.status, others) == (200, [first, first])
    assert b"whole" in first
    assert b"body" in first
    assert b"xx" not in first


async def test_file_on_disk_is_resent_whole(server: FaultServer, api: APIClient, tmp_path: Path) -> None:
    """A path is opened anew for each attempt."""
    (tmp_path / "body.bin").write_bytes(b"whole body")
    server.script(drop(), reply(503), echo())
    await soon(api.put("/", content=tmp_path / "body.bin"))
    assert [request.body for request in server.requests] == [b"whole body"] * 3


async def test_one_shot_body_without_retry(server: FaultServer, api: APIClient) -> None:
    """The control: nothing is wrong with a one-shot body as such."""
    assert (await soon(api.put("/", content=_pieces()))).attempts == 1
    assert [request.body for request in server.requests] == [b"one shot"]


def _content(body: bytes) -> bytes:
    """The body without its multipart boundary, which is another one each time."""
    boundary = body.partition(b"\r\n")[0]
    return body.replace(boundary, b"") if boundary.startswith(b"--") else body
