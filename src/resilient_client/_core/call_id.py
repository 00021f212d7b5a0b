"""The ids of calls, by which the events, the log records and the error of one call are joined."""

from __future__ import annotations

import os
from itertools import count

_prefix = os.urandom(6).hex()
_numbers = count(1)


def new_call_id() -> str:
    """Return an id that is unique among all processes: twelve random digits of the process, and a number within it."""
    return f"{_prefix}-{next(_numbers)}"


def _renew_prefix() -> None:
    global _prefix  # noqa: PLW0603 -- one process has one prefix
    _prefix = os.urandom(6).hex()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_renew_prefix)
