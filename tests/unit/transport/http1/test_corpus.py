"""The parser agrees with curl and llhttp about the replies in their own test suites, but for listed exceptions."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.unit.transport.http1.replies import Parsed, parse, segmentations

DATA = Path(__file__).parents[3] / "data" / "http1"
CURL = [json.loads(line) for line in (DATA / "curl.jsonl").read_text().splitlines()]
LLHTTP = [json.loads(line) for line in (DATA / "llhttp.jsonl").read_text().splitlines()]

REFUSED_BY_CURL = {1, 8, 18, 52, 56, 61}
"""Errors of curl for a reply that it cannot read: protocol, weird, partial, empty, receive, encoding."""
JUDGED_BY_CURL = {0, *REFUSED_BY_CURL}
"""The other errors are about something else, such as a limit of time or the status."""

CURL_DIFFERS = {
    "HTTP/0.9 (RFC 9112 section 2.3, appendix A): any bytes would pass for content": "66 306 1164 1266 1267",
    "another protocol (RFC 9112 section 2.3)": "3025",
    "both Transfer-Encoding and Content-Length (RFC 9112 section 6.3, rule 3)": "319 365 1122 1494 1677",
    "a Transfer-Encoding that was not asked for (RFC 9112 sections 6.1 and 7.4)": "1123 1124 1125 1277 1482 1483 1493",
    "a bare LF in the chunked coding (RFC 9112 section 2.2 allows it for fields only)": "341 693 1090 1116 1417",
    "a folded line without a field (RFC 9112 section 2.2)": "1473 2306",
    "101, unasked: the tests are about WebSocket": "2301 2302 2304 2700 2708 2710 2711 2712 2719 2720 2721",
    "a head without an end (RFC 9112 section 8)": "1591 3034",
    "the test runs with an option that ignores the length": "269 514",
    "the test is about what happens after the failure, such as a retry": "1909 3035 3223",
    "HTTP/1.2 is read as HTTP/1.1 (RFC 9110 section 2.5)": "129",
    "the error is about where the redirect leads, not about the reply": "325 580 772 1563",
    "the error is about the content coding, which the parser does not read": "221",
    "the error is about another reply of the same test": "2107",
    "the output of curl contains an earlier reply, too": "1075",
}

LLHTTP_DIFFERS = {
    "101, unasked": ["HTTP 101 response with Upgrade and"],
    "a lenient mode that is not ours": ["Bare CR after response line (lenient)", "Invalid HTTP version (lenient)"],
    "a bare LF ends a line of a head (RFC 9112 section 2.2)": ["Only LFs present", "No carriage ret"],
    "other protocols and versions (RFC 9112 section 2.3)": ["RTSP response", "ICE response", "HTTP version 0.9"],
    "whitespace after the size of a chunk is harmless": ["Trailing space on chunked body"],
    "unknown extensions are read over (RFC 9112 section 7.1.1)": [
        "No extension after semicolon",
        "Unbalanced chunk extensions quoting",
    ],
    "a Transfer-Encoding that was not asked for (RFC 9112 section 7.4)": [
        "`chunked` before other transfer-encoding",
        "multiple transfer-encoding where chunked is not the last one",
        "`chunkedchunked` transfer-encoding",
        "Invalid OBS fold after chunked value",
    ],
    "whitespace before the first field: llhttp says it before the line has an end": ["Invalid space after start line"],
}


def agrees_with_curl(row: dict[str, Any], got: Parsed) -> bool:
    """Whether curl accepts what is accepted, and writes the same content."""
    if row.get("error") not in JUDGED_BY_CURL:
        return True
    if row["error"] in REFUSED_BY_CURL:
        return not got.complete
    return got.complete and row.get("content", got.body.decode("latin-1")) == got.body.decode("latin-1")


def agrees_with_llhttp(row: dict[str, Any], got: Parsed) -> bool:
    """Whether the first final response is the same."""
    final = next((message for message in row["messages"] if message[0] >= 200 or message[0] == 101), None)
    status, content, complete = final or (0, "", False)
    refused = row["error"] is not None and not complete
    if content is None:
        content = got.body.decode("latin-1")
    return (got.status, got.body.decode("latin-1"), got.complete, got.failure is not None) == (
        status,
        content,
        complete,
        refused,
    )


def test_curl_agrees_about_its_own_replies() -> None:
    """The oracle is what each of curl's tests expects of curl. Each exception is one, or it would hide a mistake."""
    differing = {
        row["test"].split()[0]
        for row in CURL
        if not agrees_with_curl(row, parse(row["reply"].encode("latin-1"), row["method"], orderly=True))
    }
    assert differing == {test for tests in CURL_DIFFERS.values() for test in tests.split()}
    assert sum(row.get("error") in JUDGED_BY_CURL for row in CURL) > 750
    assert sum("content" in row for row in CURL) >= 150


def test_llhttp_agrees_about_its_own_fixtures() -> None:
    """The oracle is the log that each fixture expects of llhttp, which Node.js and aiohttp use."""
    titles = [title for titles in LLHTTP_DIFFERS.values() for title in titles]
    differing = set()
    for row in LLHTTP:
        got = parse(row["reply"].encode("latin-1"), "HEAD" if row["meta"].get("skipBody") else "GET")
        if not agrees_with_llhttp(row, got):
            differing.add(next((title for title in titles if title in row["test"]), row["test"]))
    assert differing == set(titles)
    assert len(LLHTTP) > 80


def segmentation_does_not_matter(rows: list[dict[str, Any]]) -> None:
    """Compare a reply in one piece with the same byte by byte and in random pieces, with either method and each end."""
    rng = random.Random(1)
    for row in rows:
        reply = row["reply"].encode("latin-1")
        method, orderly = rng.choice(["GET", "HEAD"]), rng.choice([None, True, False])
        whole = parse(reply, method, orderly=orderly)
        for cuts in segmentations(len(reply), rng, 4):
            assert parse(reply, method, cuts=cuts, orderly=orderly) == whole, (row["test"], cuts)


def test_segmentation_of_some_replies_does_not_matter() -> None:
    """One in four."""
    segmentation_does_not_matter((CURL + LLHTTP)[::4])


@pytest.mark.slow
def test_segmentation_of_all_replies_does_not_matter() -> None:
    """All of them."""
    segmentation_does_not_matter(CURL + LLHTTP)
