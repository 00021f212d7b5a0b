"""ry: the Rust client reqwest, and much else of Rust, with a runtime of its own in other threads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import ry

from benchmarks.variants import Call
from benchmarks.variants.bare import JSON
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """A client with its defaults."""
    url, data = job.url, job.data
    trusted = None if job.ca is None else [ry.Certificate.from_pem(job.ca)]
    client = ry.Client(tls_certs_only=trusted)

    async def get() -> ry.Bytes:
        return await (await client.get(url)).bytes()

    async def post() -> ry.Bytes:
        return await (await client.post(url, body=data, headers=JSON)).bytes()

    async def stream() -> int:
        received = 0
        async for chunk in (await client.get(url)).bytes_stream():
            received += len(chunk)
        return received

    yield stream if job.streamed else get if data is None else post
