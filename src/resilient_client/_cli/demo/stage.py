"""The whole demo: upstreams, client, orders, and somebody who watches."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from resilient_client._cli.demo.books import Books, arrived
from resilient_client._cli.demo.journal import Journal
from resilient_client._cli.demo.orders import make_client, place_all
from resilient_client._cli.demo.shows import Show
from resilient_client._cli.demo.snapshot import Observer, Snapshot
from resilient_client._cli.demo.tally import Tally
from resilient_client._cli.demo.timetable import UPSTREAMS, Timetable
from resilient_client._cli.demo.upstreams import running

_FRAME: Final = 0.12  # seconds from one moment shown to the next


class Performance(NamedTuple):
    """What is left of a run: the last moment, and the books."""

    last: Snapshot
    books: Books


async def perform(timetable: Timetable, show: Show) -> Performance:
    """Run the demo to its end: when the last call has ended, at most two seconds after the last order."""
    loop = asyncio.get_running_loop()
    async with running(timetable) as upstreams, make_client(timetable) as api:
        started, urls = upstreams.started, upstreams.urls
        tally = Tally(urls, started, timetable.seconds)
        journal = Journal(urls, started)
        api.subscribe(tally.hear)
        api.subscribe(journal.hear)
        for at, upstream, condition in timetable.changes:
            loop.call_at(started + at, journal.condition, at, upstream, condition)
        observer = Observer(api, timetable, urls, started, tally, journal)
        placing = asyncio.create_task(
            place_all(api, timetable, urls, placed=lambda _: tally.placed(UPSTREAMS, loop.time()))
        )
        try:
            with show:
                while not placing.done():
                    show.moment(observer.snapshot(loop.time()))
                    await asyncio.wait({placing}, timeout=_FRAME)
                last = observer.snapshot(loop.time())
                show.moment(last)
        finally:
            placing.cancel()  # done already, unless whoever watched has left
            await asyncio.wait({placing})
        orders = placing.result()
        await arrived(orders, upstreams)
        books = Books(orders, tally.flows, upstreams)
        show.facts(list(books.facts()))
        return Performance(last, books)
