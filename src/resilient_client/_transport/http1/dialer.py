"""Makes connections: looks the name up, connects by happy eyeballs (RFC 8305), and does the TLS handshake.

Each step is marked in the trace of the request exactly when it happens, so an attempt that ends here knows its stage.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from typing import Final

import aiohappyeyeballs

from resilient_client._transport.http1.connection import Connection
from resilient_client._transport.resolver import AddressInfo, SystemResolver
from resilient_client._transport.trace import WireTrace

_FALLBACK_DELAY: Final = 0.25  # seconds before the next address is tried, too (RFC 8305 section 5)


class CannotConnect(Exception):  # noqa: N818 - internal: the transport translates it
    """There is no connection. ``cause`` is the error of the system or of ``ssl``."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class NameNotResolved(CannotConnect):
    """The name has no address."""


class ConnectionRefused(CannotConnect):
    """No address accepts a TCP connection."""


class HandshakeFailed(CannotConnect):
    """The TLS handshake failed."""


class Dialer:
    """Makes connections for one client. Belongs to one event loop, and owns nothing that must be closed."""

    def __init__(
        self, tls: ssl.SSLContext | bool, resolver: SystemResolver, new_connection: Callable[[], Connection]
    ) -> None:
        """Connect with these settings.

        Args:
            tls: As in ``ConnectionSettings``.
            resolver: Looks names up.
            new_connection: Makes the protocol of a connection.
        """
        self._tls = tls
        self._resolver = resolver
        self._new_connection = new_connection
        self._loop = asyncio.get_running_loop()

    async def connect(self, host: str, port: int, trace: WireTrace) -> Connection:
        """A new connection.

        Where an address accepts a connection, but its TLS handshake fails, the others are tried.

        Args:
            host: The host of the URL: a name in ASCII (IDNA), or an address without brackets.
            port: The port.
            trace: Of the request; tells whether TLS is spoken.

        Raises:
            CannotConnect: In one of its three kinds.
        """
        addresses = await self._addresses(host, port, trace)
        trace.connecting = trace.clock()
        while True:
            trace.connected = None
            try:
                sock = await aiohappyeyeballs.start_connection(
                    addresses,
                    happy_eyeballs_delay=_FALLBACK_DELAY,
                    interleave=1,
                    loop=self._loop,
                    socket_factory=_make_socket,
                )
            except OSError as error:
                failure: CannotConnect = ConnectionRefused(error)
                break
            trace.connected = trace.clock()
            addresses = _without(addresses, sock)  # a handshake that fails closes the socket, which then cannot tell
            try:
                return await self._open(sock, host, trace.tls)
            except OSError as error:  # ssl.SSLError and ssl.CertificateError are such errors
                failure = HandshakeFailed(error)
            sock.close()
            if not addresses:
                break
        try:
            raise failure
        finally:
            del failure  # an error whose frame refers to it is freed only by the collector

    async def _addresses(self, host: str, port: int, trace: WireTrace) -> list[AddressInfo]:
        if (literal := _literal(host, port)) is not None:
            return [literal]
        try:
            return await self._resolver.addresses(host, port, trace)
        except OSError as error:
            failure = NameNotResolved(error)
        try:
            raise failure
        finally:
            del failure

    async def _open(self, sock: socket.socket, host: str, tls: bool) -> Connection:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if tls:
                _, connection = await self._loop.create_connection(
                    self._new_connection, sock=sock, ssl=_context(self._tls), server_hostname=host.rstrip(".")
                )
            else:
                _, connection = await self._loop.create_connection(self._new_connection, sock=sock)
        except asyncio.CancelledError:
            sock.close()
            raise
        return connection


def _make_socket(address: AddressInfo) -> socket.socket:
    return socket.socket(*address[:3])


def _literal(host: str, port: int) -> AddressInfo | None:
    """The address that ``host`` is, or ``None`` for a name."""
    if not (host[-1:].isdigit() or ":" in host):
        return None
    name, _, zone = host.partition("%")
    try:
        version = ip_address(name).version
    except ValueError:
        return None
    if version == 4:
        return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)
    scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
    return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (name, port, 0, scope)


def _without(addresses: list[AddressInfo], sock: socket.socket) -> list[AddressInfo]:
    """The addresses other than that of the socket, to try next; none if the socket does not tell."""
    try:
        peer = sock.getpeername()
    except OSError:
        return []
    return [address for address in addresses if address[4][:2] != peer[:2]]


@cache
def _default_context(*, verify: bool) -> ssl.SSLContext:
    """The context for ``tls=True`` or ``tls=False``. Made once per process: it reads the system's authorities."""
    if verify:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _context(tls: ssl.SSLContext | bool) -> ssl.SSLContext:
    return tls if isinstance(tls, ssl.SSLContext) else _default_context(verify=tls)
