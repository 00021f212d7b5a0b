"""Notices that the levels of ``logging`` have changed, at the cost of two lookups.

``logging`` keeps the results of ``isEnabledFor`` in a dict per logger, and empties all of these dicts whenever any
level changes. So one such dict, which only this module fills, tells whether any level has changed. It is not
documented. If it is missing, the version changes with every call of ``version``, which is correct and costs more.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from resilient_client.telemetry import _names

_logger: Final = logging.getLogger(f"{_names.ROOT}._levels")  # logs nothing
_known: Final[dict[Any, Any]] = getattr(_logger, "_cache", {})
_version = 0


def version() -> int:
    """A number that changes with any level of any logger."""
    global _version  # noqa: PLW0603 -- logging has one set of levels per process
    if not _known:
        _logger.isEnabledFor(logging.DEBUG)  # fills the dict
        _version += 1
    return _version
