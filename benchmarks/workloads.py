"""The workloads: methods, sizes, concurrency, failures, and decoding."""

from __future__ import annotations

from itertools import product
from typing import Literal, NamedTuple

from pydantic import BaseModel

from benchmarks.payloads import BODIES, VALUES

Kind = Literal["plain", "failing", "typed"]


class Workload(NamedTuple):
    """One kind of load, the same for every variant."""

    name: str
    kind: Kind = "plain"
    method: Literal["GET", "POST"] = "GET"
    size: str = "1k"
    """The size of the reply. For a POST: of the request body; the reply has 1 KB."""
    concurrency: int = 32
    loop: str = "uvloop"
    quick: float = 0.0
    """Seconds in a quick run. 0: a quick run leaves it out."""


class Job(NamedTuple):
    """The task of a call: request ``url``, retry failures, and return the body or the decoded value."""

    base: str
    path: str
    data: bytes | None
    model: type[BaseModel] | None
    failing: bool
    answer: object
    """The result that every call must return."""
    attempts: int
    """The maximum, the first attempt included. Where every tenth reply is a 503, it is so high that no call fails."""
    pause: float
    """Seconds before each further attempt: a fixed delay, the same for all variants."""

    @property
    def url(self) -> str:
        """The URL of the requests."""
        return self.base + self.path


def job(workload: Workload, base: str) -> Job:
    """Return the task of a workload, for a server at ``base``."""
    name = "1k" if workload.method == "POST" else workload.size
    failing, typed = workload.kind == "failing", workload.kind == "typed"
    return Job(
        base=base,
        path=f"/fail10/{name}" if failing else f"/{name}",
        data=BODIES[workload.size] if workload.method == "POST" else None,
        model=type(VALUES[name]) if typed else None,
        failing=failing,
        answer=VALUES[name] if typed else BODIES[name],
        attempts=10 if failing else 3,
        pause=0.001 if failing else 0.2,
    )


def _plain() -> list[Workload]:
    sizes = {"1k": "1 KB", "100k": "100 KB"}
    return [
        Workload(f"{method} {sizes[size]}, {concurrency} at once", method=method, size=size, concurrency=concurrency)
        for method, size, concurrency in product(("GET", "POST"), sizes, (32, 1, 256))
    ]


WORKLOADS = [
    Workload("GET 1 KB, 32 at once", quick=22),
    Workload("GET 1 KB, 32 at once, one in ten fails", kind="failing", quick=14),
    Workload("GET 1 KB to a model, 32 at once", kind="typed", quick=4),
    Workload("GET 14 KB to a model, 32 at once", kind="typed", size="14k", quick=5),
    Workload("GET 1 KB, 32 at once, asyncio", loop="asyncio"),
    *_plain()[1:],
]
"""The workloads of a full run, the most important ones first."""
