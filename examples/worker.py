"""An async worker: takes jobs from a queue, runs each under a deadline, never mails twice, and stops gracefully.

The id of a job is its idempotency key, so a job may be tried again, even by another process, and is done only once.
Needs: ``pip install resilient-client``
"""

import asyncio
import random
import signal
from typing import NamedTuple, TypeAlias

from resilient_client import APIClient, APIError, ErrorKind, deadline
from resilient_client.testing import FaultServer
from resilient_client.testing.faults import drop, hang_before_headers, reply


class Job(NamedTuple):
    """One mail to send."""

    id: str
    to: str


Jobs: TypeAlias = asyncio.Queue[Job | None]


async def work(jobs: Jobs, mail: APIClient) -> None:
    """Do jobs until a None arrives; a job that was started is always finished."""
    while (job := await jobs.get()) is not None:
        try:
            with deadline(after=0.5):  # both calls share it
                sender = await mail.get("/senders/{to}", path_params={"to": job.to}, response_model=dict[str, str])
                sent = await mail.post("/mails", json={"to": job.to} | sender, idempotency_key=job.id)
            print(f"{job.id}: sent, attempts: {sent.attempts}")
        except APIError as error:
            permanent = error.kind is ErrorKind.CLIENT_ERROR
            print(f"{job.id}: {error.kind}, {'given up' if permanent else 'to be tried again later'}")


async def run(jobs: Jobs, mail: APIClient, workers: int = 3) -> None:
    """Work until SIGTERM, then finish the jobs that are in the queue at that time."""

    def stop() -> None:
        print(f"stopping: {jobs.qsize()} more in the queue")
        for _ in range(workers):
            jobs.put_nowait(None)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work(jobs, mail))


async def main() -> None:
    """Run against an upstream that is slow, does not know Eve, hangs for Cleo, and loses one reply."""
    jobs: Jobs = asyncio.Queue()
    for number, to in enumerate(["ada", "ben", "cleo", "dora", "eve", "fay", "gus"], start=1):
        jobs.put_nowait(Job(f"job-{number}", to))
    async with FaultServer() as server, APIClient(server.url, rng=random.Random(7)) as mail:
        server.script(reply(json={"from": "shop"}, delay=0.1))
        server.route("GET", "/senders/cleo", hang_before_headers())
        server.route("GET", "/senders/eve", reply(404))
        server.route("POST", "/mails", drop(), reply(201))
        asyncio.get_running_loop().call_later(0.05, signal.raise_signal, signal.SIGTERM)
        await run(jobs, mail)


if __name__ == "__main__":
    asyncio.run(main())
