"""Finds pydantic secrets in a value that is to be sent as JSON. They serialise as asterisks unless told otherwise."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Iterable, Mapping


def has_masked_secret(value: object, encoded: bytes | None = None) -> bool:
    """Whether the JSON of a value shows the mask of a secret in place of the secret.

    A secret that a serializer reveals or leaves out does not count, and neither does a text that consists of asterisks.

    Args:
        value: What was encoded.
        encoded: Its JSON. ``None``: it has none, so any secret counts.
    """
    from pydantic import SecretBytes, SecretStr
    from pydantic.types import Secret

    seen: set[int] = set()  # objects may refer to each other in attributes that are not serialised
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (SecretStr, SecretBytes, Secret)):
            mask = str(item).removeprefix("b'").removesuffix("'")  # of SecretBytes: the repr of bytes
            if encoded is None or (mask and json.dumps(mask, ensure_ascii=False).encode() in encoded):
                return True
        elif id(item) not in seen:
            seen.add(id(item))
            waiting.extend(_parts(item))
    return False


def _parts(item: object) -> Iterable[object]:
    """What a value consists of, one level deep, whether it is serialised or not."""
    if isinstance(item, Mapping):
        return [*item.keys(), *item.values()]
    if isinstance(item, (list, tuple, set, frozenset, deque)):
        return item
    parts = [*getattr(item, "__dict__", {}).values(), getattr(item, "__pydantic_extra__", None)]
    if dataclasses.is_dataclass(item):
        parts += [getattr(item, field.name, None) for field in dataclasses.fields(item)]  # of one with slots
    return parts
