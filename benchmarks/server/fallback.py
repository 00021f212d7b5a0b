"""The same as ``server.c``, for where it cannot be compiled: ``python fallback.py FD FOLDER``.

Answers, in the order of their requests, with replies made in advance. It takes several times the CPU of the C program,
on its own core; ratios stay true, but a client as fast as wreq has to wait for it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from pathlib import Path

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def reply(status: bytes, kind: bytes, body: bytes) -> bytes:
    """A whole reply."""
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, kind, len(body), body)


BUSY = reply(b"503 Service Unavailable", b"text/plain", b"busy")
NONE = reply(b"404 Not Found", b"text/plain", b"none")


class Routes:
    """The replies by name, and how often ``/fail10/`` was asked."""

    def __init__(self, folder: Path) -> None:
        self.replies = {
            file.name.encode(): reply(b"200 OK", b"application/json", file.read_bytes()) for file in folder.iterdir()
        }
        self.asked = 0

    def find(self, path: bytes) -> bytes:
        """What is answered."""
        name = path.partition(b"?")[0].removeprefix(b"/")
        if name.startswith(b"fail10/"):
            self.asked += 1
            if self.asked % 10 == 0:
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
        """Keep the way back."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self.rest += data
        while self.reply is not None or self.read_head():
            taken = min(self.body, len(self.rest))
            self.rest, self.body = self.rest[taken:], self.body - taken
            if self.body:
                return
            self.transport.write(self.reply)  # type: ignore[attr-defined]  # a TCP transport can write
            self.reply = None

    def read_head(self) -> bool:
        """Take a complete head off the input, and note what it asks for."""
        head, end, rest = self.rest.partition(b"\r\n\r\n")
        if not end:
            return False
        self.rest = rest
        self.reply = self.routes.find(head.split(b" ", 2)[1])
        length = LENGTH.search(head)
        self.body = int(length[1]) if length else 0
        return True


async def main(fd: int, folder: Path) -> None:
    """Serve until standard input ends, with whoever started this."""
    loop = asyncio.get_running_loop()
    routes, ended = Routes(folder), asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    async with await loop.create_server(lambda: Connection(routes), sock=socket.socket(fileno=fd)):
        await ended.wait()


if __name__ == "__main__":
    try:
        import uvloop as loops
    except ImportError:
        loops = asyncio  # type: ignore[assignment]  # both can run a coroutine
    loops.run(main(int(sys.argv[1]), Path(sys.argv[2])))
