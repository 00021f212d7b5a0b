"""A reply of very many very small parts holds neither the event loop nor memory."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.behaviour.raw_server import open_connections, raw_client, tls_contexts, until
from tests.behaviour.support import failure, soon

from resilient_client import APIClient, ErrorKind, Timeout
from resilient_client._transport.http1 import connection

MIB = 1024 * 1024
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMITS = Timeout(total=600, attempt=600)
LONGEST = 0.5
"""Seconds of processor time that a turn of the loop takes at most. About 0.05 on a usual machine."""


@contextmanager
def flooding(beginning: bytes, part: bytes, size: int, *, tls: bool, end: bytes = b"") -> Iterator[str]:
    """A server in a thread, which sends ``part`` as fast as the client reads, ``size`` bytes in all."""
    block = part * max(1, 65536 // len(part))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)

    def serve() -> None:
        with suppress(OSError):
            plain, _ = listener.accept()
            plain.settimeout(20)
            sock = tls_contexts()[0].wrap_socket(plain, server_side=True) if tls else plain
            with plain, sock:
                sock.recv(65536)
                sock.sendall(beginning)
                for _ in range(size // len(block)):
                    sock.sendall(block)
                sock.sendall(end)
                while sock.recv(65536):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        thread.join()


class Turns:
    """Measures the longest turn of the loop, in seconds of the thread's processor time."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last: float | None = None
        self._handle = asyncio.get_running_loop().call_soon(self._tick)

    def _tick(self) -> None:
        now = time.thread_time()
        if self._last is not None:
            self.longest = max(self.longest, now - self._last)
        self._last = now
        self._handle = asyncio.get_running_loop().call_soon(self._tick)

    def stop(self) -> None:
        self._handle.cancel()


async def buffered(api: APIClient) -> int:
    return len((await api.get("/", timeout=LIMITS)).content)


async def streamed(api: APIClient) -> int:
    size = 0
    async with api.stream("GET", "/", timeout=LIMITS) as stream:
        async for piece in stream.iter_bytes():
            size += len(piece)
    return size


Read = Callable[[APIClient], Awaitable[int]]
TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


async def longest_turn(read: Read, size: int, *, tls: bool) -> tuple[int, float]:
    """Read ``size`` bytes of chunks of one byte. Returns the size of the content, and the longest turn."""
    with flooding(CHUNKED, b"1\r\nx\r\n", size, tls=tls, end=b"0\r\n\r\n") as url:
        async with raw_client(url) as api:
            turns = Turns()
            content = await read(api)
            turns.stop()
    return content, turns.longest


@TLS
async def test_small_chunks_do_not_hold_the_loop(tls: bool) -> None:
    """Other tasks run in between, however much has arrived."""
    content, longest = await longest_turn(buffered, MIB // 2, tls=tls)
    assert content == MIB // 2 // 65532 * 10922
    assert longest < LONGEST


@pytest.mark.slow
@pytest.mark.parametrize("read", [buffered, streamed])
async def test_very_many_small_chunks(read: Read) -> None:
    """The same for 64 MiB of them."""
    content, longest = await longest_turn(read, 64 * MIB, tls=False)
    assert content == 64 * MIB // 65532 * 10922
    assert longest < LONGEST


@pytest.mark.slow
async def test_small_chunks_without_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: uvloop reads as long as there is something to read. Asyncio reads once per turn."""
    monkeypatch.setattr(connection, "_CHUNKS_PER_TURN", 2**40)
    _, longest = await longest_turn(buffered, 8 * MIB, tls=False)
    assert (longest > LONGEST) is ("uvloop" in type(asyncio.get_running_loop()).__module__)


async def test_small_chunks_take_little_memory() -> None:
    """A piece of one byte is not kept as an object of its own."""
    with flooding(CHUNKED, b"1\r\nx\r\n", MIB // 16, tls=False, end=b"0\r\n\r\n") as url:
        async with raw_client(url) as api:
            tracemalloc.start()
            try:
                await soon(buffered(api))
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert peak < 4 * MIB


FLOODS = {
    "interim replies": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", ErrorKind.PROTOCOL),
    "100 (Continue)": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", ErrorKind.PROTOCOL),
    "empty lines": (b"", b"\r\n", ErrorKind.PROTOCOL),
    "a status line": (b"HTTP/1.1 200 ", b"O", ErrorKind.TOO_LARGE),
    "a field": (b"HTTP/1.1 200 OK\r\nField: ", b"x", ErrorKind.TOO_LARGE),
    "a folded field": (b"HTTP/1.1 200 OK\r\nField: x\r\n", b" x\r\n", ErrorKind.TOO_LARGE),
    "fields": (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", ErrorKind.TOO_LARGE),
    "fields of bare lines": (b"HTTP/1.1 200 OK\n", b"a:\n", ErrorKind.TOO_LARGE),
    "trailer fields": (CHUNKED + b"0\r\n", b"A: b\r\n", ErrorKind.TOO_LARGE),
    "a chunk extension": (CHUNKED + b"1;a=", b"x", ErrorKind.TOO_LARGE),
    "zeros of a chunk size": (CHUNKED, b"0", ErrorKind.TOO_LARGE),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_endless_head_is_refused(flood: str) -> None:
    """After a few kilobytes: the connection is closed, the loop is not held, and little is kept."""
    beginning, part, kind = FLOODS[flood]
    with flooding(beginning, part, 4 * MIB, tls=False) as url:
        async with raw_client(url) as api:
            tracemalloc.start()
            try:
                turns = Turns()
                error = await failure(api.get("/", timeout=Timeout(total=30, attempt=30)))
                turns.stop()
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert error.kind is kind, error
            assert turns.longest < LONGEST
            assert peak < 4 * MIB
            await until(lambda: open_connections(api) == 0)
