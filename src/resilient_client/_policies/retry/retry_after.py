"""How long the server asks the client to wait (RFC 9110 section 10.2.3).

This module reads the headers of a reply as seconds. It never caps the requested delay and never waits. The requested
delay is a *floor*: a caller that comes back earlier adds to the overload. So a delay that is too long
(``Retry.max_retry_after``, the deadline) is never shortened but ends the retrying, and a number too large for a float
is infinity and not ignored.

A date is relative to the server's clock, which is the ``Date`` of the same reply. Without one, it is relative to the
clock of this machine. Dates are read in the forms of RFC 9110 section 5.6.7, and in those that are common and can mean
nothing else: another name of the same zone (``UTC``, ``+0000``), a day of one digit, a year of two.

``email.utils`` is not used. It accepts text that is not an HTTP-date (any zone or none, trailing junk), takes the
century of a two-digit year from a fixed pivot and refuses leap seconds. ``strptime`` depends on the locale. A misread
delay is worse than an ignored one, because the backoff applies without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from random import Random
from typing import Final

from multidict import MultiMapping

MAX_JITTER_RATIO: Final = 0.25
"""Jitter adds at most this share of the requested delay."""
MAX_JITTER: Final = 5.0
"""Jitter adds at most this many seconds."""

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_WEEKDAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_CLOCK = "(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"

_DAY = "(?P<day>[0-9]{1,2})"
_ZONE = "(?:GMT|UTC?|Z|[+-]00:?00)"

_IMF_FIXDATE = f"{_WEEKDAY}, {_DAY} {_MONTH} (?P<year>[0-9]{{4}}|[0-9]{{2}}) {_CLOCK} {_ZONE}"
_RFC850_DATE = f"{_LONG_WEEKDAY}, {_DAY}-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} {_ZONE}"
_ASCTIME_DATE = f"{_WEEKDAY} {_MONTH} +{_DAY} {_CLOCK} (?P<year>[0-9]{{4}})"
_HTTP_DATES = (_IMF_FIXDATE, _RFC850_DATE, _ASCTIME_DATE)  # compiled on first use: few replies hold a date


def retry_after(headers: MultiMapping[str], *, wall_now: float) -> float | None:
    """The delay that a reply requests. Of two fields of the same name, it is the longer delay.

    ``retry-after-ms`` (OpenAI, Azure) states the same delay more finely. It is preferred where it is readable.

    Args:
        headers: The headers of the reply, in a mapping that ignores the case of names, such as ``CIMultiDict``.
        wall_now: The time of day here, in seconds since the epoch, which counts if the reply has no ``Date``.

    Returns:
        Seconds from now, 0.0 to infinity, or ``None`` if the reply holds no readable delay.
    """
    milliseconds = _longest(number_in(field) for field in headers.getall("retry-after-ms", ()))
    if milliseconds is not None:
        return milliseconds / 1000
    fields = headers.getall("retry-after", ())
    if not fields:
        return None
    sent_at = _http_date(headers.get("date", ""), wall_now)
    server_now = wall_now if sent_at is None else sent_at
    return _longest(parse_retry_after(field, wall_now=server_now) for field in fields)


def parse_retry_after(value: str | None, *, wall_now: float) -> float | None:
    """Read a ``Retry-After`` value: a delay in seconds, or an HTTP-date in any of its three forms.

    The RFC allows whole seconds only. Decimals and exponents are read, too: servers do send ``1.5``, and its meaning is
    clear.

    Args:
        value: The value of the header, or ``None`` when there is none.
        wall_now: The time of day, in seconds since the epoch, on the clock of the server if it is known.

    Returns:
        Seconds from now: 0.0 for a date in the past, infinity for a number too large for a float. ``None``
        for a value that is neither a date nor a number of 0 or more.
    """
    if value is None:
        return None
    seconds = number_in(value)
    if seconds is not None:
        return seconds
    date = _http_date(value, wall_now)
    return None if date is None else max(0.0, date - wall_now)


def jittered(seconds: float, rng: Random) -> float:
    """The requested delay with jitter added, so that callers with the same delay do not come back at the same time.

    Jitter adds up to a quarter of the delay and at most 5 s. (Envoy multiplies by 1 to 1.5,
    ``RateLimitedRetryBackOff``; the AWS SDKs add up to 5 s.) With the same random draw, a longer requested delay gives
    a longer result. 0.0 stays 0.0, because the backoff spreads the callers then.

    Args:
        seconds: The requested delay, 0.0 or more.
        rng: The random generator.

    Returns:
        Seconds, ``seconds`` or more.
    """
    return seconds + rng.uniform(0.0, min(seconds * MAX_JITTER_RATIO, MAX_JITTER))


def number_in(text: str) -> float | None:
    """The value of ``text`` if it is a plain decimal number of 0 or more, else ``None``."""
    text = text.strip(" \t")
    # The pattern decides: `float` would also read "nan", "-1", "1_0" and the digits of any script.
    return float(text) if _NUMBER.fullmatch(text) else None


def _longest(delays: Iterable[float | None]) -> float | None:
    return max((delay for delay in delays if delay is not None), default=None)


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
        # The seconds are added afterwards, because `datetime` refuses a leap second (60).
        return datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() + second
    except ValueError:  # the 31st of February, the year 0000
        return None


def _full_year(digits: int, rest: tuple[int, ...], now: datetime) -> int:
    """The latest year that ends in ``digits`` and puts the date at most 50 years ahead (RFC 9110 section 5.6.7)."""
    horizon = now.year + 50
    year = horizon - (horizon - digits) % 100
    return year - 100 if (year, *rest) > (horizon, *now.timetuple()[1:6]) else year
