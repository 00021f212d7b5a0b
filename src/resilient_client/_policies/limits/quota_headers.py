"""Whether the headers of a reply report a used-up quota, and for how long.

These are read, in this order:

- ``Retry-After`` of a 429 or 503,
- ``RateLimit`` with ``RateLimit-Policy`` (the IETF's draft-ietf-httpapi-ratelimit-headers, as of revision 10, and the
  dictionary of revision 7),
- the single fields ``RateLimit-Remaining`` and ``RateLimit-Reset`` of earlier revisions, also with ``X-``, as GitHub
  and many others send them.

The draft gives ``Retry-After`` precedence. Unreadable headers are ignored and never raise: a misread delay
is worse than an ignored one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from multidict import MultiMapping

from resilient_client._policies.retry.retry_after import number_in, retry_after

_SLOW_DOWN = frozenset({429, 503})
_SINGLE_FIELDS = ("RateLimit-", "X-RateLimit-", "X-Rate-Limit-")
_EPOCH: Final = 1e9  # a larger number is not a delay in seconds (31 years) but a date in epoch seconds,
_EPOCH_MS: Final = 1e12  # or from here on in epoch milliseconds


def requested_pause(status: int, headers: MultiMapping[str], *, wall_now: float) -> float | None:
    """The time for which a reply asks its callers to send nothing.

    Args:
        status: The status of the reply.
        headers: Its headers, in a mapping that ignores the case of names, such as multidict's ``CIMultiDict``.
        wall_now: The time of day, in seconds since the epoch.

    Returns:
        Seconds from now, 0.0 to infinity, or ``None`` if the reply does not ask for a pause.
    """
    if status in _SLOW_DOWN:
        requested_delay = retry_after(headers, wall_now=wall_now)
        if requested_delay is not None:
            return requested_delay
    return exhausted_for(headers, wall_now=wall_now)


def exhausted_for(headers: MultiMapping[str], *, wall_now: float) -> float | None:
    """The time for which the quota that a reply reports is used up.

    Args:
        headers: As for ``requested_pause``.
        wall_now: As for ``requested_pause``.

    Returns:
        Seconds from now, the longest if there is more than one quota, or ``None`` if none is used up, or if the reply
        does not say until when.
    """
    fields = headers.getall("RateLimit", ())
    if fields:
        windows = dict(_windows(",".join(headers.getall("RateLimit-Policy", ()))))
        return max(_exhausted(",".join(fields), windows), default=None)
    for prefix in _SINGLE_FIELDS:
        if number_in(headers.get(f"{prefix}Remaining", "")) == 0:
            reset = number_in(headers.get(f"{prefix}Reset", ""))
            return None if reset is None else _seconds(reset, wall_now)
    return None


def _exhausted(field: str, windows: dict[str, float]) -> Iterator[float]:
    """Seconds until each used-up quota in a ``RateLimit`` field is renewed.

    In revision 10 the field is a list with an item per quota: ``"burst";r=0;t=5``. In revision 7 it is one dictionary:
    ``limit=10, remaining=0, reset=5``. Both are read in one pass.
    """
    dictionary: dict[str, str] = {}
    for name, parameters in _items(field):
        if number_in(parameters.get("r", "")) == 0:
            reset = number_in(parameters.get("t", ""))
            reset = windows.get(name) if reset is None else reset
            if reset is not None:
                yield reset
        key, _, value = name.partition("=")
        dictionary[key.strip(" \t")] = value
    reset = number_in(dictionary.get("reset", ""))
    if number_in(dictionary.get("remaining", "")) == 0 and reset is not None:
        yield reset


def _windows(field: str) -> Iterator[tuple[str, float]]:
    """The name and the window, in seconds, of each quota in a ``RateLimit-Policy`` field."""
    for name, parameters in _items(field):
        window = number_in(parameters.get("w", ""))
        if window is not None:
            yield name, window


def _items(field: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The items of a list in the form of RFC 9651, each with its parameters. Malformed text is split likewise."""
    for item in _split(field, ","):
        name, *pairs = _split(item, ";")
        parameters = (pair.partition("=") for pair in pairs)
        yield name.strip(" \t"), {key.strip(" \t"): value for key, _, value in parameters}


def _split(text: str, separator: str) -> list[str]:
    """Split ``text`` at the separators that are not within quotes."""
    parts, quoted, escaped, start = [], False, False, 0
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = quoted
        elif character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def _seconds(reset: float, wall_now: float) -> float:
    """The seconds that a ``Reset`` field stands for: some servers send seconds to wait, some a date."""
    if reset < _EPOCH:
        return reset
    return max(0.0, (reset / 1000 if reset >= _EPOCH_MS else reset) - wall_now)
