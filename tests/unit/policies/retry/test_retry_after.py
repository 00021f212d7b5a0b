"""What a requested delay means in seconds, and which values are ignored."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from resilient_client._policies.retry.retry_after import jittered, parse_retry_after, retry_after

EXAMPLE = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
"""The date that RFC 9110 section 5.6.7 writes in three forms."""


class Luck(Random):
    """A generator that always draws the same."""

    def __init__(self, drawn: float) -> None:
        super().__init__()
        self.drawn = drawn

    def random(self) -> float:
        return self.drawn


def parse(value: str | None, now: datetime = EXAMPLE) -> float | None:
    return parse_retry_after(value, wall_now=now.timestamp())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), ("120", 120.0), (" 120\t", 120.0), ("007", 7.0), ("1.5", 1.5), ("1e2", 100.0)],
)
def test_parse_of_a_number_gives_seconds(value: str, seconds: float) -> None:
    """A number of 0 or more is a delay in seconds, with decimals and exponents."""
    assert parse(value) == seconds


@pytest.mark.parametrize("value", ["1e999", "9" * 400, "9" * 8000])
def test_parse_of_a_number_beyond_all_floats_gives_infinity(value: str) -> None:
    """A number too large for a float is beyond any deadline and never becomes a short delay."""
    assert parse(value) == math.inf


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "-1",
        "-0",
        "+5",
        "nan",
        "inf",
        "Infinity",
        "1_0",
        "0x10",
        "١٢",
        "5 s",
        "5, 10",
        "1.",
        ".5",
    ],
)
def test_parse_of_no_number_gives_none(value: str | None) -> None:
    """What is no plain number of 0 or more is ignored, even where Python's ``float`` would read it."""
    assert parse(value) is None


@pytest.mark.parametrize(
    "value",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
    ids=["imf_fixdate", "rfc850", "asctime"],
)
def test_parse_of_each_date_form_gives_the_seconds_until_then(value: str) -> None:
    """All three forms of an HTTP-date are read, and all are in GMT."""
    assert parse(value, EXAMPLE - timedelta(seconds=30)) == 30.0


@pytest.mark.parametrize(
    "value",
    [
        *(f"Sun, 06 Nov 1994 08:49:37 {zone}" for zone in ("UTC", "UT", "Z", "+0000", "-0000", "+00:00")),
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 6 Nov 94 08:49:37 +0000",
        "Sunday, 6-Nov-94 08:49:37 UTC",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
    ],
)
def test_parse_of_a_common_variant_of_a_date_reads_it(value: str) -> None:
    """Another name of the same zone, a day of one digit and a year of two mean the same date."""
    assert parse(value, EXAMPLE - timedelta(seconds=30)) == 30.0


def test_parse_of_a_past_date_gives_zero() -> None:
    """A date that has passed asks for no wait."""
    assert parse("Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE + timedelta(days=1)) == 0.0


def test_parse_of_a_leap_second_counts_it_as_the_next_minute() -> None:
    """``23:59:60`` is valid and means the second after ``23:59:59``."""
    now = datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert parse("Sat, 31 Dec 2016 23:59:60 GMT", now) == 1.0


@pytest.mark.parametrize(
    "value",
    [
        "06 Nov 1994 08:49:37 GMT",
        "Foo, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 PST",
        "Sun, 06 Nov 1994 08:49:37 +0200",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT; junk",
        "1994-11-06T08:49:37Z",
    ],
)
def test_parse_of_no_http_date_gives_none(value: str) -> None:
    """What is nearly a date is ignored rather than guessed at."""
    assert parse(value, EXAMPLE - timedelta(days=1)) is None


@pytest.mark.parametrize(
    ("now", "digits", "year"),
    [
        (datetime(2026, 6, 1, 12, tzinfo=UTC), "26", 2026),
        (datetime(2026, 6, 1, 12, tzinfo=UTC), "75", 2075),
        (datetime(2026, 6, 1, 12, tzinfo=UTC), "76", 2076),
        (datetime(2026, 6, 1, 11, tzinfo=UTC), "76", 1976),
        (datetime(2026, 6, 1, 12, tzinfo=UTC), "77", 1977),
        (datetime(2099, 6, 1, 12, tzinfo=UTC), "00", 2100),
    ],
)
def test_parse_of_a_two_digit_year_is_at_most_fifty_years_ahead(now: datetime, digits: str, year: int) -> None:
    """A two-digit year that seems more than 50 years ahead, to the second, is the latest past one instead."""
    expected = datetime(year, 6, 1, 12, tzinfo=UTC) - now
    assert parse(f"Monday, 01-Jun-{digits} 12:00:00 GMT", now) == max(0.0, expected.total_seconds())


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.sampled_from(["imf", "asctime"]))  # noqa: DTZ001 - hypothesis wants naive bounds
@settings(derandomize=True, deadline=None)
def test_parse_of_a_written_date_reads_it_back(naive: datetime, form: str) -> None:
    """Every date a server writes is read as that very second."""
    date = naive.replace(microsecond=0, tzinfo=UTC)
    value = format_datetime(date, usegmt=True) if form == "imf" else date.ctime()
    assert parse_retry_after(value, wall_now=0.0) == date.timestamp()


