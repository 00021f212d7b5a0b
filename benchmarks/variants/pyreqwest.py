"""pyreqwest: the Rust client reqwest, with requests that are built step by step, as in Rust."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pyreqwest.bytes import Bytes
from pyreqwest.client import ClientBuilder

from benchmarks.variants import Call
from benchmarks.variants.bare import JSON
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """A client with its defaults."""
    url, data = job.url, job.data
    builder = ClientBuilder()
    if job.ca is not None:
        builder = builder.add_root_certificate_pem(job.ca)
    async with builder.build() as client:

        async def get() -> Bytes:
            return await (await client.get(url).build().send()).bytes()

        async def post() -> Bytes:
            return await (await client.post(url).headers(JSON).body_bytes(data).build().send()).bytes()

        async def stream() -> int:
            received = 0
            async with client.get(url).build_streamed() as reply:
                while (chunk := await reply.body_reader.read_chunk()) is not None:
                    received += len(chunk)
            return received

        yield stream if job.streamed else get if data is None else post
