"""What is asked: the sizes, the methods, how many at once, what fails, what is decoded."""

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
    """Of the reply; of a POST: of the body that is sent, the reply has 1 KB."""
    concurrency: int = 32
    loop: str = "uvloop"
    quick: float = 0.0
    """Seconds it gets in a quick run; 0: it is left out."""


class Job(NamedTuple):
    """What a variant has to do in each call: ask ``url``, retry what fails, give the body or the value."""

    base: str
    path: str
    data: bytes | None
    model: type[BaseModel] | None
    failing: bool
    answer: object
    """What every call has to give in the end."""
    attempts: int
    """How many, the first included. Where every tenth reply is a 503, so many that no call fails in the end."""
    pause: float
    """Seconds before each further attempt; fixed, for all variants the same."""

    @property
    def url(self) -> str:
        """Where to."""
        return self.base + self.path


def job(workload: Workload, base: str) -> Job:
    """What a variant has to do for a workload, on a server at ``base``."""
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
"""Those of a full run, the most telling first."""
