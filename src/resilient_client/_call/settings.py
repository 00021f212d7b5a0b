"""Layers of settings: defaults, config, client, view, call. The innermost layer that sets a field wins.

Each layer is a partial ``ClientConfig`` that remembers which fields were set. Layers are resolved once per client, per
view and per distinct set of per-call options, not once per call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from resilient_client._core.cache import BoundedCache
from resilient_client._core.call import CallOptions
from resilient_client._core.errors import InvalidRequestError, ResilientClientError
from resilient_client._settings.base import Settings
from resilient_client._settings.call_settings import CallSettings
from resilient_client._settings.config import ClientConfig
from resilient_client._settings.timeout import TimeLimits, Timeout

_CACHED = 1024  # distinct options of calls
_NO_LIMITS = TimeLimits(None, None, None, None)
_PER_CALL = frozenset({"timeout", "retry", "raise_for_status", "coalesce", "priority", "hedging"})


class ExplainedSetting(NamedTuple):
    """One value in force and where it comes from.

    Attributes:
        setting: Its dotted name.
        value: The value in force.
        layer: The layer that set it.
    """

    setting: str
    value: object
    layer: str


class SettingsStack:
    """An ordered stack of partial settings, outermost first.

    Attributes:
        config: All settings in force, without per-call options.
        defaults: What holds for a call without options.
    """

    __slots__ = ("_cache", "_layers", "config", "defaults")

    def __init__(self, layers: tuple[tuple[str, ClientConfig], ...] = ()) -> None:
        self._layers = layers
        config = ClientConfig()
        for _, layer in layers:
            config = config.merge(layer)
        self.config = config
        self.defaults = _call_settings(config)
        self._cache: BoundedCache[object, CallSettings] = BoundedCache(_CACHED)

    def over(self, name: str, values: Mapping[str, Any] | ClientConfig) -> SettingsStack:
        """This stack with one more layer on top.

        Raises:
            ConfigurationError: A value is wrong.
        """
        layer = values if isinstance(values, ClientConfig) else ClientConfig(**values)
        return SettingsStack((*self._layers, (name, layer))) if layer.model_fields_set else self

    def for_call(self, options: CallOptions) -> CallSettings:
        """The settings of a call with these options.

        Raises:
            InvalidRequestError: A value is wrong; nothing was sent.
        """
        if not options or _PER_CALL.isdisjoint(options):
            return self.defaults
        chosen = {name: value for name, value in options.items() if name in _PER_CALL}
        key = tuple((name, _cache_key(value)) for name, value in chosen.items())
        try:
            settings = self._cache.get(key)
        except Exception:  # a value that cannot be hashed or compared: valid or not, it is resolved each time
            return self._resolve(chosen)
        if settings is None:
            settings = self._resolve(chosen)
            self._cache.put(key, settings)
        return settings

    def explained(self) -> list[ExplainedSetting]:
        """Every value in force, with the layer that set it."""
        return _explained("", self.config, self._layers)

    def _resolve(self, options: Mapping[str, Any]) -> CallSettings:
        try:
            return _call_settings(self.over("call", options).config)
        except ResilientClientError as error:
            invalid = InvalidRequestError(str(error))
        raise invalid


def _cache_key(value: object) -> object:
    """What tells one option from another.

    Settings compare equal by their values, but only the fields that were set are merged. The type is part of the key,
    because ``True`` equals ``1`` but is not a duration.
    """
    if isinstance(value, Settings):
        return type(value), tuple((name, _cache_key(getattr(value, name))) for name in sorted(value.model_fields_set))
    return type(value), value


def _call_settings(config: ClientConfig) -> CallSettings:
    limits = _NO_LIMITS if config.timeout is None else config.timeout.limits()
    hedging = None if config.retry is None else config.hedging  # without retry there is exactly one wire request
    return CallSettings(
        limits,
        config.retry,
        config.raise_for_status,
        config.coalesce,
        config.priority,
        hedging,
        config.max_json_values,
    )


def _explained(prefix: str, value: Settings, layers: tuple[tuple[str, Settings], ...]) -> list[ExplainedSetting]:
    explained: list[ExplainedSetting] = []
    in_force = value.limits() if isinstance(value, Timeout) else value  # a limit is clipped to the one around it
    for name in type(value).model_fields:
        inner = getattr(in_force, name)
        setters = [(layer, getattr(values, name)) for layer, values in layers if name in values.model_fields_set]
        if isinstance(inner, Settings):
            partial = [(layer, values) for layer, values in setters if isinstance(values, type(inner))]
            explained += _explained(f"{prefix}{name}.", inner, tuple(partial))
        else:
            explained.append(ExplainedSetting(f"{prefix}{name}", inner, setters[-1][0] if setters else "default"))
    return explained
