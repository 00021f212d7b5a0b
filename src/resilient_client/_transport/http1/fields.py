"""Reads field lines: the name and the value of one header or trailer field, from the bytes between two line ends.

A server sends the same lines with nearly every response. A line that has been seen twice is kept with its name and
value, so the next time it costs one lookup. Values that differ from response to response, such as tokens, are not kept.
Lines that decide the framing are kept apart from the others: the parser looks at each of them.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final, TypeVar

from multidict import istr

from resilient_client._transport.http1.failure import RefusedError

Field = tuple[istr, str]

MAX_KNOWN_LINE: Final = 256
"""Bytes of a line that is kept, at most."""
_FRAMING_FIELDS: Final = frozenset({"connection", "content-length", "transfer-encoding"})
_MAX_KNOWN_LINES: Final = 1024
_MAX_KNOWN_NAMES: Final = 512
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_DANGEROUS: Final = re.compile(rb"[\x00\r\n]")

V = TypeVar("V")


class Recent(dict[bytes, V]):
    """A dictionary of bounded size: each new entry above the limit takes the place of the oldest one."""

    __slots__ = ("_limit", "_order")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._order: deque[bytes] = deque()

    def add(self, key: bytes, value: V) -> V:
        """Keep a value, and drop the oldest one if there are too many."""
        if len(self._order) >= self._limit:
            self.pop(self._order.popleft(), None)  # another thread may have added and dropped the same key
        self._order.append(key)
        self[key] = value
        return value


known_lines: Recent[Field] = Recent(_MAX_KNOWN_LINES)
"""Lines that have been seen twice, without those of the framing. None is above ``MAX_KNOWN_LINE`` bytes."""
_known_framing_lines: Recent[Field] = Recent(_MAX_KNOWN_NAMES)
_known_names: Recent[istr] = Recent(_MAX_KNOWN_NAMES)
_seen_once = [0] * _MAX_KNOWN_LINES  # hashes of lines: a line that never comes again is not kept


def read_field(line: bytes) -> Field:
    """Return the name and the value of a field line.

    Whitespace around the value is not part of it (RFC 9112 section 5.1). The value is decoded as UTF-8 with
    surrogateescape, so that no byte is lost (RFC 9110 section 5.5: a recipient treats bytes above 0x7F as opaque).

    Args:
        line: The line without its end, unfolded.

    Raises:
        RefusedError: The name is not a token, or the value contains NUL, CR or LF.
    """
    raw_name, colon, raw_value = line.partition(b":")
    name = _known_names.get(raw_name) or _read_name(raw_name)
    if not colon:
        raise RefusedError("a header line without a colon")
    value = raw_value.decode("utf-8", "surrogateescape").strip(" \t")
    if not value.isprintable() and is_dangerous(raw_value):  # the first question is the cheaper one
        raise RefusedError("NUL, CR or LF in a header field")
    return name, value


def recall_field(line: bytes) -> tuple[Field, bool]:
    """Return the field of a line, and whether it is one of those that decide the framing.

    A line that comes again is kept, in ``known_lines`` unless it is one of the framing.

    Raises:
        RefusedError: As ``read_field``.
    """
    field = _known_framing_lines.get(line)
    if field is not None:
        return field, True
    field = read_field(line)
    is_framing = field[0].lower() in _FRAMING_FIELDS
    _remember(line, field, _known_framing_lines if is_framing else known_lines)
    return field, is_framing


def _remember(line: bytes, field: Field, lines: Recent[Field]) -> None:
    if len(line) > MAX_KNOWN_LINE or line in lines:
        return
    number = hash(line)
    slot = number % _MAX_KNOWN_LINES
    if _seen_once[slot] == number:
        lines.add(line, field)
    _seen_once[slot] = number


def is_dangerous(data: bytes) -> bool:
    """Whether there is a NUL, CR or LF, which RFC 9110 section 5.5 has rejected or replaced.

    The section allows to keep other control characters, and curl and aiohttp do so. RFC 9112 section 2.2 asks the same
    of a bare CR.
    """
    return _DANGEROUS.search(data) is not None


def _read_name(raw: bytes) -> istr:
    """Return the name as a multidict's key.

    Whitespace before the colon is removed, as RFC 9112 section 5.1 asks a proxy to do with a response.
    """
    name = raw.rstrip(b" \t")
    if _TOKEN.fullmatch(name) is None:
        raise RefusedError("a header field name that is not a token")
    known = istr(name.decode("ascii"))
    return _known_names.add(raw, known) if len(raw) <= MAX_KNOWN_LINE else known


def _keep_default_options() -> None:
    """Keep lines that say what HTTP/1.1 does anyway. They are never dropped."""
    for name in (b"Connection", b"connection"):
        for option in (b"keep-alive", b"Keep-Alive"):
            known_lines[name + b": " + option] = istr(name.decode()), option.decode()


_keep_default_options()
