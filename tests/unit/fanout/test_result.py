"""``GatherResult``: its queries, what it raises, and how it is displayed."""

from __future__ import annotations

import pickle
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from resilient_client import (
    APIError,
    CallCancelledError,
    DeadlineExceededError,
    ErrorKind,
    Failure,
    GatherResult,
    InvalidRequestError,
    Outcome,
    Success,
)


def failed(kind: ErrorKind = ErrorKind.SERVER_ERROR, text: str = "it failed", key: object = None) -> Failure:
    return Failure(APIError(text, kind=kind), key=key)


def dropped() -> Failure:
    error = CallCancelledError("dropped")
    error.dropped = True
    return Failure(error)


def mixed(**options: Any) -> GatherResult[int]:
    """Two successes, three failures of two kinds, one dropped call."""
    outcomes: list[Outcome[int]] = [
        Success(1),
        failed(),
        Success(2),
        failed(),
        Failure(DeadlineExceededError("late")),
        dropped(),
    ]
    return GatherResult(outcomes, **options)


# --- queries ---


def test_result_is_a_sequence_of_outcomes() -> None:
    """It can be indexed, sliced, counted and iterated."""
    result = mixed()
    assert (len(result), result[0].ok, result[-1].ok, len(result[1:3])) == (6, True, False, 2)
    assert list(result) == [result[index] for index in range(6)]


def test_result_groups_failures_by_kind() -> None:
    """In the order of their first occurrence. Dropped calls are failures, too."""
    groups = {kind: len(failures) for kind, failures in mixed().by_kind().items()}
    assert list(groups.items()) == [(ErrorKind.SERVER_ERROR, 2), (ErrorKind.DEADLINE, 1), (ErrorKind.CANCELLED, 1)]


@pytest.mark.parametrize(
    ("outcomes", "successes", "ok"),
    [
        ([], None, True),
        ([Success(1)], None, True),
        ([Success(1), failed()], None, False),
        ([Success(1), failed()], 1, True),
        ([Success(1), dropped()], 1, True),
        ([Success(1), failed()], 2, False),
        ([Success(1)], 2, False),
    ],
)
def test_result_ok_means_nothing_to_raise(outcomes: list[Outcome[int]], successes: int | None, ok: bool) -> None:
    """It is ok with all calls succeeded, or with the wanted number of successes."""
    result = GatherResult(outcomes, successes=successes)
    assert result.ok is ok
    if ok:
        result.raise_for_failures()
    else:
        with pytest.raises(ExceptionGroup):
            result.raise_for_failures()


def test_result_raises_no_dropped_calls() -> None:
    """The group has the errors of the other failures, in order, as the same objects."""
    result = mixed()
    with pytest.raises(ExceptionGroup) as caught:
        result.raise_for_failures()
    assert list(caught.value.exceptions) == [failure.error for failure in result.failures if not failure.dropped]


def test_result_raises_call_cancelled_from_within() -> None:
    """The fan-out did not drop that call."""
    with pytest.raises(ExceptionGroup):
        GatherResult([Failure(CallCancelledError("cancelled from within"))]).raise_for_failures()


def test_result_of_too_few_calls_raises() -> None:
    """A generator may end before the quorum is reached, although no call failed."""
    with pytest.raises(ExceptionGroup) as caught:
        GatherResult([Success(1)], successes=2).raise_for_failures()
    (error,) = caught.value.exceptions
    assert isinstance(error, InvalidRequestError)
    assert str(error) == "successes is 2, but the iterable gave only 1 calls, and all succeeded"


def test_result_can_be_pickled() -> None:
    """The copy has the errors, and knows which calls were dropped."""
    copy = pickle.loads(pickle.dumps(mixed(successes=2, elapsed=1.5)))  # noqa: S301 -- our own
    assert (str(copy), copy.elapsed) == (str(mixed(successes=2, elapsed=1.5)), 1.5)


# --- display ---


def test_result_text_is_one_line() -> None:
    """The number of successes, the failures by kind, and the number of dropped calls."""
    assert str(mixed()) == "2 of 6 calls succeeded; failed: 2 server_error, 1 deadline; dropped: 1"
    assert str(mixed(successes=2, elapsed=0.51234)).startswith("2 of 6 calls succeeded (2 wanted); failed")
    assert repr(GatherResult([Success(1)])) == "<GatherResult 1 of 1 calls succeeded>"


class Cells(HTMLParser):
    """Parses a table: the text of each cell, and the names of all elements."""

    def __init__(self, result: GatherResult[Any]) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags = set[str]()
        self.caption = ""
        self.feed(result._repr_html_())

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1][-1] += data
        else:
            self.caption += data


def test_result_html_has_one_row_per_outcome() -> None:
    """A row has key, kind, attempts, seconds, and the value or the error."""
    cells = Cells(GatherResult([Success({"a": 1}, key="tea", attempts=2, elapsed=0.25), failed(key=7)], elapsed=1.5))
    assert cells.caption == "1 of 2 calls succeeded; failed: 1 server_error; 1.5 s in all"
    assert cells.rows == [
        ["", "key", "outcome", "attempts", "seconds", "what"],
        ["0", "tea", "ok", "2", "0.250", "{'a': 1}"],
        ["1", "7", "server_error", "0", "0.000", "it failed"],
    ]


def test_result_html_escapes_text() -> None:
    """Keys, values and error texts may hold HTML. None of it becomes an element."""
    evil = "<script>alert('x')</script>"
    cells = Cells(GatherResult([Success(evil, key=evil), failed(text=evil, key=(evil,))]))
    assert cells.tags == {"table", "caption", "tr", "th", "td"}
    assert cells.rows[2][-1] == evil


def test_result_html_has_at_most_hundred_rows() -> None:
    """The last row counts the other outcomes."""
    cells = Cells(GatherResult([Success(number) for number in range(1234)]))
    assert (len(cells.rows), cells.rows[-1]) == (1 + 100 + 1, ["and 1134 more"])


def test_result_html_truncates_and_survives_broken_repr() -> None:
    """A cell has at most 120 characters, and a value whose ``repr`` raises is shown by its class."""

    class Broken:
        def __repr__(self) -> str:
            raise ValueError("no")

    cells = Cells(GatherResult([Success("x" * 10_000), failed(text="y" * 10_000), Success(Broken(), key=Broken())]))
    assert max(len(cell) for row in cells.rows for cell in row) <= 120
    assert re.fullmatch(r"<Broken instance at 0x\w+>", cells.rows[3][-1])
