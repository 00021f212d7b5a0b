"""The pydantic validators that decode bodies. The validator of a type is built once and cached."""

from __future__ import annotations

import inspect
from functools import cached_property, lru_cache, partial
from typing import Any, Final, Generic, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import SchemaValidator, core_schema
from typing_extensions import TypeForm

from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.text import quoted
from resilient_client._core.validation import shorten

T = TypeVar("T")

ALL_ERRORS_UP_TO: Final = 16 * 1024
"""Bytes of a body of which every error is collected. Above, a collection is left at its first wrong item."""
MAX_JSON_VALUES: Final = 1_000_000
"""The default of ``ClientConfig.max_json_values``."""
_MAX_SHOWN: Final = 5
_MAX_LISTED: Final = 10_000  # errors of which pydantic is asked for a description: it describes all or none

_NOT_SCHEMAS: Final = frozenset({"metadata", "serialization", "default", "expected", "config", "cls", "function"})
"""Parts of a core schema that hold values of users, not schemas."""


class ModelValidator(Generic[T]):
    """Validates JSON against one type.

    pydantic collects every error before it raises: 320 bytes for each wrong item, so that a small compressed body can
    take gigabytes. Above ``ALL_ERRORS_UP_TO`` the same schema is used with ``fail_fast`` set in all its collections.
    """

    def __init__(self, model: Any) -> None:
        """Build the validator of a type form.

        Raises:
            Exception: One of pydantic's. The type cannot be used.
        """
        self._adapter: TypeAdapter[T] = TypeAdapter(model)

    def validate(self, content: bytes) -> T:
        """Return the value in a body of UTF-8 JSON.

        Raises:
            ValidationError: The body does not fit, or is not JSON.
        """
        if len(content) <= ALL_ERRORS_UP_TO:
            return self._adapter.validate_json(content)
        return cast("T", self._fail_fast.validate_json(content))

    @cached_property
    def _fail_fast(self) -> SchemaValidator:
        return SchemaValidator(_with_fail_fast(self._adapter.core_schema), **_REBUILT)


def validator_for(model: TypeForm[T]) -> ModelValidator[T]:
    """Return the validator of a type form: a class, ``list[User]``, ``User | None``, a TypedDict ...

    Raises:
        InvalidRequestError: pydantic cannot use the type.
    """
    try:
        if isinstance(model, str):
            raise PydanticUndefinedAnnotation(name=model, message="a name in quotes; give the type itself")
        if inspect.isroutine(model) or isinstance(model, partial):  # pydantic would validate its arguments
            raise PydanticUndefinedAnnotation(name="", message="a function; give the type of its result")
        try:
            # ``A | B`` equals ``B | A``, but pydantic takes the first type that fits. So the order, as text, must be
            # part of the cache key.
            return cast(
                "ModelValidator[T]", _cached(cast("Any", model), "" if isinstance(model, type) else repr(model))
            )
        except TypeError:  # not hashable, such as Annotated with a list in it
            return ModelValidator(model)
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        reason = error.message.partition("\n")[0]
    except Exception as error:  # pydantic takes a mapping, or an object with unusual attributes, for one of its schemas
        reason = f"{type(error).__name__} in pydantic"
    name = model.__name__ if isinstance(model, type) else shorten(model)
    raise InvalidRequestError(f"response_model {name:.80} is not a type that pydantic can check: {reason:.200}")


def describe(error: ValidationError, *, all_errors: bool) -> str:
    """Describe where a body does not fit and how, without its values: at most five places.

    Args:
        error: What pydantic raised.
        all_errors: Whether it holds all errors. If not, the description says so.
    """
    if (count := error.error_count()) > _MAX_LISTED:  # members that a model forbids make an error each
        return f"{count:,} errors"
    found = error.errors(include_url=False, include_context=False, include_input=False)
    places = [f"{quoted('.'.join(map(str, each['loc']))) or 'body'}: {each['type']}" for each in found[:_MAX_SHOWN]]
    if len(found) > _MAX_SHOWN:
        places.append(f"{len(found) - _MAX_SHOWN} more")
    elif not all_errors and found[0]["type"] != "json_invalid":
        places.append("perhaps more")
    return "; ".join(places)


@lru_cache(maxsize=1024)
def _cached(model: Any, _text: str) -> ModelValidator[Any]:
    return ModelValidator(model)


def _with_fail_fast(schema: Any) -> Any:
    """Return a copy of a core schema in which every collection is left at its first wrong item."""
    if isinstance(schema, (list, tuple)):
        return type(schema)([_with_fail_fast(part) for part in schema])
    if not isinstance(schema, dict):
        return schema
    if not isinstance(schema.get("type"), str):  # the fields of a model or the choices of a union, by their names
        return {name: _with_fail_fast(part) for name, part in schema.items()}
    copy = {name: part if name in _NOT_SCHEMAS else _with_fail_fast(part) for name, part in schema.items()}
    if copy["type"] in _COLLECTIONS:
        copy["fail_fast"] = True
    return copy


def _has_parameter(function: Any, name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except ValueError:  # a class in C of an older release, without a signature
        return False


_COLLECTIONS: Final = frozenset(
    name.removesuffix("_schema").replace("_", "-")
    for name, make in vars(core_schema).items()
    if name.endswith("_schema") and callable(make) and _has_parameter(make, "fail_fast")
)
"""The types of schema that know ``fail_fast`` in the installed release of pydantic."""

# A model class brings its own validator, which collects all errors: it must be built again from the changed schema.
_REBUILT: Final[dict[str, Any]] = {"_use_prebuilt": False} if _has_parameter(SchemaValidator, "_use_prebuilt") else {}
