"""Settings to compare with, for ``Scenario.with_config``."""

from __future__ import annotations

from typing import Final

from resilient_client._settings.config import ClientConfig
from resilient_client._settings.retry import Retry


def at_once(_state: object) -> float:
    """Return a backoff delay of 0 seconds."""
    return 0.0


DEFAULT: Final = ClientConfig()
"""The settings of the scenario: overrides nothing."""
NONE: Final = ClientConfig(retry=None, circuit_breaker=None)
"""Timeouts only: one request per call, and no circuit breaker."""
NAIVE: Final = ClientConfig(retry=Retry(max_attempts=3, backoff=at_once), retry_budget=None, circuit_breaker=None)
"""A typical hand-written retry loop: three attempts without delay, no retry budget, no circuit breaker."""
