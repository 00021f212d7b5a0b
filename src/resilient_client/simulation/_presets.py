"""Settings to compare with, for ``Scenario.with_config``."""

from __future__ import annotations

from typing import Final

from resilient_client._settings.config import ClientConfig
from resilient_client._settings.retry import Retry


def at_once(_state: object) -> float:
    """No pause."""
    return 0.0


DEFAULT: Final = ClientConfig()
"""The scenario as it is: sets nothing."""
NONE: Final = ClientConfig(retry=None, circuit_breaker=None)
"""Time limits only: one request a call, whatever comes of it."""
NAIVE: Final = ClientConfig(retry=Retry(max_attempts=3, backoff=at_once), retry_budget=None, circuit_breaker=None)
"""What is written by hand: three attempts at once, no budget, no circuit."""
