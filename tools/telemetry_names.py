"""Make the tables of ``docs/logging.md`` from the names in ``resilient_client.telemetry._names``, or check them.

::

    python tools/telemetry_names.py            writes the tables
    python tools/telemetry_names.py --check    fails when the committed tables differ from the names

A table stands between ``<!-- names: KIND -->`` and ``<!-- end -->``. The text around it is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from resilient_client.telemetry import _names
from resilient_client.telemetry._names import EventName

PAGE: Final = Path(__file__).parents[1] / "docs" / "logging.md"
_TABLE: Final = re.compile(r"(<!-- names: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables(text: str) -> str:
    """Return the page with its tables made anew."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{_MAKERS[found[2]]()}\n{found[3]}", text)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def _loggers() -> str:
    rows = [(_code(f"{_names.ROOT}.{name}"), meaning) for name, meaning in _names.LOGGERS.items()]
    return _table(("logger", "logs"), rows)


def _events() -> str:
    rows = [(_code(event.name), _logger(event), _level(event), _fields(event)) for event in _names.EVENTS]
    return _table(("event", "logger", "level", "own fields"), rows)


def _logger(event: EventName) -> str:
    return _code(event.logger) if event.logger else "as the records left out"


def _level(event: EventName) -> str:
    if not event.level:
        return "as the records left out"
    return event.level if not event.other_level else f"{event.level}, {event.other_level} if {event.when}"


def _fields(event: EventName) -> str:
    return ", ".join(map(_code, event.fields)) or "none"


def _meanings(fields: Mapping[str, str]) -> str:
    return _table(("field", "holds"), [(_code(name), meaning) for name, meaning in fields.items()])


_MAKERS: Final[Mapping[str, Callable[[], str]]] = {
    "loggers": _loggers,
    "events": _events,
    "common": lambda: _meanings(_names.COMMON_FIELDS),
    "fields": lambda: _meanings(_names.FIELDS),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the tables, and return the exit code."""
    parser = argparse.ArgumentParser(description="Make the tables of docs/logging.md from the names.")
    parser.add_argument("--check", action="store_true", help="fail when the committed tables differ from the names")
    options = parser.parse_args(arguments)
    text = PAGE.read_text(encoding="utf-8")
    made = tables(text)
    if not options.check:
        PAGE.write_text(made, encoding="utf-8", newline="\n")
    elif made != text:
        print("docs/logging.md differs from the names; run python tools/telemetry_names.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
