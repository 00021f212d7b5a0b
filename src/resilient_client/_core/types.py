"""Small types and type aliases that all packages share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import Literal, TypeAlias


class NotGiven(Enum):
    """The type of ``NOT_GIVEN``. It distinguishes "not set" from ``None``, which means "no limit" or "off"."""

    NOT_GIVEN = "NOT_GIVEN"

    def __repr__(self) -> str:
        return self.value


NOT_GIVEN = NotGiven.NOT_GIVEN
"""The caller did not set this, so the value of the next outer layer of settings applies."""

Duration: TypeAlias = float | str | timedelta
"""A duration: seconds as a number, text such as ``"500ms"``, ``"2s"``, ``"1.5m"``, ``"1h"``, or a ``timedelta``."""

Scalar: TypeAlias = str | int | float | bool
QueryParams: TypeAlias = "Mapping[str, Scalar | Sequence[Scalar] | None] | Sequence[tuple[str, Scalar]]"
"""Query parameters. A sequence repeats the name, ``None`` leaves it out, and a bool is sent as ``true``/``false``."""

HeadersLike: TypeAlias = "Mapping[str, str] | Sequence[tuple[str, str]]"
"""Headers as a mapping, or as pairs, in which a name may occur more than once."""

Priority: TypeAlias = Literal["user", "batch", "probe"]
"""The order in which waiting calls are admitted, highest first: a person waits for it, background work, a probe."""
