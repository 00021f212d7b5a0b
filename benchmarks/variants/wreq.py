"""wreq: a client in Rust, with its own threads. It shows the cost of a client that is not written in Python."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import wreq
from wreq.tls import CertStore

from benchmarks.variants import Call
from benchmarks.variants.bare import JSON
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """A client with its defaults."""
    url, data = job.url, job.data
    async with wreq.Client(tls_verify=True if job.ca is None else CertStore.from_pem_stack(job.ca)) as client:

        async def get() -> memoryview:
            async with client.get(url) as reply:
                return await reply.bytes()

        async def post() -> memoryview:
            async with client.post(url, body=data, headers=JSON) as reply:
                return await reply.bytes()

        async def stream() -> int:
            received = 0
            async with client.get(url) as reply, reply.stream() as chunks:
                async for chunk in chunks:
                    received += len(chunk)
            return received

        yield stream if job.streamed else get if data is None else post
