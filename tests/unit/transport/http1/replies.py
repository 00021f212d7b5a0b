"""Feeds bytes to the parser in pieces, and keeps what it makes of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from resilient_client._transport.http1.failure import Failure
from resilient_client._transport.http1.parser import ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"


def ok(fields: bytes, content: bytes = b"") -> bytes:
    """A response with these fields."""
    return OK + fields + b"\r\n\r\n" + content


class Parsed(NamedTuple):
    """Everything that the parser says about a response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool
    reusable: bool
    failure: Failure | None
    continued: bool

    @property
    def reason(self) -> str:
        """The failure in a word, or "" without one."""
        return "" if self.failure is None else self.failure.reason.value

    @property
    def detail(self) -> str:
        """The text of the failure, or "" without one."""
        return "" if self.failure is None else self.failure.detail


def parse(
    data: bytes,
    method: str = "GET",
    *,
    cuts: Iterable[int] = (),
    orderly: bool | None = None,
    limits: tuple[int, int] = (8190, 128),
) -> Parsed:
    """Return what a new parser makes of a response.

    Args:
        data: What the server sends.
        method: Of the request.
        cuts: Where one segment ends and the next one begins.
        orderly: How the connection ends after that, or ``None`` if it stays open.
        limits: ``max_field_size`` and ``max_headers``.
    """
    parser = ResponseParser(*limits)
    parser.expect(method)
    body = []
    for begin, end in pairwise([0, *cuts, len(data)]):
        if begin < end:
            parser.feed(data[begin:end])
            body.append(parser.take_body())
            assert len(body[-1]) == parser.body_size - sum(map(len, body[:-1]))
    if orderly is not None:
        parser.end(orderly=orderly)
    assert not (parser.complete and parser.failure)
    return Parsed(
        parser.status,
        list(parser.headers.items()),
        b"".join(body) + parser.take_body(),
        parser.complete,
        parser.reusable,
        parser.failure,
        parser.continued,
    )


def segmentations(size: int, rng: random.Random, count: int) -> Iterator[list[int]]:
    """Yield cuts: one byte at a time, then ``count`` times at random places."""
    yield list(range(1, size))
    for _ in range(count):
        yield sorted(rng.sample(range(size + 1), min(size, rng.randint(1, 8))))
