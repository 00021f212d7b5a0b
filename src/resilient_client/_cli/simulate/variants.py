"""Parses ``--compare``: the settings to apply to the scenario, as variants that are run side by side.

The form is ``WHAT=VALUE,VALUE,...``. WHAT is a setting as ``ClientConfig`` names it (``circuit_breaker``,
``retry.max_attempts``). A VALUE is a value of that setting, ``off``, or ``default`` for the scenario unchanged.
``retry`` has two more values that change several settings: ``none`` (one request per call, no circuit) and ``naive``
(three attempts without pause, no budget, no circuit). ``client`` takes these values and TOML files of settings. Several
``--compare`` make every combination. In a combination, a setting that is named wins over what a value of another one
changes, in any order: with ``retry=naive`` and ``circuit_breaker=default``, there is a circuit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, get_args

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.validation import suggest
from resilient_client._settings.base import Settings
from resilient_client._settings.config import ClientConfig
from resilient_client.simulation import DEFAULT, NAIVE, NONE
from resilient_client.simulation._files import in_toml, read_config

S = TypeVar("S", bound=Settings)

MAX_VARIANTS: Final = 12
"""Variants of one comparison; more would take too long and fit on no screen."""
_PRESETS: Final = {"none": NONE, "naive": NAIVE, "default": DEFAULT}
_EXAMPLE: Final = "write WHAT=VALUE,VALUE such as retry=none,naive,default"


class Variant(NamedTuple):
    """Settings to apply to a scenario.

    Attributes:
        name: A short name.
        config: The settings. Those that are not set are the scenario's.
    """

    name: str
    config: ClientConfig


UNCHANGED: Final = Variant("as it is", DEFAULT)


def variants(texts: Sequence[str]) -> tuple[Variant, ...]:
    """Parse the texts of all ``--compare`` options. Without any, the scenario is run unchanged.

    Raises:
        ConfigurationError: A text is not valid. The message names it and suggests what to write.
    """
    if not texts:
        return (UNCHANGED,)
    settings = [_setting(text) for text in texts]
    names = [name for name, _ in settings]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigurationError(f"--compare has {twice!r} twice; write all of its values after one")
    combinations = list(itertools.product(*(values for _, values in settings)))
    if len(combinations) > MAX_VARIANTS:
        raise ConfigurationError(
            f"--compare asks for {len(combinations)} combinations; at most {MAX_VARIANTS} are compared"
        )
    return tuple(_combine(names, combination) for combination in combinations)


def _combine(names: Sequence[str], parts: Sequence[Variant]) -> Variant:
    config = DEFAULT
    for name, part in sorted(zip(names, parts, strict=True), key=_precedence):
        config = _without(config, name) if part.config is DEFAULT else config.merge(part.config)
    if len(parts) == 1:
        return Variant(parts[0].name, config)
    return Variant(", ".join(f"{name}={part.name}" for name, part in zip(names, parts, strict=True)), config)


def _precedence(named: tuple[str, Variant]) -> int:
    """The order in which values are applied: whole clients, presets that change several settings, single settings."""
    name, part = named
    if name == "client":
        return 0
    return 2 + name.count(".") if part.config.model_fields_set <= {name.partition(".")[0]} else 1


def _without(settings: S, path: str) -> S:
    """The settings in which the one of this path is not set, so that the scenario's applies."""
    name, _, inner = path.partition(".")
    values = {field: getattr(settings, field) for field in settings.model_fields_set}
    if name not in values:
        return settings
    value = values.pop(name)
    if inner:
        values[name] = _without(value, inner) if isinstance(value, Settings) else value
    return type(settings)(**values)


def _setting(text: str) -> tuple[str, list[Variant]]:
    """Parse one ``--compare``: return the name of the setting, and a variant per value."""
    what, equals, rest = text.partition("=")
    what, values = what.strip(), [value.strip() for value in rest.split(",")]
    if not equals or not all(values):
        raise ConfigurationError(f"--compare is {text!r}; {_EXAMPLE}")
    known = {"client", *_paths(ClientConfig)}
    if what not in known:
        raise ConfigurationError(f"--compare: there is no setting {what!r}; {_suggest_setting(what, known)}")
    if twice := next((value for value in values if values.count(value) > 1), None):
        raise ConfigurationError(f"--compare: {what} has {twice!r} twice; give each value once")
    return what, [
        Variant(Path(value).stem if value.endswith(".toml") else value, _config_of(what, value)) for value in values
    ]


def _config_of(what: str, value: str) -> ClientConfig:
    """Return the settings for one value."""
    if value == "default":
        return DEFAULT
    if what in ("client", "retry") and value in _PRESETS:
        return _PRESETS[value]
    try:
        if what == "client":
            return _client_config(value)
        nested: Any = None if value == "off" else _parse_value(value)
        for step in reversed(what.split(".")):
            nested = {step: nested}
        return ClientConfig(**nested)
    except ConfigurationError as error:
        raise ConfigurationError(f"--compare {what}={value}: {_remedy(what, value) or in_toml(str(error))}") from None


def _remedy(what: str, value: str) -> str | None:
    """Return the advice for a word in place of a whole pattern, or ``None`` if the settings' own error is better."""
    inner = [path for path in _paths(ClientConfig) if path.startswith(f"{what}.")]
    if not inner or "." in what or value == "off" or not isinstance(_parse_value(value), str):
        return None
    words = ["off", *(_PRESETS if what == "retry" else ["default"])]
    return f"{suggest(value, words)} or one of its settings, such as {inner[0]}"


def _client_config(value: str) -> ClientConfig:
    if value.endswith(".toml"):
        return read_config(value)
    raise ConfigurationError(f"{suggest(value, _PRESETS)}; or name a TOML file of settings")


def _parse_value(value: str) -> object:
    """Parse a number or a boolean. Anything else stays text, such as ``500ms`` or ``full_jitter``."""
    if value in ("true", "false"):
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _suggest_setting(what: str, known: set[str]) -> str:
    """Suggest the closest of all settings, or list the top-level ones if none is close."""
    hint = suggest(what, known)
    return hint if hint.startswith("did") else f"allowed are: {', '.join(sorted(k for k in known if '.' not in k))}"


def _paths(model: type[Settings], prefix: str = "") -> Iterator[str]:
    """Yield every setting with its nested settings: ``retry``, ``retry.backoff``, ``retry.backoff.initial``."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, Settings):
                yield from _paths(inner, f"{prefix}{name}.")
