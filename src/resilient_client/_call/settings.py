"""Layers of settings: defaults, config, client, view, call. The nearest layer that set a field wins.

Each layer is a partial ``ClientConfig`` that remembers what it set. Resolving is done once a client, a view, or a
distinct set of per-call options, never per call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from resilient_client._core.call import CallOptions
from resilient_client._core.errors import InvalidRequestError, ResilientClientError
from resilient_client._core.types import Priority
from resilient_client._settings.base import Settings
from resilient_client._settings.config import ClientConfig
from resilient_client._settings.hedging import Hedging
from resilient_client._settings.retry import Retry
from resilient_client._settings.timeout import TimeLimits, Timeout

_CACHED_PLANS = 256
_NO_LIMITS = TimeLimits(None, None, None, None)


class Plan(NamedTuple):
    """The settings in force for one call.

    Attributes:
        limits: How long things may take.
        retry: When an attempt is repeated, or ``None``.
        raise_for_status: Whether an error status raises.
        coalesce: Whether calls that are alike share a flight.
        priority: Who goes first where calls have to wait.
        hedging: When a second attempt is started beside a slow one, or ``None``.
    """

    limits: TimeLimits
    retry: Retry | None
    raise_for_status: bool
    coalesce: bool
    priority: Priority
    hedging: Hedging | None


class ExplainedSetting(NamedTuple):
    """One value in force, for people.

    Attributes:
        setting: Its dotted name.
        value: What is in force.
        layer: Who set it.
    """

    setting: str
    value: object
    layer: str


class Layers:
    """An ordered stack of partial settings, farthest first."""

    __slots__ = ("_plans", "_stack", "config", "usual")

    def __init__(self, stack: tuple[tuple[str, ClientConfig], ...] = ()) -> None:
        self._stack = stack
        config = ClientConfig()
        for _, layer in stack:
            config = config.merge(layer)
        self.config = config
        self.usual = _plan(config)
        self._plans: dict[object, Plan] = {}

    def over(self, name: str, given: Mapping[str, Any] | ClientConfig) -> Layers:
        """This stack with one more layer on top.

        Raises:
            ConfigurationError: A value is wrong.
        """
        layer = given if isinstance(given, ClientConfig) else ClientConfig(**given)
        return Layers((*self._stack, (name, layer))) if layer.model_fields_set else self

    def plan(self, given: CallOptions) -> Plan:
        """The settings for a call with these options.

        Raises:
            InvalidRequestError: A value is wrong; nothing was sent.
        """
        if not given or _PER_CALL.isdisjoint(given):
            return self.usual
        chosen = {name: value for name, value in given.items() if name in _PER_CALL}
        key = tuple((name, _as_given(value)) for name, value in chosen.items())
        try:
            plan = self._plans.get(key)
        except TypeError:  # something that cannot be a key: right or wrong, it is judged each time
            return self._resolve(chosen)
        if plan is None:
            plan = self._resolve(chosen)
            if len(self._plans) >= _CACHED_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _resolve(self, chosen: Mapping[str, Any]) -> Plan:
        try:
            return _plan(self.over("call", chosen).config)
        except ResilientClientError as error:
            wrong = InvalidRequestError(str(error))
        raise wrong

    def explained(self) -> list[ExplainedSetting]:
        """Every value in force, and the layer that set it."""
        return _rows("", self.config, self._stack)


_PER_CALL = frozenset({"timeout", "retry", "raise_for_status", "coalesce", "priority", "hedging"})


def _as_given(value: object) -> object:
    """What tells one option from another: settings are equal by their values, but only the fields that were set merge.

    The type belongs to it, because ``True`` equals ``1`` but is no duration.
    """
    if isinstance(value, Settings):
        return type(value), tuple((name, _as_given(getattr(value, name))) for name in sorted(value.model_fields_set))
    return type(value), value


def _plan(config: ClientConfig) -> Plan:
    limits = _NO_LIMITS if config.timeout is None else config.timeout.limits()
    hedging = None if config.retry is None else config.hedging  # without retry: exactly one wire request
    return Plan(limits, config.retry, config.raise_for_status, config.coalesce, config.priority, hedging)


def _rows(prefix: str, value: Settings, stack: tuple[tuple[str, Settings], ...]) -> list[ExplainedSetting]:
    explained: list[ExplainedSetting] = []
    in_force = value.limits() if isinstance(value, Timeout) else value  # clipped to what stands above
    for name in type(value).model_fields:
        inner = getattr(in_force, name)
        setters = [(layer, getattr(given, name)) for layer, given in stack if name in given.model_fields_set]
        if isinstance(inner, Settings):
            partial = [(layer, given) for layer, given in setters if isinstance(given, type(inner))]
            explained += _rows(f"{prefix}{name}.", inner, tuple(partial))
        else:
            explained.append(ExplainedSetting(f"{prefix}{name}", inner, setters[-1][0] if setters else "default"))
    return explained
