"""A client that is closed, or whose loop ends, at any stage of its requests leaves no connection, task or file."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
from tests.behaviour.raw_server import Peer, RawServer, keeps_nothing, open_connections, open_sockets, raw_client, until
from tests.behaviour.support import failure, in_use, soon

from resilient_client import APIClient, APIError, CallCancelledError, ErrorKind, Stage

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def half(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD + b"hello")
    await peer.gone()


async def get(api: APIClient, url: str = "/") -> bytes:
    return (await api.get(url)).content


async def stream(api: APIClient, url: str = "/") -> bytes:
    async with api.stream("GET", url) as got:
        return await got.read()


@contextlib.contextmanager
def unanswered_port() -> Iterator[str]:
    """A port whose queue of connections is full, so that no more is answered."""
    with socket.socket() as listener, contextlib.ExitStack() as clients:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


READS = pytest.mark.parametrize("read", [get, stream])
TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
Read = Callable[[APIClient], Awaitable[bytes]]


async def closed(api: APIClient, read: Read, reached: Callable[[], bool]) -> APIError:
    """Close the client while a call is in flight, and return its error."""
    call = asyncio.create_task(read(api))
    await until(reached)
    await soon(api.close())
    error = await failure(call)
    assert in_use(api) == 0
    await until(lambda: open_connections(api) == 0)
    return error


@READS
@TLS
@pytest.mark.parametrize("serve", [silent, half])
async def test_client_closed_in_flight(read: Read, tls: bool, serve: Callable[[Peer], Awaitable[None]]) -> None:
    """The call ends at once, and the server sees the connection closed."""
    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls) as server:
            api = raw_client(server)
            error = await closed(api, read, lambda: server.hits == 1)
            assert isinstance(error, CallCancelledError)
            assert (error.maybe_processed, server.hits) == (True, 1)
            await until(lambda: server.open == 0)
        await check()


async def test_client_closed_while_connecting() -> None:
    """Nothing was sent."""
    with keeps_nothing() as check:
        with unanswered_port() as url:
            api = raw_client(url)
            error = await closed(api, get, lambda: in_use(api) == 1)
            assert (error.stage, error.maybe_processed) == (Stage.CONNECT, False)
        await check()


async def test_client_closed_in_handshake() -> None:
    """The socket is closed, too."""
    gone: list[bool] = []

    async def mute(peer: Peer) -> None:
        gone.append(await peer.gone())

    with keeps_nothing() as check:
        async with RawServer(mute) as server:
            api = raw_client(server.url.replace("http:", "https:"))
            error = await closed(api, get, lambda: server.connections == 1)
            assert (error.stage, error.maybe_processed) == (Stage.TLS, False)
            await until(lambda: gone == [True])
        await check()


@TLS
async def test_client_closed_with_an_open_stream(tls: bool) -> None:
    """Its reader gets an error, whether it waits or reads later."""
    for waits in (True, False):
        with keeps_nothing() as check:
            async with RawServer(half, tls=tls) as server:
                api = raw_client(server)
                async with api.stream("GET", "/") as got:
                    pieces = aiter(got.iter_bytes())
                    assert await soon(anext(pieces)) == b"hello"
                    if waits:
                        waiting = asyncio.ensure_future(anext(pieces))
                        await asyncio.sleep(0)
                        await soon(api.close())
                        error = await failure(waiting)
                    else:
                        await soon(api.close())
                        error = await failure(anext(pieces))
                    assert isinstance(error, CallCancelledError), error
                assert in_use(api) == 0
                await until(lambda: server.open == 0)
            await check()


@READS
@TLS
async def test_call_cancelled_in_flight(read: Read, tls: bool) -> None:
    """At each moment the connection is closed with the call, as its response may still come."""
    for serve in (silent, half):
        with keeps_nothing() as check:
            async with RawServer(serve, tls=tls) as server, raw_client(server) as api:
                for count in range(1, 8):
                    call = asyncio.create_task(read(api))
                    if count > 5:
                        await until(lambda: server.hits > 0 and in_use(api) == 1)
                    for _ in range(count):
                        await asyncio.sleep(0)
                    call.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await soon(call)
                    assert in_use(api) == 0
                    await until(lambda: open_connections(api) == 0)
                await until(lambda: server.open == 0)
            await check()


@READS
@TLS
async def test_transport_closed_in_flight(read: Read, tls: bool) -> None:
    """A request that nothing else cancels is told, and does not wait for its deadline."""
    async with RawServer(half, tls=tls) as server, raw_client(server) as api:
        call = asyncio.create_task(read(api))
        await until(lambda: server.hits == 1)
        api._runtime.transport._direct_path.close()  # type: ignore[attr-defined]  # not public
        assert (await failure(call)).kind is ErrorKind.DISCONNECTED


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
with contextlib.suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


@TLS
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("stage", ["connecting", "handshake", "in flight", "stream", "idle"])
def test_loop_ends(tls: bool, stage: str, loop: str) -> None:
    """The end of a loop cancels what runs. The client is used again on the next loop, and nothing warns."""

    async def reply(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(HEAD + b"hellohello")

    async def mute(peer: Peer) -> None:
        await peer.gone()

    serve = {"handshake": mute, "in flight": silent, "stream": half}.get(stage, reply)
    speaks_tls = tls or stage == "handshake"
    api = raw_client(None)

    async def first() -> None:
        async with RawServer(serve, tls=tls and stage != "handshake") as server:
            url = server.url.replace("http:", "https:") if speaks_tls else server.url
            call = asyncio.create_task((stream if stage == "stream" else get)(api, url))
            if stage == "idle":
                await call
            elif stage != "connecting":
                await until(lambda: server.connections == 1 and in_use(api) == 1)
                await asyncio.sleep(0.01)

    async def second() -> None:
        async with RawServer(reply, tls=tls) as server:
            assert await soon(get(api, server.url)) == b"hellohello"
            await api.close()

    sockets = open_sockets()
    for main in (first, second):
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(main())
    assert open_sockets() == sockets
