"""An event loop that is blocked does not turn bytes that have arrived into silence."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.behaviour.raw_server import raw_client, tls_contexts, until
from tests.behaviour.support import failure, soon

from resilient_client import APITimeoutError, Stage, Timeout

pytestmark = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])

IDLE = 0.1
PAUSE = 0.02
LIMITS = Timeout(total=30, attempt=30, idle=IDLE)


@contextmanager
def answering(*pieces: bytes, tls: bool) -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """A server in a thread, which sends the pieces of a reply with a pause after each.

    Yields its URL, and events for the moments when it has received the request, and has sent everything.
    """
    received, sent = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)

    def serve() -> None:
        with suppress(OSError):
            plain, _ = listener.accept()
            plain.settimeout(20)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock = tls_contexts()[0].wrap_socket(plain, server_side=True) if tls else plain
            with plain, sock:
                sock.recv(65536)
                received.set()
                for piece in pieces:
                    sock.sendall(piece)
                    time.sleep(PAUSE)
                sent.set()
                while sock.recv(65536):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}", received, sent
    finally:
        listener.close()
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


def block_soon(sent: threading.Event) -> None:
    """Block the loop until the server has sent all, and for much longer than ``idle``, in timers that set others."""
    loop = asyncio.get_running_loop()

    def block() -> None:
        sent.wait(20)
        time.sleep(1.2 * IDLE)
        loop.call_later(0.001, time.sleep, 0.01)  # with which uvloop looks at the clock anew
        loop.call_soon(time.sleep, 0.01)

    loop.call_later(0.001, block)
    loop.call_later(IDLE * 1.1, block)


async def test_reply_that_arrived_while_the_loop_was_blocked(tls: bool) -> None:
    """It is read before anything is called silence."""
    with answering(b"", HEAD + b"helloworld", tls=tls) as (url, received, sent):
        async with raw_client(url, timeout=LIMITS) as api:
            call = asyncio.create_task(api.get("/"))
            await until(received.is_set)
            block_soon(sent)
            assert (await soon(call)).content == b"helloworld"


async def test_piece_that_arrived_while_the_loop_was_blocked(tls: bool) -> None:
    """The same for a stream."""
    with answering(HEAD + b"hello", b"world", tls=tls) as (url, _, sent):
        async with raw_client(url, timeout=LIMITS) as api, api.stream("GET", "/") as stream:
            block_soon(sent)
            assert await soon(stream.read()) == b"helloworld"


async def test_silent_server_and_a_blocked_loop(tls: bool) -> None:
    """Negative control: a server that has sent nothing is silent, as soon as the loop runs again."""
    with answering(tls=tls) as (url, received, sent):
        async with raw_client(url, timeout=LIMITS) as api:
            call = asyncio.create_task(api.get("/"))
            await until(received.is_set)
            block_soon(sent)
            error = await failure(call)
    assert isinstance(error, APITimeoutError)
    assert error.stage is Stage.HEADERS
