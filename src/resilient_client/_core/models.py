"""From bytes to typed values, through pydantic. One validator a type, built once and kept."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from typing_extensions import TypeForm

from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.validation import shorten

T = TypeVar("T")


@lru_cache(maxsize=1024)
def _cached(model: Any, _text: str) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def validator_for(model: TypeForm[T]) -> TypeAdapter[T]:
    """The pydantic validator of any type form: a class, ``list[User]``, ``User | None``, a TypedDict ...

    Raises:
        InvalidRequestError: pydantic cannot use the type.
    """
    try:
        if isinstance(model, str):
            raise PydanticUndefinedAnnotation(name=model, message="a name in quotes; give the type itself")
        try:
            # ``A | B`` equals ``B | A``, but pydantic takes the first that fits: so the text belongs to the key.
            return cast("TypeAdapter[T]", _cached(cast("Any", model), "" if isinstance(model, type) else repr(model)))
        except TypeError:  # not hashable, such as Annotated with a list in it
            return cast("TypeAdapter[T]", TypeAdapter(cast("Any", model)))
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        reason = error.message.partition("\n")[0]
    except (
        Exception
    ) as error:  # pydantic takes a mapping, an object with odd attributes and the like for its own schemas
        reason = f"{type(error).__name__} in pydantic"
    name = getattr(model, "__name__", None) or shorten(model)
    raise InvalidRequestError(f"response_model {name:.80} is not a type that pydantic can check: {reason:.200}")
