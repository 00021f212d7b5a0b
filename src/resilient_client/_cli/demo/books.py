"""The end of the demo: what the client reports, held against what the servers counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from resilient_client import GatherResult
from resilient_client._cli.demo.tally import Flow
from resilient_client._cli.demo.upstreams import Upstreams


class Fact(NamedTuple):
    """A line of the summary; ``good`` says whether what it states is as it should be, if it could be otherwise."""

    name: str
    text: str
    good: bool | None = None


class Books:
    """Both sides of the story. They balance if every attempt and every payment is in both, once."""

    def __init__(
        self, orders: Mapping[int, GatherResult[Any]], flows: Mapping[str, Flow], upstreams: Upstreams
    ) -> None:
        """Take down both sides, once all calls have ended."""
        self.results = list(orders.values())
        self.calls = [outcome for result in self.results for outcome in result]
        self.flows = flows
        self.attempts = sum(call.attempts for call in self.calls)
        self.reported = reported(orders)
        self.counted = Counter({name: server.hits for name, server in upstreams.servers.items()})
        self.confirmed = {order for order, (_, payment, _) in orders.items() if payment.ok}
        self.ledger = upstreams.ledger

    @property
    def attempts_agree(self) -> bool:
        """Whether the client reports, for each upstream, exactly the requests that reached it."""
        return self.reported == self.counted

    @property
    def money_agrees(self) -> bool:
        """Whether every confirmed payment was charged, and no order twice."""
        return self.confirmed <= set(self.ledger.charges) and self.ledger.double_charges == 0

    @property
    def balance(self) -> bool:
        """Whether both agree."""
        return self.attempts_agree and self.money_agrees

    def facts(self) -> Iterator[Fact]:
        """The summary."""
        complete = sum(not result.failures for result in self.results)
        yield Fact("orders", f"{len(self.results)}: {complete} complete, {len(self.results) - complete} partial")
        failed = Counter(str(failure.kind) for result in self.results for failure in result.failures)
        healed = sum(call.ok and call.attempts > 1 for call in self.calls)
        good = len(self.calls) - failed.total()
        yield Fact("calls", f"{len(self.calls)}: {good} ok ({healed} by a retry), {failed.total()} failed")
        yield Fact("failed", _listed(failed.most_common()))
        yield self._attempts()
        yield Fact("", _listed((name, f"{self.reported[name]} = {self.counted[name]}") for name in self.counted))
        flows = self.flows.values()
        retries = sum(max(call.attempts - 1, 0) for call in self.calls)
        denied = sum(flow.refused for flow in flows)
        yield Fact("retries", f"{retries} sent, {denied} denied: no budget, no time, or an open circuit")
        yield Fact("circuits", f"{sum(flow.opened for flow in flows)} openings; {self._closed()}")
        yield self._payments()

    def _attempts(self) -> Fact:
        unsent = self.attempts - self.reported.total()
        text = f"{self.attempts} reported by the client, "
        text += f"of which {unsent} never left this machine, " if unsent else ""
        verdict = "equal" if self.attempts_agree else "NOT EQUAL"
        return Fact("attempts", f"{text}{self.counted.total()} counted by the servers: {verdict}", self.attempts_agree)

    def _closed(self) -> str:
        open_now = [name for name, flow in self.flows.items() if flow.states[-1][1] != "closed"]
        return f"not closed at the end: {', '.join(open_now)}" if open_now else "all closed at the end"

    def _payments(self) -> Fact:
        ledger = self.ledger
        text = f"{ledger.double_charges} double charges; {len(self.confirmed)} confirmed, {len(ledger.charges)} charged"
        return Fact("payments", f"{text}; repeats known by their keys: {ledger.repeats}", self.money_agrees)


def reported(orders: Mapping[int, GatherResult[Any]]) -> Counter[str]:
    """The attempts that left this machine, for each upstream, as the client tells of them."""
    sent = Counter[str]()
    for result in orders.values():
        for outcome in result:
            sent[str(outcome.key)] += sum(record.sent for record in outcome.history)
    return sent


async def arrived(orders: Mapping[int, GatherResult[Any]], upstreams: Upstreams, *, patience: float = 1.0) -> None:
    """Let the servers read what is still on its way to them: the last attempts, whose replies nobody waits for."""
    sent = reported(orders)
    try:
        async with asyncio.timeout(patience):
            for name, server in upstreams.servers.items():
                await server.wait_for_hits(sent[name])
    except TimeoutError:
        pass  # the books will tell


def _listed(items: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in items) or "none"
