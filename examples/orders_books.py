"""The summary of the demo: what the client reports, held against what the servers counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from orders_screen import Screen
from orders_upstreams import Upstreams
from resilient_client import GatherResult


class Books:
    """Both sides of the story. They balance if every attempt and every payment is in both, once."""

    def __init__(self, orders: Mapping[int, GatherResult[Any]], upstreams: Upstreams) -> None:
        """Take down both sides, once all calls have ended."""
        self.results = list(orders.values())
        self.calls = [outcome for result in self.results for outcome in result]
        self.reported = Counter[str]()
        for call in self.calls:
            self.reported[str(call.key)] += call.attempts
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

    def show(self, screen: Screen, events: Counter[str]) -> None:
        """Print the summary; ``events`` counts what the client announced."""
        screen.headline("summary")
        complete = sum(not result.failures for result in self.results)
        screen.fact("orders", f"{len(self.results)}: {complete} complete, {len(self.results) - complete} partial")
        self._show_calls(screen)
        self._show_attempts(screen, events)
        screen.fact("circuits", f"{events['CircuitOpened']} opened, {events['CircuitClosed']} closed again")
        screen.fact(
            "payments",
            f"{self.ledger.double_charges} double charges; {len(self.confirmed)} confirmed, "
            f"{len(self.ledger.charges)} charged, {self.ledger.repeats} repeat known by its key",
            good=self.money_agrees,
        )

    def _show_calls(self, screen: Screen) -> None:
        failed = Counter(str(failure.kind) for result in self.results for failure in result.failures)
        healed = sum(call.ok and call.attempts > 1 for call in self.calls)
        succeeded = len(self.calls) - failed.total()
        screen.fact("calls", f"{len(self.calls)}: {succeeded} ok ({healed} after a retry), {failed.total()} failed")
        screen.fact("failed", _listed(failed.most_common()))

    def _show_attempts(self, screen: Screen, events: Counter[str]) -> None:
        verdict = "equal" if self.attempts_agree else "NOT EQUAL"
        screen.fact(
            "attempts",
            f"{self.reported.total()} reported by the client, {self.counted.total()} counted by the servers: {verdict}",
            good=self.attempts_agree,
        )
        screen.fact("", _listed((name, f"{self.reported[name]} = {self.counted[name]}") for name in self.counted))
        retries = sum(max(call.attempts - 1, 0) for call in self.calls)
        stopped = events["RetryScheduled"] - retries
        screen.fact("retries", f"{retries} sent, {stopped} stopped by a circuit, {events['RetryRefused']} refused")


def _listed(items: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in items) or "none"
