"""A formatter that writes each log record as one line of JSON, fields included. For records of any library."""

from __future__ import annotations

import json
import logging
import math
import time
from typing import Any, Final

_STANDARD: Final = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
"""The attributes of every record. All others were given as ``extra``."""


class JSONFormatter(logging.Formatter):
    """Formats a log record as one JSON object (RFC 8259) on one line, in ASCII.

    The object has ``time`` (UTC, ISO 8601, milliseconds), ``level``, ``logger`` and ``message``, then every field that
    was given as ``extra`` and is not ``None``, then ``exception`` and ``stack`` if the record has them. It never fails:
    a value that JSON does not know is written as its ``str``.

    Use it for a handler of your own::

        handler = logging.StreamHandler()
        handler.setFormatter(JSONFormatter())
        logging.basicConfig(level=logging.INFO, handlers=[handler])
    """

    def __init__(self) -> None:
        """Take no arguments: the format is fixed."""
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if value is not None and name not in _STANDARD and name not in line:
                line[name] = value
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        try:
            return json.dumps(line, default=_text, allow_nan=False)
        except (ValueError, TypeError, RecursionError):  # a circle, an infinite number, a key that is no text
            return json.dumps({name: _scalar(value) for name, value in line.items()})


def _utc(seconds: float) -> str:
    whole = math.floor(seconds)
    milliseconds = math.floor((seconds - whole) * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def _scalar(value: object) -> object:
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _text(value)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
