"""The same server as ``server.c``, where that cannot be compiled: ``python fallback.py FD FOLDER [PEM]``.

It answers requests in their order, with replies made in advance. It needs several times the CPU of the C program, on
its own core. Ratios stay valid, but a client as fast as wreq has to wait for it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import sys
from pathlib import Path

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def reply(status: bytes, kind: bytes, body: bytes) -> bytes:
    """Return a whole reply."""
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, kind, len(body), body)


BUSY = reply(b"503 Service Unavailable", b"text/plain", b"busy")
NONE = reply(b"404 Not Found", b"text/plain", b"none")


class Routes:
    """The replies by name, and the number of requests below ``/fail10/``."""

    def __init__(self, folder: Path) -> None:
        self.replies = {
            file.name.encode(): reply(b"200 OK", b"application/json", file.read_bytes()) for file in folder.iterdir()
        }
        self.fail10_requests = 0

    def find(self, path: bytes) -> bytes:
        """Return the reply to a path."""
        name = path.partition(b"?")[0].removeprefix(b"/")
        if name.startswith(b"fail10/"):
            self.fail10_requests += 1
            if self.fail10_requests % 10 == 0:
                return BUSY
        return self.replies.get(name.removeprefix(b"fail10/"), NONE)


class Connection(asyncio.Protocol):
    """Answers each request when its body is complete."""

    def __init__(self, routes: Routes) -> None:
        self.routes = routes
        self.rest = b""
        self.reply: bytes | None = None
        self.body = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the replies."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer all complete requests."""
        self.rest += data
        while self.reply is not None or self.read_head():
            taken = min(self.body, len(self.rest))
            self.rest, self.body = self.rest[taken:], self.body - taken
            if self.body:
                return
            self.transport.write(self.reply)  # type: ignore[attr-defined]  # a TCP transport can write
            self.reply = None

    def read_head(self) -> bool:
        """Take a complete head from the input, and look up its reply. Return False if there is none."""
        head, end, rest = self.rest.partition(b"\r\n\r\n")
        if not end:
            return False
        self.rest = rest
        self.reply = self.routes.find(head.split(b" ", 2)[1])
        length = LENGTH.search(head)
        self.body = int(length[1]) if length else 0
        return True


async def main(fd: int, folder: Path, pem: str | None = None) -> None:
    """Serve until standard input ends, which is when the parent process ends."""
    loop = asyncio.get_running_loop()
    routes, ended = Routes(folder), asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    context = None
    if pem is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
    listener = socket.socket(fileno=fd)
    async with await loop.create_server(lambda: Connection(routes), sock=listener, ssl=context):
        await ended.wait()


if __name__ == "__main__":
    try:
        import uvloop as loops
    except ImportError:
        loops = asyncio  # type: ignore[assignment]  # both can run a coroutine
    loops.run(main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
