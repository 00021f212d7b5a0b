"""Name lookups through the operating system, in threads of our own, so that names that hang stop nothing else.

A lookup cannot be interrupted: a thread is held until the system gives up, which takes it many seconds. So the number
of threads is bounded per client, a name holds at most one of them, and some are kept for names that were found before:
however many unknown names hang, they do not hold up a name that is known to work.
"""

from __future__ import annotations

import asyncio
import copy
import socket
import sys
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from resilient_client._transport.threads import Threads
from resilient_client._transport.trace import WireTrace, current_trace

_THREADS: Final = 96
"""Threads for names that were not found before. About as many as the calls of one client that can wait at once."""
_THREADS_FOR_KNOWN: Final = 32
"""Threads for names that were found before. They use those above, too, where these are taken."""
_KEPT_NAMES: Final = 1024

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_Key: TypeAlias = tuple[str, int]


AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]
"""One address to connect to, as ``socket.getaddrinfo`` returns it."""


class _Address(NamedTuple):
    host: str  # of IPv6 with its zone
    family: int
    protocol: int
    zone: int = 0

    def with_port(self, port: int) -> AddressInfo:
        host = self.host.partition("%")[0]
        at = (host, port, 0, self.zone) if self.family == socket.AF_INET6 else (host, port)
        return self.family, socket.SOCK_STREAM, self.protocol, "", at


class _Answer(NamedTuple):
    addresses: deque[_Address]
    expires: float


class SystemResolver(AbstractResolver):
    """The system's resolver with a cache. Belongs to one event loop.

    Named explicitly, because aiohttp's default changes as soon as aiodns is installed. It replaces aiohttp's cache,
    too: there, a call that joins a lookup already under way cannot be told from one that connects.
    """

    def __init__(self, ttl: float | None) -> None:
        """Start no thread yet.

        Args:
            ttl: Seconds for which an answer is used again. ``None``: not at all, but concurrent lookups are shared.
        """
        self._loop = asyncio.get_running_loop()
        self._ttl = ttl
        self._answers: OrderedDict[_Key, _Answer] = OrderedDict()  # expired ones, too: such names are known to work
        self._lookups: dict[_Key, _Lookup] = {}
        self._threads = Threads("resilient-client-lookup", _THREADS)
        self._threads_for_known = Threads("resilient-client-lookup", _THREADS_FOR_KNOWN)
        self._closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """For aiohttp: the addresses of ``host``, beginning with another one each time.

        Raises:
            OSError: As ``addresses`` does.
        """
        found = await self._find((host, int(family)), current_trace.get())
        return [
            ResolveResult(hostname=host, host=at, port=port, family=kind, proto=protocol, flags=_NUMERIC)
            for at, kind, protocol, _ in found
        ]

    async def addresses(self, host: str, port: int, trace: WireTrace) -> list[AddressInfo]:
        """The addresses of ``host``, beginning with another one each time.

        Args:
            host: A name in ASCII.
            port: The port, which becomes part of each address.
            trace: Where the lookup is marked, if one is needed.

        Raises:
            OSError: The name cannot be resolved, or nothing is left to resolve it with.
        """
        return [address.with_port(port) for address in await self._find((host, socket.AF_UNSPEC), trace)]

    async def _find(self, key: _Key, trace: WireTrace | None) -> deque[_Address]:
        answer = self._answers.get(key)
        if answer is None or answer.expires <= self._loop.time():
            if trace is not None:
                trace.resolving, trace.resolved = trace.clock(), None
            found = await self._wait(key)
            if trace is not None:
                trace.resolved = trace.clock()
        else:
            self._answers.move_to_end(key)
            found = answer.addresses
        found.rotate(-1)
        return found

    async def close(self) -> None:
        """Drop all lookups; see ``shut``."""
        self.shut()

    def shut(self) -> None:
        """Drop the lookups that have not begun, fail the calls that wait, and let the threads end as they get free."""
        self._closed = True
        for lookup in list(self._lookups.values()):
            lookup.job.cancel()
            lookup.settle(OSError("the client was closed"))
        self._lookups.clear()
        self._threads.shutdown()
        self._threads_for_known.shutdown()

    async def _wait(self, key: _Key) -> deque[_Address]:
        """Join the lookup of this name, or begin it. When the last waiter leaves, it is dropped unless it runs."""
        if self._closed:
            raise OSError("the client was closed")
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = _Lookup(self, key)
            lookup.job = self._loop.run_in_executor(self._free_threads(key), lookup.run)
            self._lookups[key] = lookup
        waiter: asyncio.Future[deque[_Address]] = self._loop.create_future()
        lookup.waiters.add(waiter)
        try:
            return await waiter
        finally:
            lookup.waiters.discard(waiter)
            if not lookup.waiters and not lookup.done:
                lookup.job.cancel()  # a thread that has begun goes on, and its answer is kept
                if not lookup.begun:
                    self._forget(lookup)

    def _free_threads(self, key: _Key) -> Threads:
        known = key in self._answers and (not self._threads_for_known.full or self._threads.full)
        return self._threads_for_known if known else self._threads

    def finish(self, lookup: _Lookup, found: deque[_Address] | Exception) -> None:
        """Keep the answer and hand it to all who wait for it."""
        self._forget(lookup)
        if isinstance(found, Exception):
            self._answers.pop(lookup.key, None)
        else:
            self._answers[lookup.key] = _Answer(found, self._loop.time() + (self._ttl or 0.0))
            self._answers.move_to_end(lookup.key)
            if len(self._answers) > _KEPT_NAMES:
                self._answers.popitem(last=False)
        lookup.settle(found)

    def _forget(self, lookup: _Lookup) -> None:
        if self._lookups.get(lookup.key) is lookup:
            del self._lookups[lookup.key]


