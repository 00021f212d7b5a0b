"""The settings in force for one call, all layers resolved: one object that every part of the call reads."""

from __future__ import annotations

from resilient_client._core.models import MAX_JSON_VALUES
from resilient_client._core.types import Priority
from resilient_client._settings.hedging import Hedging
from resilient_client._settings.retry import Retry
from resilient_client._settings.timeout import TimeLimits


class CallSettings:
    """What holds for one call. Frozen by convention: calls with equal options share it.

    Attributes:
        limits: How long the call and its parts may take.
        retry: When an attempt is repeated; ``None``: exactly one wire request.
        raise_for_status: Whether an error status raises.
        coalesce: Whether equal calls share one flight.
        priority: Which calls go first where calls queue.
        hedging: When a second attempt starts alongside a slow one; ``None``: never.
        max_json_values: How many values a JSON body may hold; ``None``: any number.
    """

    __slots__ = ("coalesce", "hedging", "limits", "max_json_values", "priority", "raise_for_status", "retry")

    def __init__(
        self,
        limits: TimeLimits,
        retry: Retry | None = None,
        raise_for_status: bool = True,
        coalesce: bool = False,
        priority: Priority = "user",
        hedging: Hedging | None = None,
        max_json_values: int | None = MAX_JSON_VALUES,
    ) -> None:
        self.limits = limits
        self.retry = retry
        self.raise_for_status = raise_for_status
        self.coalesce = coalesce
        self.priority: Priority = priority
        self.hedging = hedging
        self.max_json_values = max_json_values

    def with_limits(self, limits: TimeLimits) -> CallSettings:
        """The same with other time limits."""
        return CallSettings(
            limits,
            self.retry,
            self.raise_for_status,
            self.coalesce,
            self.priority,
            self.hedging,
            self.max_json_values,
        )
