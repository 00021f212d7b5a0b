"""Any log record becomes one line of valid JSON."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from typing import Any

import pytest

from resilient_client.telemetry import JSONFormatter


def formatted(message: str = "hello %s", *args: object, **extra: Any) -> dict[str, Any]:
    """Format a record, and parse the line as strictly as RFC 8259 asks."""
    record = logging.getLogger("app").makeRecord("app", logging.INFO, "f.py", 1, message, args or ("you",), None)
    vars(record).update(extra)
    line = JSONFormatter().format(record)
    assert "\n" not in line
    assert line.isascii()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    parsed: dict[str, Any] = json.loads(line, parse_constant=refuse)
    return parsed


def test_record_has_time_level_logger_and_message() -> None:
    """The standard attributes come first, the time in UTC with milliseconds."""
    line = formatted(created=0.25)
    assert list(line) == ["time", "level", "logger", "message"]
    assert line == {"time": "1970-01-01T00:00:00.250Z", "level": "INFO", "logger": "app", "message": "hello you"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", formatted()["time"])


def test_extra_fields_follow_and_none_is_left_out() -> None:
    """Fields of ``extra`` are members of the object. One that does not apply is absent."""
    line = formatted(event="retry_scheduled", attempt=2, tags={"page": "x"}, status=None)
    assert {name: line[name] for name in ("event", "attempt", "tags")} == {
        "event": "retry_scheduled",
        "attempt": 2,
        "tags": {"page": "x"},
    }
    assert "status" not in line


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), {(1, 2): 3}, {1, 2}, b"x", "\ud800", "a\nb"])
def test_value_that_json_does_not_know_is_text(value: object) -> None:
    """A record that cannot be written is lost, so every value can."""
    assert isinstance(formatted(odd=value)["odd"], str)


def test_value_that_refuses_to_be_text_is_named_by_its_class() -> None:
    """Even a broken ``__str__`` and a circle do not fail."""

    class Broken:
        def __str__(self) -> str:
            raise ValueError

    circle: list[object] = []
    circle.append(circle)
    line = formatted(broken=Broken(), circle=circle, kept=1)
    assert (line["broken"], line["circle"], line["kept"]) == ("<Broken>", "[[...]]", 1)


def test_exception_and_stack_are_members() -> None:
    """A traceback stays within its line."""
    try:
        raise LookupError("gone")
    except LookupError:
        line = formatted(exc_info=sys.exc_info(), stack_info="Stack: here")
    assert line["exception"].endswith("LookupError: gone")
    assert line["stack"] == "Stack: here"