@given(
    st.text()
    | st.text("0123456789.eE+-")
    | st.from_regex(r"(Sun|Mon), [0-9]{2} (Nov|Feb) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT", fullmatch=True)
    | st.from_regex(r"Sunday, [0-9]{2}-Feb-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT", fullmatch=True),
    st.floats(0, 4e9),
)
@settings(derandomize=True, deadline=None)
def test_parse_of_anything_gives_none_or_a_wait(value: str, wall_now: float) -> None:
    """No header value raises, and none gives a negative wait or NaN."""
    seconds = parse_retry_after(value, wall_now=wall_now)
    assert seconds is None or seconds >= 0.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After-Ms": "250"}, 0.25),
        ({"Retry-After": "2", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "2", "retry-after-ms": "0"}, 0.0),
        ({"Retry-After": "2", "retry-after-ms": "soon"}, 2.0),
        ({"retry-after-ms": "1e999"}, math.inf),
    ],
)
def test_retry_after_with_milliseconds_prefers_them(headers: dict[str, str], seconds: float | None) -> None:
    """The header in milliseconds wins where it is readable, else ``Retry-After`` speaks."""
    assert retry_after(CIMultiDict(headers), wall_now=0.0) == seconds


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([("Retry-After", "2"), ("Retry-After", "10")], 10.0),
        ([("Retry-After", "10"), ("retry-after", "2")], 10.0),
        ([("Retry-After", "soon"), ("Retry-After", "2")], 2.0),
        ([("Retry-After", "2"), ("Retry-After", "Sun, 06 Nov 1994 08:50:07 GMT")], 30.0),
        ([("retry-after-ms", "100"), ("retry-after-ms", "250"), ("Retry-After", "2")], 0.25),
    ],
)
def test_retry_after_in_two_fields_takes_the_longer(fields: list[tuple[str, str]], seconds: float) -> None:
    """The delay is a floor, so the longer of two readable ones holds both."""
    assert retry_after(CIMultiDict(fields), wall_now=EXAMPLE.timestamp()) == seconds


@pytest.mark.parametrize("skew", [-86400.0, -20.0, 0.0, 20.0, 86400.0])
def test_retry_after_date_is_relative_to_the_date_of_the_reply(skew: float) -> None:
    """However wrong the clock of this machine is, the delay is the one that the server means."""
    headers = CIMultiDict({"Date": "Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT"})
    assert retry_after(headers, wall_now=EXAMPLE.timestamp() + skew) == 30.0


@pytest.mark.parametrize("date", [{}, {"Date": "yesterday"}], ids=["none", "unreadable"])
def test_retry_after_date_without_a_date_is_relative_to_our_clock(date: dict[str, str]) -> None:
    """Without a readable ``Date``, the clock of this machine is all there is."""
    headers = CIMultiDict({"Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT"} | date)
    assert retry_after(headers, wall_now=EXAMPLE.timestamp() + 20) == 10.0


def test_retry_after_in_seconds_ignores_the_date_of_the_reply() -> None:
    """Seconds need no clock."""
    headers = CIMultiDict({"Date": "Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After": "5"})
    assert retry_after(headers, wall_now=0.0) == 5.0


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 0.0), (2.0, 2.5), (20.0, 25.0), (3600.0, 3605.0)])
def test_jittered_adds_a_quarter_but_at_most_five_seconds(seconds: float, most: float) -> None:
    """The jitter is a quarter of the requested delay, and 5 s for long ones."""
    assert jittered(seconds, Luck(1.0)) == most


@given(st.floats(0, 1e9) | st.just(math.inf), st.integers())
@settings(derandomize=True, deadline=None)
def test_jittered_never_undercuts_the_requested_delay(seconds: float, seed: int) -> None:
    """The requested delay is a floor."""
    assert seconds <= jittered(seconds, Random(seed)) <= seconds + 5.0


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1, exclude_max=True))
@settings(derandomize=True, deadline=None)
def test_jittered_with_one_draw_keeps_the_order(one: float, other: float, drawn: float) -> None:
    """With the same random draw, a longer requested delay never gives a shorter one."""
    shorter, longer = sorted((one, other))
    assert jittered(shorter, Luck(drawn)) <= jittered(longer, Luck(drawn))
