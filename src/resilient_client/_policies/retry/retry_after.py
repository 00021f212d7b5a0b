"""How long the server asks us to wait (RFC 9110 section 10.2.3).

Decides what the headers of a reply mean in seconds; never caps the wish, never waits. The wish is a *floor*:
who comes back earlier is part of the overload. So one that is too long (``Retry.retry_after_cap``, the
deadline) is never shortened, it ends the retrying; and a number beyond all floats is infinity, not nothing.

``email.utils`` is not used: it accepts what is no HTTP-date (any zone or none, trailing junk), takes the
century of a two-digit year from a fixed pivot and refuses leap seconds. ``strptime`` depends on the locale. A
wish misread is worse than a wish ignored: without one, the backoff still holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Final

MAX_JITTER_RATIO: Final = 0.25
"""Jitter adds at most this share of the wait."""
MAX_JITTER: Final = 5.0
"""Jitter adds at most this many seconds."""

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_WEEKDAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_CLOCK = "(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"

_IMF_FIXDATE = f"{_WEEKDAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT"
_RFC850_DATE = f"{_LONG_WEEKDAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT"
_ASCTIME_DATE = f"{_WEEKDAY} {_MONTH} (?P<day>[ 0-9][0-9]) {_CLOCK} (?P<year>[0-9]{{4}})"
_HTTP_DATES = (_IMF_FIXDATE, _RFC850_DATE, _ASCTIME_DATE)  # compiled when first met: few replies hold a date


def retry_after(headers: Mapping[str, str], *, wall_now: float) -> float | None:
    """The wait a reply asks for.

    ``retry-after-ms`` (OpenAI, Azure) states the same requested_delay in finer grain; where it is readable, it wins.

    Args:
        headers: The headers of the reply; the mapping must ignore case, as multidict's ``CIMultiDict`` does.
        wall_now: The time of day, in seconds since the epoch.

    Returns:
        Seconds from now, 0.0 to infinity; ``None`` when the reply says nothing readable.
    """
    milliseconds = number_in(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    return parse_retry_after(headers.get("retry-after"), wall_now=wall_now)


def parse_retry_after(value: str | None, *, wall_now: float) -> float | None:
    """Read a ``Retry-After`` value: a delay in seconds, or an HTTP-date in any of its three forms.

    The RFC knows whole seconds only. Decimals and exponents are read too: ``1.5`` is seen in the wild, and
    what it means is beyond doubt.

    Args:
        value: The value of the header; ``None`` when there is none.
        wall_now: The time of day, in seconds since the epoch.

    Returns:
        Seconds from now: 0.0 for a date in the past, infinity for a number beyond all floats; ``None`` for
        everything that is neither a date nor a number of 0 or more.
    """
    if value is None:
        return None
    seconds = number_in(value)
    if seconds is not None:
        return seconds
    date = _http_date(value, wall_now)
    return None if date is None else max(0.0, date - wall_now)


def jittered(seconds: float, rng: Random) -> float:
    """The server's wish, spread upward only, so that callers told the same do not come back as one.

    Adds up to a quarter of the wish and at most 5 s. (Envoy multiplies by 1 to 1.5,
    ``RateLimitedRetryBackOff``; the AWS SDKs add up to 5 s.) With the same random draw, a longer
    request means a longer wait. 0.0 stays 0.0: there the backoff does the spreading.

    Args:
        seconds: The wish, 0.0 or more.
        rng: The source of chance.

    Returns:
        Seconds, ``seconds`` or more.
    """
    return seconds + rng.uniform(0.0, min(seconds * MAX_JITTER_RATIO, MAX_JITTER))


def number_in(text: str) -> float | None:
    """A plain number of 0 or more, or ``None``."""
    text = text.strip(" \t")
    # The pattern decides: `float` would also read "nan", "-1", "1_0" and the digits of any script.
    return float(text) if _NUMBER.fullmatch(text) else None


def _http_date(text: str, wall_now: float) -> float | None:
    """The epoch seconds of an HTTP-date, or ``None``. The weekday is not checked against the date."""
    text = text.strip(" \t")
    found = next((match for form in _HTTP_DATES if (match := re.fullmatch(form, text))), None)
    if found is None:
        return None
    month = _MONTHS.index(found["month"]) + 1
    day, hour, minute, second = (int(found[part]) for part in ("day", "hour", "minute", "second"))
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _full_year(year, (month, day, hour, minute, second), datetime.fromtimestamp(wall_now, UTC))
    try:
        # The seconds are added, because `datetime` knows no leap second (60).
        return datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() + second
    except ValueError:  # the 31st of February, the year 0000
        return None


def _full_year(digits: int, rest: tuple[int, ...], now: datetime) -> int:
    """The latest year that ends in ``digits`` with the date at most 50 years ahead (RFC 9110 5.6.7)."""
    horizon = now.year + 50
    year = horizon - (horizon - digits) % 100
    return year - 100 if (year, *rest) > (horizon, *now.timetuple()[1:6]) else year
