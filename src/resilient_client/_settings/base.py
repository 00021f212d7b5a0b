"""The base of all settings: frozen, no unknown fields, errors in one clear sentence, and merging.

A settings object remembers which fields were *set*. Values set together that contradict each other are an error. The
defaults of unset fields adapt. ``merge`` overlays one object with another, field by field.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler  # pydantic itself exports it from 2.10.4 on
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.validation import hide_userinfo, kind_of, parse_duration, shorten, suggest, unreadable


def _seconds(value: object) -> object:
    """Read a duration. Leave other values to pydantic, whose error names the field."""
    if isinstance(value, bool):
        raise ValueError("a duration is a number of seconds, not a boolean")
    if isinstance(value, float) and math.isnan(value):
        raise ValueError("a duration is a number of seconds, not NaN")
    seconds = parse_duration(value)
    return value if seconds is None else seconds


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
"""A duration of zero or more: seconds as a number, or text such as ``"500ms"``, ``"2s"``, ``"1.5m"``."""

PositiveSeconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
"""A duration above zero, written like ``Seconds``."""

Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A share of a whole, 0 to 1."""


class Settings(BaseModel):
    """The base of all settings: frozen, strict about names, merged field by field."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # built when used, not when imported

    _ordered: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of fields. The first must not exceed the second."""
    _hints: ClassVar[dict[str, str]] = {}
    """What to give for a field, where pydantic's list of types would say less."""
    _label: ClassVar[str] = "Settings"
    """The name of these settings in errors."""
    _secrets: ClassVar[frozenset[str]] = frozenset()
    """Fields whose values are never shown, here and in the settings inside."""

    def __init_subclass__(cls, **options: Any) -> None:
        cls._label = cls.__dict__.get("_label", cls.__name__)
        super().__init_subclass__(**options)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as invalid:
            failure = ConfigurationError(explain_invalid(type(self), invalid))
        except ConfigurationError:
            raise
        except Exception as foreign:  # of a value with methods of its own
            failure = ConfigurationError(unreadable(f"a value of {type(self).__name__}", foreign))
        else:
            return
        values.clear()  # they may be secret, and error reporters read the local variables of frames
        # Outside the except clause: __context__ would keep pydantic's error with the values.
        raise failure

    def merge(self, over: Self) -> Self:
        """These settings with every field that is set in ``over``. Fields set in neither keep their defaults.

        The result is not checked for contradictions: ``over`` takes precedence, and the values below it are clipped
        when they are resolved. Settings inside settings are merged likewise.
        """
        updates = {name: _merged_value(getattr(self, name), getattr(over, name)) for name in over.model_fields_set}
        merged = self.model_copy(update=updates)
        merged.__pydantic_fields_set__.update(self.model_fields_set)
        merged._adapt_defaults()
        return merged

    @model_validator(mode="wrap")
    @classmethod
    def _check_names(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Refuse names that are not text, which pydantic would pass to ``__init__`` as keywords."""
        if isinstance(values, dict) and not all(isinstance(name, str) for name in values):
            raise ValueError("the names of settings are text")
        try:
            return validate(values)
        except ValidationError as invalid:
            if not cls._secrets:
                raise
            failure = _without_secrets(invalid, cls._secrets)
        raise failure

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As in pydantic. The error does not show the text, which may hold secrets."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as invalid:
            failure = _without_secrets(invalid, cls._secrets)
        del json_data
        raise failure

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Reject values set together that are not in order."""
        for smaller, larger in self._ordered:
            low, high = getattr(self, smaller), getattr(self, larger)
            if {smaller, larger} <= self.model_fields_set and low is not None and high is not None and low > high:
                raise ValueError(
                    f"{smaller}={low:g} exceeds {larger}={high:g} and could never take effect; "
                    f"set {smaller} to at most {high:g} or raise {larger}"
                )
        self._adapt_defaults()
        return self

    def _adapt_defaults(self) -> None:
        """Raise the default of an upper bound to the value set for the field below it."""
        # Start from the defaults, because a merged object may hold one that was raised for another value.
        for larger in {larger for _, larger in self._ordered} - self.model_fields_set:
            object.__setattr__(self, larger, type(self).model_fields[larger].default)
        for smaller, larger in self._ordered:
            low, high = getattr(self, smaller), getattr(self, larger)
            default_applies = smaller in self.model_fields_set and larger not in self.model_fields_set
            if default_applies and low is not None and high is not None and low > high:
                object.__setattr__(self, larger, low)

    def __str__(self) -> str:
        return repr(self)


def _merged_value(under: object, over: object) -> object:
    if isinstance(under, Settings) and isinstance(over, Settings) and type(under) is type(over):
        return under.merge(over)
    return over


class _Hidden:
    """What stands in an error in place of a value that may hold a secret."""

    def __init__(self, words: str) -> None:
        self._words = words

    def __repr__(self) -> str:
        return self._words


def _without_secrets(invalid: ValidationError, secrets: frozenset[str]) -> ValidationError:
    """The same error without the values that are or may hold one of the secret fields. pydantic would show them."""
    errors = [
        InitErrorDetails(
            type=PydanticCustomError(cast("Any", error["type"]), cast("Any", error["msg"])),
            loc=error["loc"],
            input=_shown_input(error, secrets),
        )
        for error in invalid.errors(include_url=False)
    ]
    return ValidationError.from_exception_data(invalid.title, errors)


def _shown_input(error: ErrorDetails, secrets: frozenset[str]) -> object:
    value: object = error["input"]
    if not secrets.isdisjoint(error["loc"]):
        return _Hidden("a value that is not shown")
    if isinstance(value, str) and error["type"] != "json_invalid":
        return hide_userinfo(value)
    return value if value is None or isinstance(value, (int, float, Settings)) else _Hidden(kind_of(value))


def explain_invalid(model: type[Settings], invalid: ValidationError) -> str:
    """One sentence per field: what is wrong, which value, what is allowed, what to do."""
    sentences: dict[str, str] = {}
    for error in invalid.errors(include_url=False):
        sentences.setdefault(str(error["loc"][:1]), _sentence(model, error))
    return "; ".join(sentences.values())


def _sentence(model: type[Settings], error: Any) -> str:
    field = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"{model.__name__} has no setting {field!r}; {suggest(field, model.model_fields)}"
    steps = (str(step) for step in error["loc"] if "[" not in str(step))  # without pydantic's names of unions
    where = ".".join(part for part in (model._label, *steps) if part)
    if error["type"] == "missing":
        return f"{where} is missing; give {model._hints.get(field, 'it: it has no default')}"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "value_error":
        return f"{where}: {message}"
    hint = model._hints.get(field)
    if hint is not None:
        name = ".".join(part for part in (model._label, field) if part)
        return f"{name} is {_format_input(model, field, error)}; give {hint}"
    value = _format_input(model, field, error)
    return f"{where} is {value}, but must be {message}; give such a value or leave it out for the default"


def _format_input(model: type[Settings], field: str, error: Any) -> str:
    return "a value that is not shown" if field in model._secrets else shorten(error["input"])
