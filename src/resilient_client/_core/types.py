"""The small types that everybody shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import Literal, TypeAlias


class NotGiven(Enum):
    """The type of ``NOT_GIVEN``: tells "not mentioned" from ``None``, which means "no limit" or "off"."""

    NOT_GIVEN = "NOT_GIVEN"

    def __repr__(self) -> str:
        return self.value


NOT_GIVEN = NotGiven.NOT_GIVEN
"""The caller did not mention this; the next layer out decides."""

Duration: TypeAlias = float | str | timedelta
"""A duration: seconds as a number, text such as ``"500ms"``, ``"2s"``, ``"1.5m"``, ``"1h"``, or a ``timedelta``."""

Scalar: TypeAlias = str | int | float | bool
QueryParams: TypeAlias = "Mapping[str, Scalar | Sequence[Scalar] | None] | Sequence[tuple[str, Scalar]]"
"""Query parameters. A sequence as value repeats the name; ``None`` leaves it out; a bool is ``true``/``false``."""

HeadersLike: TypeAlias = "Mapping[str, str] | Sequence[tuple[str, str]]"
"""Headers as a mapping, or as pairs where a name may come more than once."""

Priority: TypeAlias = Literal["user", "batch", "probe"]
"""Who goes first where calls have to wait for one another: somebody waits for it; nobody does; it only looks."""
