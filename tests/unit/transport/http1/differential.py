"""Reads mutated replies with this parser, with aiohttp's and with h11, and explains each difference by a rule.

::

    python -m tests.unit.transport.http1.differential SECONDS [SEED]

prints what differs how often, and every difference that no rule explains. ``make proofs`` runs a bounded number.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import h11
from aiohttp import http_exceptions
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpResponseParser
from tests.unit.transport.http1.replies import parse

DATA = Path(__file__).parents[3] / "data" / "http1"


class Reading(NamedTuple):
    """What a parser makes of a reply. A reply that is refused, or not complete at its end, has only a reason."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    refused: str = ""


# -- the parsers


def ours(reply: bytes, method: str) -> Reading:
    """This project's."""
    got = parse(reply, method, orderly=True)
    if not got.complete:
        return Reading(refused=got.detail or "incomplete")
    return Reading(got.status, tuple((name.lower(), value) for name, value in got.headers), got.body)


class AiohttpParser:
    """aiohttp's, in C, which stands on llhttp."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._protocol = BaseProtocol(self._loop)

    def __call__(self, reply: bytes, method: str) -> Reading:
        """Read a reply as aiohttp's client does."""
        parser = HttpResponseParser(
            self._protocol,
            self._loop,
            2**16,
            max_line_size=8190,
            max_field_size=8190,
            max_headers=128,
            response_with_body=method != "HEAD",
            read_until_eof=True,
            auto_decompress=False,
        )
        try:
            messages, upgraded, _ = parser.feed_data(reply)
            parser.feed_eof()
        except http_exceptions.HttpProcessingError as error:
            return Reading(refused=type(error).__name__)
        if upgraded:
            return Reading(refused="upgraded")
        for message, payload in messages:
            if message.code >= 200:
                error = payload.exception()
                if error is not None or not payload.is_eof():
                    return Reading(refused=type(error).__name__)
                headers = tuple((name.lower(), value.strip(" \t")) for name, value in message.headers.items())
                return Reading(message.code, headers, b"".join(getattr(payload, "_buffer", ())))
        return Reading(refused="incomplete")

    def close(self) -> None:
        """Close its loop."""
        self._loop.close()


