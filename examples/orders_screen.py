"""What the demo prints: a line a call and a line an event, in 80 columns, coloured on a terminal that wants it."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from resilient_client import Failure, Outcome
from resilient_client.events import CircuitClosed, CircuitHalfOpened, CircuitOpened, Event, RetryScheduled

WIDTH = 80
PLAIN, BOLD, DIM, RED, GREEN, YELLOW = "", "1", "2", "31", "32", "33"


class Screen:
    """Prints at once what it is told; knows the upstreams by name instead of by port."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        """``urls`` gives the origin of each upstream."""
        self._urls = urls
        # See no-color.org; a pipe wants no colours either.
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def columns(self) -> None:
        """Print what stands in which column of ``order``."""
        self._print("order call       result           tries   waited     took  stage    acted?", DIM)

    def headline(self, text: str) -> None:
        """Print a title that fills the line."""
        self._print()
        self._print(f"-- {text} ".ljust(WIDTH, "-"), BOLD)

    def order(self, order: int, outcomes: Iterable[Outcome[Any]]) -> None:
        """Print what became of an order's calls, and of what failed, the error's own words."""
        for line, outcome in enumerate(outcomes):
            label = f"#{order:02}" if line == 0 else ""
            result = self._painted(f"{_result(outcome):<16}", _style(outcome))
            numbers = f"{outcome.attempts:>5} {_seconds(_waited(outcome)):>8} {_seconds(outcome.elapsed):>8}"
            self._print(f"{label:<5} {outcome.key:<10} {result} {numbers}{_where(outcome)}")
            if isinstance(outcome, Failure):
                self._wrapped(_why(outcome), DIM, first=6)

    def event(self, event: Event) -> None:
        """Print an event of the client while it happens, if it is one worth a line."""
        match event:
            case RetryScheduled(tags=tags, route=route, reason=reason, delay=delay):
                when = f"in {_seconds(delay)}" if delay else "at once"
                self._wrapped(f"~ {tags['order']} {self._origin(route)}: {reason}; next try {when}", YELLOW, first=4)
            case CircuitOpened(endpoint=endpoint, retry_after=wait):
                self._wrapped(f"! the circuit of {endpoint} opened for {_seconds(wait or 0)}", RED, first=4)
            case CircuitHalfOpened(endpoint=endpoint):
                self._wrapped(f"! the circuit of {endpoint} half-opened: a few probes may pass", YELLOW, first=4)
            case CircuitClosed(endpoint=endpoint):
                self._wrapped(f"! the circuit of {endpoint} closed: well again", GREEN, first=4)
            case _:
                pass

    def fact(self, name: str, text: str, *, good: bool | None = None) -> None:
        """Print a line of the summary, green or red where it is good or not."""
        style = PLAIN if good is None else GREEN if good else RED
        self._wrapped(text, style, first=10, label=name)

    def _origin(self, url: str) -> str:
        return next(name for name, origin in self._urls.items() if url.startswith(origin))

    def _wrapped(self, text: str, style: str, *, first: int, label: str = "") -> None:
        for name, url in self._urls.items():
            text = text.replace(url, name)
        for line in textwrap.wrap(text, WIDTH - first):
            self._print(f"{label:<{first}}{self._painted(line, style)}")
            label = ""

    def _print(self, text: str = "", style: str = PLAIN) -> None:
        try:
            print(self._painted(text, style), flush=True)
        except BrokenPipeError:  # whoever read, such as ``| head``, has seen enough
            os._exit(141)  # at once and without a word, as a process ends that SIGPIPE kills

    def _painted(self, text: str, style: str) -> str:
        return f"\033[{style}m{text}\033[0m" if style and self._coloured else text


def _result(outcome: Outcome[Any]) -> str:
    return outcome.kind if isinstance(outcome, Failure) else "ok"


def _style(outcome: Outcome[Any]) -> str:
    if isinstance(outcome, Failure):
        return RED
    return GREEN if outcome.attempts == 1 else YELLOW


def _where(outcome: Outcome[Any]) -> str:
    """How far a failed call had come, and whether the server may have acted on it."""
    if not isinstance(outcome, Failure):
        return ""
    return f"  {outcome.error.stage:<8} {'maybe' if outcome.error.maybe_processed else 'no'}"


def _why(failure: Failure) -> str:
    """The error's line without its first words: method and URL."""
    return str(failure.error).partition(": ")[2]


def _waited(outcome: Outcome[Any]) -> float:
    """Seconds of the call in which no attempt was under way."""
    return outcome.elapsed - sum(record.elapsed for record in outcome.history)


def _seconds(seconds: float) -> str:
    if seconds < 0.0005:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.2f} s"
