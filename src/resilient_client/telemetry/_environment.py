"""``RESILIENT_CLIENT_LOG``: log records on stderr, for scripts that configure no logging."""

from __future__ import annotations

import logging
import os
from typing import Final

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.validation import shorten
from resilient_client.telemetry._names import ENVIRONMENT_VARIABLE, ROOT

_LEVELS: Final = {"info": logging.INFO, "debug": logging.DEBUG}
_FORMAT: Final = "%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s"

_was_read = False


def follow_environment() -> None:
    """Attach a handler to the logger of the library if the environment asks for it. Read once per process.

    Raises:
        ConfigurationError: The value is neither ``info`` nor ``debug``.
    """
    global _was_read  # noqa: PLW0603 -- one process has one environment
    if _was_read:
        return
    value = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if value:
        level = _LEVELS.get(value.strip().lower())
        if level is None:
            raise ConfigurationError(
                f"the environment variable {ENVIRONMENT_VARIABLE} is {shorten(value)}; "
                "set it to 'info' or 'debug', or leave it out"
            )
        _attach(level)
    _was_read = True


def _attach(level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT, datefmt="%H:%M:%S"))
    handler.addFilter(_nothing_else_prints)
    logger = logging.getLogger(ROOT)
    logger.addHandler(handler)
    logger.setLevel(level)


def _nothing_else_prints(_record: logging.LogRecord) -> bool:
    """Leave the records to the handlers of the root logger, if there are any: each line would be printed twice."""
    return not logging.getLogger().handlers
