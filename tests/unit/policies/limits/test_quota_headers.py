"""What replies say of a quota: read where it can be, and nothing where it cannot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from resilient_client._policies.limits.quota_headers import exhausted_for, requested_pause

NOW = 1_760_000_000.0  # some day in October 2025


def exhausted(*fields, **named):
    """The result for these fields. ``RateLimit_Reset`` stands for ``RateLimit-Reset``."""
    headers = CIMultiDict(fields)
    headers.update({name.replace("_", "-"): value for name, value in named.items()})
    return exhausted_for(headers, wall_now=NOW)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ('"default";r=0;t=30', 30.0),
        ('"default";t=30;r=0', 30.0),
        ('"default" ; r=0 ; t=30', 30.0),
        ("default;r=0;t=30", 30.0),
        ('"burst";r=0;t=2, "daily";r=100;t=3600', 2.0),
        ('"burst";r=0;t=2, "daily";r=0;t=3600', 3600.0),
        ('"a;r=0,b";r=0;t=7', 7.0),
        ('"a\\"b";r=0;t=7', 7.0),
        ('"default";r=0;t=0', 0.0),
        ("limit=100, remaining=0, reset=50", 50.0),
        ("limit=100,remaining=0,reset=50", 50.0),
    ],
)
def test_ratelimit_field_gives_the_seconds_until_reset(field, seconds):
    """Both forms are read, the list of revision 10 and the dictionary of revision 7. The longest quota counts."""
    assert exhausted(RateLimit=field) == seconds


@pytest.mark.parametrize(
    "field",
    [
        '"default";r=1;t=30',
        '"default";t=30',
        '"default";r=0',
        '"default";r=-1;t=30',
        '"default";r=0;t=soon',
        '"r=0;t=30"',
        "limit=100, remaining=1, reset=50",
        "limit=100, remaining=0",
        "",
        ";;,,==",
        '"',
    ],
)
def test_ratelimit_field_without_exhaustion_or_end_is_none(field):
    """A guess would hold back all callers for nothing."""
    assert exhausted(RateLimit=field) is None


def test_ratelimit_field_without_reset_takes_the_window():
    """The quota is renewed within its window at the latest."""
    policy = '"burst";q=10;w=1, "daily";q=1000;w=86400'
    assert exhausted(RateLimit='"burst";r=0', RateLimit_Policy=policy) == 1.0
    assert exhausted(RateLimit='"other";r=0', RateLimit_Policy=policy) is None


def test_ratelimit_fields_that_come_twice_are_one_list():
    """RFC 9110, section 5.3."""
    assert exhausted(("RateLimit", '"a";r=5;t=1'), ("RateLimit", '"b";r=0;t=9')) == 9.0


@pytest.mark.parametrize("prefix", ["RateLimit-", "X-RateLimit-", "x-ratelimit-", "X-Rate-Limit-"])
@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("30", 30.0), ("0", 0.0), (str(int(NOW) + 60), 60.0), (str(int(NOW * 1000) + 1500), 1.5), ("1", 1.0)],
)
def test_single_fields_give_the_seconds_until_the_reset(prefix, reset, seconds):
    """``Reset`` is a number of seconds, a date in epoch seconds (GitHub), or in milliseconds."""
    assert exhausted((f"{prefix}Remaining", "0"), (f"{prefix}Reset", reset)) == pytest.approx(seconds)


def test_single_fields_with_a_reset_in_the_past_give_zero():
    """The quota is available again."""
    assert exhausted(X_RateLimit_Remaining="0", X_RateLimit_Reset=str(int(NOW) - 60)) == 0.0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"X_RateLimit_Remaining": "1", "X_RateLimit_Reset": "30"},
        {"X_RateLimit_Remaining": "0"},
        {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "tomorrow"},
        {"X_RateLimit_Remaining": "none", "X_RateLimit_Reset": "30"},
        {"X_RateLimit_Reset": "30"},
    ],
)
def test_single_fields_unexhausted_or_unreadable_are_none(fields):
    """Most replies of most servers are of this kind."""
    assert exhausted(**fields) is None


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_of_a_reply_that_says_slow_down_comes_first(status):
    """The draft gives it precedence: it is about this caller, now."""
    headers = CIMultiDict({"Retry-After": "5", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3600"})
    assert requested_pause(status, headers, wall_now=NOW) == 5.0


@pytest.mark.parametrize("status", [200, 301, 404, 500])
def test_retry_after_of_another_reply_is_no_wish_to_all(status):
    """A redirect or a failure with ``Retry-After`` speaks of that one request."""
    assert requested_pause(status, CIMultiDict({"Retry-After": "5"}), wall_now=NOW) is None


def test_exhausted_quota_of_a_good_reply_is_a_pause():
    """The last request within the quota gets a good answer, the next one would not."""
    assert requested_pause(200, CIMultiDict({"RateLimit": '"default";r=0;t=30'}), wall_now=NOW) == 30.0


def test_retry_after_beyond_all_floats_is_infinity():
    """The caller applies its own bound."""
    assert requested_pause(429, CIMultiDict({"Retry-After": "1e999"}), wall_now=NOW) == float("inf")


GARBAGE = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)
NEARLY = st.lists(
    st.sampled_from(['"a"', "r=0", "t=30", ";", ",", '"', "\\", "=", " ", "r", "remaining=0", "reset=1e400", "w=9"]),
    max_size=20,
).map("".join)
NAMES = ["RateLimit", "RateLimit-Policy", "RateLimit-Remaining", "X-RateLimit-Remaining", "X-RateLimit-Reset"]


@given(st.lists(st.tuples(st.sampled_from([*NAMES, "Retry-After"]), st.one_of(GARBAGE, NEARLY)), max_size=6))
def test_garbage_in_any_field_gives_seconds_or_none(fields):
    """A server may send anything: it never raises, and never gives what is no duration."""
    for status in (200, 429):
        seconds = requested_pause(status, CIMultiDict(fields), wall_now=NOW)
        assert seconds is None or seconds >= 0


@given(st.integers(0, 10**6), st.text('abc;,=\\"', max_size=8))
def test_ratelimit_item_with_any_name_is_read(seconds, name):
    """Quoted, a name may hold separators and quotes."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    assert exhausted(RateLimit=f'"{quoted}";r=0;t={seconds}') == seconds