def h11_parser(reply: bytes, method: str) -> Reading:
    """h11's, which httpx stands on."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    found, body = None, b""
    try:
        connection.receive_data(reply)
        connection.receive_data(b"")
        while True:
            match event := connection.next_event():
                case h11.Response():
                    found = event
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage() if found is not None:
                    headers = (
                        (name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in found.headers
                    )
                    return Reading(found.status_code, tuple(headers), body)
                case h11.InformationalResponse():
                    pass
                case _:
                    return Reading(refused="incomplete")
    except h11.RemoteProtocolError as error:
        return Reading(refused=str(error))


# -- the replies


def corpus() -> list[tuple[bytes, str]]:
    """Replies that are not too long, each with the method of the request."""
    rows = [
        json.loads(line) for name in ("curl", "llhttp") for line in (DATA / f"{name}.jsonl").read_text().splitlines()
    ]
    return [(row["reply"].encode("latin-1"), row.get("method", "GET")) for row in rows if len(row["reply"]) < 1_500]


PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n ", b" ", b"\t", b":", b",", b";", b"\0", b"\x7f", b"\xff", b"0", b"5"),
    *(b"\r\nContent-Length: 5", b"\r\nTransfer-Encoding: chunked", b"\r\nConnection: close", b"\r\nA: b\r\n c"),
    *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No Content", b"HTTP/1.0 200 OK", b"\r\n0\r\n\r\n"),
]


def mutated(reply: bytes, rng: random.Random) -> bytes:
    """The reply with a few changes, most of them near its head."""
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(min(len(reply), rng.choice([40, 400, 1500])) + 1)
        size = rng.choice([0, 0, 1, 1, 2, 8])
        piece = rng.choice([b"", rng.choice(PIECES), bytes([rng.randrange(256)]), reply[at : at + rng.randrange(60)]])
        reply = reply[:at] + piece + reply[at + size :]
    return reply


def mutants(seed: int) -> Iterator[tuple[bytes, str]]:
    """Yield replies without end, the same for the same seed."""
    rng, replies = random.Random(seed), corpus()
    while True:
        reply, method = rng.choice(replies)
        yield mutated(reply, rng), method


# -- the differences

INTERIM = re.compile(rb"HTTP/1\.\d 1\d\d.*?\n\r?\n", re.DOTALL)

# A reply that is accepted here and refused there is repaired in one respect after the other, until the other parser
# reads in it what was read here. What had to be repaired is the difference.


def without_excess(reply: bytes, method: str) -> bytes:
    """Cut off what follows the response."""
    complete = next((size for size in range(len(reply)) if parse(reply[:size], method).complete), len(reply))
    return reply[:complete]


def without_empty_lines(reply: bytes, _method: str) -> bytes:
    """Remove empty lines before status lines."""
    heads = b""
    while found := INTERIM.match(reply := reply.lstrip(b"\r\n")):
        heads, reply = heads + found[0], reply[found.end() :]
    return heads + reply


def without_interim(reply: bytes, _method: str) -> bytes:
    """Remove interim responses."""
    while found := INTERIM.match(reply):
        reply = reply[found.end() :]
    return reply


def on_head(change: Callable[[bytes], bytes]) -> Callable[[bytes, str], bytes]:
    """Make a repair of the head."""

    def repair(reply: bytes, _method: str) -> bytes:
        end = re.search(rb"\n\r?\n", reply)
        at = end.end() if end else len(reply)
        return change(reply[:at]) + reply[at:]

    return repair


def with_one_length(head: bytes) -> bytes:
    """Leave the first number of the first Content-Length."""
    first = re.search(rb"\nContent-Length[ \t]*:[ \t\r\n]*(\d+)", head, re.IGNORECASE)
    if first is None:
        return head
    rest = re.sub(rb"\nContent-Length[ \t]*:(.|\n[ \t])*(?=\n)", b"", head, flags=re.IGNORECASE)
    line, _, fields = rest.partition(b"\n")
    return line + b"\nContent-Length: " + (first[1].lstrip(b"0") or b"0") + b"\r\n" + fields


def without_content(mine: Reading, method: str) -> bool:
    """Whether a response never has content, whatever its fields say."""
    return method == "HEAD" or mine.status in (204, 304)


def with_plain_chunks(reply: bytes, method: str) -> bytes:
    """Write the content again, in one chunk without extensions and trailers."""
    head, end, _ = reply.partition(b"\r\n\r\n")
    mine = ours(reply, method)
    chunked = any(name == "transfer-encoding" and value != "identity" for name, value in mine.headers)
    if not end or not chunked or without_content(mine, method):
        return reply
    return head + end + (b"%x\r\n%b\r\n" % (len(mine.body), mine.body) if mine.body else b"") + b"0\r\n\r\n"


def replaced(pattern: bytes, by: bytes) -> Callable[[bytes, str], bytes]:
    """Make a repair that replaces something in the head."""
    return on_head(lambda head: re.sub(pattern, by, head))


REPAIRS: dict[str, Callable[[bytes, str], bytes]] = {
    "bytes after a complete response (RFC 9112 section 6.3)": without_excess,
    "empty lines before the status line (RFC 9112 section 2.2)": without_empty_lines,
    "interim responses (RFC 9110 section 15.2)": without_interim,
    "a bare LF ends a line of the head (RFC 9112 section 2.2)": replaced(rb"\r?\n", rb"\r\n"),
    "a folded line (RFC 9112 section 5.2)": replaced(rb"[ \t]*\r?\n[ \t]+", rb" "),
    "whitespace before the colon (RFC 9112 section 5.1)": replaced(rb"(?m)^([^\s:]+)[ \t]+:", rb"\1:"),
    "a Content-Length repeated (RFC 9112 section 6.3, rule 5)": on_head(with_one_length),
    "the reason phrase (RFC 9112 section 4)": replaced(rb"^(HTTP/1\.. ...)[^\r\n]*", rb"\1 X"),
    "a minor version above 1 (RFC 9110 section 2.5)": replaced(rb"^HTTP/1\.[2-9]", rb"HTTP/1.1"),
    "chunk extensions, whitespace, and a trailer section without an end (RFC 9112 sections 7.1, 8)": with_plain_chunks,
}
"""Every change that may be needed, from the most frequent one on."""
IGNORED: dict[str, tuple[Callable[[bytes, str], bytes], Callable[[Reading, str], bool]]] = {
    "faulty framing of a response without content (RFC 9112 section 6.3, rule 1)": (
        replaced(rb"(?i)\n(Content-Length|Transfer-Encoding)[ \t]*:[^\n]*(?=\n)", b""),
        without_content,
    ),
    "no transfer coding, or identity (RFC 2616 section 3.6)": (
        replaced(rb"(?i)\nTransfer-Encoding[ \t]*:[ \t]*(identity)?[ \t]*\r?(?=\n)", b""),
        lambda _mine, _method: True,
    ),
    "a control character in a value (RFC 9110 section 5.5)": (
        replaced(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]", b"?"),
        lambda _mine, _method: True,
    ),
}
"""What is taken for nothing here, or for something harmless, and refused by the other parser."""


def difference(reply: bytes, method: str, read: Callable[[bytes, str], Reading]) -> str:
    """Name what two parsers read differently: "" if nothing, "?" if nothing explains it."""
    mine, theirs = ours(reply, method), read(reply, method)
    if alike(mine, theirs):
        return ""
    if mine.refused:
        return f"refused here: {mine.refused}"
    for name, repair in REPAIRS.items():
        if alike(mine, read(repair(reply, method), method)):
            return name
    repaired = []
    for name, repair in REPAIRS.items():
        before, reply = reply, repair(reply, method)
        if before != reply:
            repaired.append(name)
        if alike(mine, read(reply, method)):
            return " + ".join(repaired)
    for name, (change, applies) in IGNORED.items():
        if applies(mine, method):
            bare = change(reply, method)
            left = ours(bare, method)
            if left.body == mine.body and alike(left, read(bare, method)):
                return name
    return "?"


def alike(mine: Reading, theirs: Reading) -> bool:
    """Whether both refuse, or read the same. How much whitespace a folded line leaves does not count."""
    if mine.refused or theirs.refused:
        return bool(mine.refused and theirs.refused)
    return (mine.status, mine.body, plain(mine)) == (theirs.status, theirs.body, plain(theirs))


def plain(reading: Reading) -> list[tuple[str, str]]:
    """The fields, with single spaces and one Content-Length."""
    fields = [(name, " ".join(re.split("[ \t]+", value.strip(" \t")))) for name, value in reading.headers]
    length = [field for field in fields if field[0] == "content-length"][:1]
    return [field for field in fields if field[0] != "content-length"] + length


def compare(seed: int, count: int = sys.maxsize, seconds: float = float("inf")) -> tuple[Counter[str], list[str]]:
    """Compare so many replies, or as many as fit into the time.

    Returns:
        How often each parser differs by each rule, and a description of what no rule explains.
    """
    counts: Counter[str] = Counter()
    unexplained = []
    end = time.monotonic() + seconds
    with closing(AiohttpParser()) as aiohttp_parser:
        for reply, method in islice(mutants(seed), count):
            if time.monotonic() > end:
                break
            for other, read in (("aiohttp", aiohttp_parser), ("h11", h11_parser)):
                name = difference(reply, method, read)
                counts[f"{other}: {name or 'no difference'}"] += 1
                if name == "?":
                    unexplained.append(f"{other} {method} {reply!r}\n  {ours(reply, method)}\n  {read(reply, method)}")
    return counts, unexplained


def main(seconds: float, seed: int = 1) -> None:
    """Compare for some time, and print what was found."""
    counts, unexplained = compare(seed, seconds=seconds)
    print(*unexplained[:50], f"{counts.total() // 2} replies", sep="\n")
    for name, count in counts.most_common():
        print(f"{count:8} {name}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
