"""The workloads: methods, sizes, concurrency, failures, decoding, TLS, and streams."""

from __future__ import annotations

import ssl
from itertools import product
from typing import Literal, NamedTuple

from pydantic import BaseModel

from benchmarks.payloads import BODIES, VALUES
from benchmarks.server import Server

Kind = Literal["plain", "failing", "typed", "tls", "streamed"]


class Workload(NamedTuple):
    """One kind of load, the same for every variant."""

    name: str
    kind: Kind = "plain"
    method: Literal["GET", "POST"] = "GET"
    size: str = "1k"
    """The size of the reply. For a POST: of the request body; the reply has 1 KB."""
    concurrency: int = 32
    calls: int = 200
    """Calls per slice; twice the concurrency if that is more."""
    loop: str = "uvloop"
    quick: float = 0.0
    """Seconds in a quick run. 0: a quick run leaves it out."""


class Job(NamedTuple):
    """The task of a call: request ``url``, retry failures, and return the body, its length, or the decoded value."""

    base: str
    path: str
    data: bytes | None
    model: type[BaseModel] | None
    failing: bool
    answer: object
    """The result that every call must return."""
    streamed: bool
    """Whether a call takes the body in pieces, as they arrive, and returns only their total length."""
    ca: bytes | None
    """The authority that signed the certificate of the server, as PEM. ``None``: no TLS."""
    attempts: int
    """The maximum, the first attempt included. Where every tenth reply is a 503, it is so high that no call fails."""
    pause: float
    """Seconds before each further attempt: a fixed delay, the same for all variants."""

    @property
    def url(self) -> str:
        """The URL of the requests."""
        return self.base + self.path

    @property
    def trusted(self) -> ssl.SSLContext | bool:
        """What a Python client verifies servers with: a context with the authority, or ``True``, its default."""
        return True if self.ca is None else ssl.create_default_context(cadata=self.ca.decode())


def job(workload: Workload, server: Server) -> Job:
    """Return the task of a workload, for a server."""
    name = "1k" if workload.method == "POST" else workload.size
    failing, typed, streamed = (workload.kind == kind for kind in ("failing", "typed", "streamed"))
    return Job(
        base=server.url,
        path=f"/fail10/{name}" if failing else f"/{name}",
        data=BODIES[workload.size] if workload.method == "POST" else None,
        model=type(VALUES[name]) if typed else None,
        failing=failing,
        answer=VALUES[name] if typed else len(BODIES[name]) if streamed else BODIES[name],
        streamed=streamed,
        ca=server.ca,
        attempts=10 if failing else 3,
        pause=0.001 if failing else 0.2,
    )


def _plain() -> list[Workload]:
    sizes = {"1k": "1 KB", "100k": "100 KB"}
    return [
        Workload(f"{method} {sizes[size]}, {concurrency} at once", method=method, size=size, concurrency=concurrency)
        for method, size, concurrency in product(("GET", "POST"), sizes, (32, 1, 256))
    ]


_TLS = Workload("GET 1 KB over TLS, 32 at once", kind="tls")
_STREAMED = Workload("GET 1 MB streamed, 4 at once", kind="streamed", size="1m", concurrency=4, calls=40)


def _on_asyncio(workload: Workload) -> Workload:
    return workload._replace(name=f"{workload.name}, asyncio", loop="asyncio")


WORKLOADS = [
    Workload("GET 1 KB, 32 at once", quick=22),
    Workload("GET 1 KB, 32 at once, one in ten fails", kind="failing", quick=14),
    Workload("GET 1 KB to a model, 32 at once", kind="typed", quick=4),
    Workload("GET 14 KB to a model, 32 at once", kind="typed", size="14k", quick=5),
    *_plain()[1:],
    _TLS,
    _STREAMED,
    *(_on_asyncio(each) for each in (_plain()[0], Workload("POST 1 KB, 32 at once", method="POST"), _TLS, _STREAMED)),
]
"""The workloads of a full run, the most important ones first."""
