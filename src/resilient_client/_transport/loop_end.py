"""Closes the connections of an event loop that ends before its client is closed.

A client may outlive its loop: tests run an application repeatedly, each time on a new loop, over one shared client.
Only a running loop closes a connection in the regular way, and a loop that is closed with connections left reports each
of them as unclosed. So idle connections are closed when the loop shuts down (``watch``). A loop that is closed without
shutting down first leaves them open, and their sockets are closed directly (``drop_session``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, TypeAlias, TypeVar
from weakref import ref

import aiohttp

from resilient_client._transport.aiohttp_internals import idle_connections

Watch = AsyncGenerator[None, None]
"""Keep it as long as its owner is in use, then close it. The loop knows it by a weak reference only."""

Transports: TypeAlias = Iterable[asyncio.Transport]
_Owner = TypeVar("_Owner")


def watch(owner: _Owner, idle_of: Callable[[_Owner], Transports]) -> Watch:
    """Close the idle connections of ``owner``, which ``idle_of`` finds, when the running loop shuts down.

    asyncio announces the end of a loop to nobody but async generators: ``loop.shutdown_asyncgens()``, which
    ``asyncio.run()`` and the like call, closes each one that has begun. So one is begun here and waits for that.
    """
    watching = _until_closed(ref(owner), idle_of)
    try:
        watching.__anext__().send(None)  # runs it up to its yield, which suspends nothing
    except StopIteration:
        pass
    return watching


async def _until_closed(owner: ref[_Owner], idle_of: Callable[[_Owner], Transports]) -> Watch:
    try:
        yield
    finally:
        alive = owner()
        idle = [] if alive is None else list(idle_of(alive))
        for transport in idle:
            transport.abort()
        if idle:
            await asyncio.sleep(0)  # asyncio closes the sockets in the next iteration of the loop


def drop_session(session: aiohttp.ClientSession) -> None:
    """Close a session whose event loop is closed, with its idle connections. Warns of nothing."""
    idle = idle_of_session(session)
    closing: Any = session.close()
    try:
        closing.send(None)  # a coroutine; with a closed loop it has nothing to wait for
    except StopIteration:
        pass
    else:
        closing.close()
    for transport in idle:
        drop_connection(transport)


def idle_of_session(session: aiohttp.ClientSession) -> list[asyncio.Transport]:
    """The connections that a session keeps for reuse."""
    connector = getattr(session, "connector", None)  # a session in memory has none
    protocols = [] if connector is None else idle_connections(connector)
    return [protocol.transport for protocol in protocols if protocol.transport is not None]


def drop_connection(transport: asyncio.BaseTransport) -> None:
    """Close the socket of a connection whose event loop is closed. The server sees the end of the connection."""
    _ignore_closed_loop(getattr(transport, "abort", transport.close))
    socket_transport = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None) or transport
    # The last step of asyncio's own ``abort``, which the closed loop refused to call. uvloop has closed the socket.
    lost = getattr(socket_transport, "_call_connection_lost", None)
    if lost is not None:
        _ignore_closed_loop(lost, None)


def _ignore_closed_loop(close: Any, *arguments: object) -> None:
    try:
        close(*arguments)
    except RuntimeError:  # the loop refuses a callback; what matters was done before that
        pass