class _Lookup:
    """One lookup under way.

    Attributes:
        job: Cancelled to drop the lookup. It has no effect on a thread that has begun.
        begun: Whether a thread works on it.
        done: Whether its waiters have the answer.
        waiters: One future per call that waits.
    """

    __slots__ = ("_resolver", "begun", "done", "job", "key", "waiters")

    job: asyncio.Future[None]

    def __init__(self, resolver: SystemResolver, key: _Key) -> None:
        self._resolver = resolver
        self.key = key
        self.begun = self.done = False
        self.waiters: set[asyncio.Future[deque[_Address]]] = set()

    def run(self) -> None:
        """Look the name up. Runs in a thread."""
        self.begun = True
        found: deque[_Address] | Exception
        try:
            found = deque(_look_up(*self.key))
        except Exception as error:
            found = error
        with suppress(RuntimeError):  # the loop was closed in the meantime
            self._resolver._loop.call_soon_threadsafe(self._resolver.finish, self, found)

    def settle(self, found: deque[_Address] | Exception) -> None:
        """Give every waiter the answer. An error is copied: a shared one would collect the traceback of each call."""
        self.done = True
        for waiter in self.waiters:
            if waiter.done():
                continue
            if isinstance(found, Exception):
                waiter.set_exception(copy.copy(found) if isinstance(found, OSError) else found)
            else:
                waiter.set_result(found)


def _look_up(host: str, family: int) -> list[_Address]:
    """Ask the system, and wait for its answer.

    Raises:
        OSError: There is no address, or the process has no file left to ask with.
    """
    try:
        found = _getaddrinfo(host, family)
    except socket.gaierror:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()  # without a free file no name is found: raise that
        raise
    addresses = [address for each in found if (address := _address(*each)) is not None]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "the name has no address that can be used here")
    return addresses


def _getaddrinfo(host: str, family: int) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
    flags = socket.AI_ADDRCONFIG
    if sys.platform == "win32" and host.rstrip(".").casefold() == "localhost":
        flags = socket.AddressInfo(0)  # Windows knows no localhost on a machine without a network
    return list(socket.getaddrinfo(host, 0, family=family, type=socket.SOCK_STREAM, flags=flags))


def _address(family: int, _kind: int, protocol: int, _name: str, at: tuple[object, ...]) -> _Address | None:
    if family == socket.AF_INET6:
        if len(at) < 4:  # a Python without IPv6
            return None
        if at[3]:  # a link-local address needs its zone
            numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
            host, _ = socket.getnameinfo(at, numeric)  # type: ignore[arg-type]  # what getaddrinfo gives
            return _Address(host, family, protocol, int(str(at[3])))
    return _Address(str(at[0]), family, protocol)
