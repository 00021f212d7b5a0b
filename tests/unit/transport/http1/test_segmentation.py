"""Whatever the segmentation, the parser ends up the same, and an end in the middle completes what the RFC says."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.transport.http1.replies import OK, parse, segmentations

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
REPLIES = [
    b"",
    b"\r\n" * 130,
    b"\r\n\n" + OK + b"Content-Length: 1\r\n\r\nx",
    OK + b"Content-Length: 2\r\n\r\nhi",
    OK + b"Content-Length: 2\r\n\r\nhi\r\n",
    OK + b"Content-Length: 2\r\n\r\nhiXX",
    OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nhiXX",
    OK + b"Content-Length: 5\r\n\r\nhi",
    OK + b"Content-Length: 0\r\n\r\n" + OK,
    OK + b"Content-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi",
    OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    OK + b"Content-Length: x\r\n\r\nhi",
    OK + b"Content-Le",
    OK + b"\r\nuntil\r\n\r\nclose",
    b"HTTP/1.1 200 OK\nContent-Length: 4\n\n\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 4\r\n\n\r\n\r\n",
    OK + b"A: b\r\n c\r\n\td\r\nContent-Length:\r\n 2\r\n\r\nhi",
    OK + b" A: b\r\nContent-Length: 2\r\n\r\nhi",
    OK + b"A: b\x00c\r\nContent-Length: 2\r\n\r\nhi",
    OK + b"A: b\rc\r\nContent-Length: 2\r\n\r\nhi",
    OK + b"A : b\r\nContent-Length: 2\r\n\r\nhi",
    OK + b"A: b\r\n\r\r\nhi",
    OK + b"nonsense\r\nContent-Length: 2\r\n\r\nhi",
    OK + b"nonsense\r\n" + b"x" * 200,
    OK + b"A: " + b"x" * 97 + b"\r\nContent-Length: 0\r\n\r\n",
    OK + b"A: " + b"x" * 98 + b"\r\nContent-Length: 0\r\n\r\n",
    OK + b"A: " + b"x" * 97 + b"\rx\nContent-Length: 0\r\n\r\n",
    OK + b"A: " + b"x" * 96 + b"\r\r\nContent-Length: 0\r\n\r\n",
    OK + b"A: " + b"x" * 97 + b"\r\r\nContent-Length: 0\r\n\r\n",
    OK + b"A: b\r\n" * 12 + b"\r\n",
    OK + b"A: b\r\n" * 9 + b"Content-Length: 0\r\n\r\n",
    OK + b"A: b\r\n" * 9 + b"nonsense\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 " + b"O" * 87 + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 " + b"O" * 88 + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 205 Reset\r\n\r\nhi",
    INTERIM + OK + b"Content-Length: 2\r\n\r\nhi",
    INTERIM + b"\r\n" + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n",
    INTERIM * 17 + OK + b"Content-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\nabc",
    b"HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/2.0 200 X\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"ICY 200\r\n\r\n",
    b"HTTP/1.",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    CHUNKED + b'2;a="b"\r\nhi\r\n3 \r\n\r\n\n\r\n000;x\r\nTrailer: x\r\n folded\r\n\r\n',
    CHUNKED + b"2\r\nhi\r\n0\r\n\r\n",
    CHUNKED + b"9\r\nhi\r\n0\r\n\r\n\r\n0\r\n\r\n",
    CHUNKED + b"2\r\nhi\r\n0\r\n\r\n\r\n0\r\n\r\n",
    CHUNKED + b"+2\r\nhi\r\n0\r\n\r\n",
    CHUNKED + b"3\r\nhi\r\n0\r\n\r\n",
    CHUNKED + b"2\r\nhi\r\n0\r\n\r\n\r\n",
    CHUNKED + b"2\r\nhi\r\n0\r\n\r\nX",
    CHUNKED + b"2\r\nhi\r\n0\r\nnonsense\r\n\r\n",
    CHUNKED + b"2\r\nhi\r\n0\r\n" + b"A: b\r\n" * 11 + b"\r\n",
    CHUNKED + b"2\r\nhi\r\n0\r\nA: " + b"x" * 98 + b"\r\n\r\n",
    CHUNKED + b"2\r\nhiX",
    CHUNKED + b"2\r\nhi\nX",
    CHUNKED + b"2\r\nhi\rX",
    CHUNKED + b"2\nhi\n0\n\n",
    CHUNKED + b"2\rhi\r\n0\r\n\r\n",
    CHUNKED + b"2;" + b"x" * 98 + b"\r\nhi\r\n0\r\n\r\n",
    CHUNKED + b"2;" + b"x" * 99 + b"\r\nhi\r\n0\r\n\r\n",
    CHUNKED + b"2;" + b"x" * 98 + b"\rx\r\nhi\r\n0\r\n\r\n",
    CHUNKED + b"2;" + b"x" * 99 + b"\nhi\r\n0\r\n\r\n",
    CHUNKED + b"2;" + b"x" * 98 + b"\nhi\r\n0\r\n\r\n",
    CHUNKED + b"2;" + b"x" * 99 + b"\0\nhi\r\n0\r\n\r\n",
    CHUNKED + b"0" * 101 + b"2\r\nhi\r\n0\r\n\r\n",
    CHUNKED + b"0" * 99 + b"2\r\nhi\r\n" + b"0" * 100 + b"\r\n\r\n",
    CHUNKED + b"1\r\nx\r\n" * 60 + b"0\r\n\r\n",
]
LIMITS = (100, 10)
"""Small enough for lines above them. Such limits also switch off the way that reads a whole head at once."""
LIMITS_AT_ONCE = (256, 10)
ENDS = (None, True, False)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reply", REPLIES, ids=range(len(REPLIES)))
def test_segmentation_does_not_matter(reply: bytes, method: str) -> None:
    """In one piece, byte by byte, in two pieces cut anywhere, and in several: the same outcome, up to the last text."""
    rng = random.Random(13)
    for orderly, limits in product(ENDS, (LIMITS, LIMITS_AT_ONCE)):
        whole = parse(reply, method, orderly=orderly, limits=limits)
        for cuts in segmentations(len(reply), rng, 6):
            assert parse(reply, method, cuts=cuts, orderly=orderly, limits=limits) == whole, cuts
    for cut in range(1, min(len(reply), 150)):
        assert parse(reply, method, cuts=[cut], orderly=False, limits=LIMITS_AT_ONCE) == whole, cut


TOKENS = [
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 204 No\r\n",
        b"HTTP/1.1 100 Go\r\n",
        b"HTTP/1.1 ",
        b"HTTP/1.",
    ),
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b":", b": ", b"A: b\r\n", b"A", b"\0", b"\xe4", b";x", b","),
    *(
        b"Content-Length: 3\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: ",
        b"chunked",
    ),
    *(b"0\r\n\r\n", b"3\r\nabc\r\n", b"3", b"abc", b"0", b"Connection: close\r\n", b"x" * 99),
]


@given(st.lists(st.sampled_from(TOKENS), max_size=12), st.booleans(), st.sampled_from(ENDS), st.data())
def test_segmentation_of_nonsense_does_not_matter(
    tokens: list[bytes], starts_well: bool, orderly: bool | None, data: st.DataObject
) -> None:
    """Parts of responses in any order, most of them malformed."""
    reply = (OK if starts_well else b"") + b"".join(tokens)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(reply)), max_size=6)))
    for limits in (LIMITS, LIMITS_AT_ONCE):
        whole = parse(reply, orderly=orderly, limits=limits)
        assert parse(reply, cuts=cuts, orderly=orderly, limits=limits) == whole
        assert parse(reply, cuts=range(1, len(reply)), orderly=orderly, limits=limits) == whole


FIELD_NAMES = st.sampled_from(["A", "a", "Server", "Set-Cookie", "x-b3_id", "Content-Type", "Content-Lengt"])
FIELD_VALUES = st.text(
    st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=9
)
LINE_END = st.sampled_from([b"\r\n", b"\r\n", b"\n"])


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, int, list[tuple[str, str]], bytes]:
    """A response with what it says, by construction: its bytes, the status, the fields and the content."""
    status = draw(st.sampled_from([200, 206, 299, 302, 404, 503]))
    fields = [
        (name, value.strip(" \t")) for name, value in draw(st.lists(st.tuples(FIELD_NAMES, FIELD_VALUES), max_size=3))
    ]
    pieces = draw(st.lists(st.binary(min_size=1, max_size=9), max_size=3))
    content = b"".join(pieces)
    if draw(st.booleans()):
        fields.append(("Transfer-Encoding", "chunked"))
        extension = draw(st.sampled_from([b"", b";a=b", b" ; c", b" "]))
        body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces) + b"0\r\n"
        body += b"".join(b"T: x" + draw(LINE_END) for _ in range(draw(st.integers(0, 2)))) + draw(LINE_END)
    else:
        fields.append(("Content-Length", str(len(content))))
        body = content
    lines = [f"HTTP/1.1 {status} Whatever".encode(), *(f"{name}: {value}".encode() for name, value in fields), b""]
    return b"".join(line + draw(LINE_END) for line in lines) + body, status, fields, content


@given(responses(), st.sampled_from([b"", b"HTTP/1.1 102 Processing\r\n\r\n", b"\r\n"]), st.data())
def test_response_is_read_as_it_was_written(
    response: tuple[bytes, int, list[tuple[str, str]], bytes], before: bytes, data: st.DataObject
) -> None:
    """The oracle is the writer: status, fields in order and content come back, however they were cut."""
    reply, status, fields, content = response
    reply = before + reply
    cuts = sorted(data.draw(st.sets(st.integers(0, len(reply)), max_size=6)))
    assert parse(reply, cuts=cuts) == (status, fields, content, True, True, None, False)
    assert not parse(reply[:-1], cuts=[cut for cut in cuts if cut < len(reply)]).complete


HEAD = OK + b"Content-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "method", "complete", "on_close", "on_reset"),
    [
        (HEAD + b"hello", "GET", len(HEAD) + 5, len(HEAD) + 5, len(HEAD) + 5),
        (HEAD, "HEAD", len(HEAD), len(HEAD), len(HEAD)),
        (OK + b"\r\nhello", "GET", None, len(OK) + 2, None),
        (CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n\r\n", "GET", len(CHUNKED) + 21, len(CHUNKED) + 13, len(CHUNKED) + 13),
        (INTERIM + HEAD + b"hello", "GET", *[len(INTERIM + HEAD) + 5] * 3),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 27, 27, 27),
    ],
    ids=["length", "HEAD", "until close", "chunked", "interim", "204"],
)
def test_end_at_every_byte_completes_what_the_rfc_says(
    reply: bytes, method: str, complete: int | None, on_close: int | None, on_reset: int | None
) -> None:
    """RFC 9112 section 8, and section 9.8 for what is complete although the connection broke."""
    for size in range(len(reply) + 1):
        for orderly, begin in ((None, complete), (True, on_close), (False, on_reset)):
            for cuts in ((), range(1, size)):
                got = parse(reply[:size], method, cuts=cuts, orderly=orderly)
                assert got.complete == (begin is not None and size >= begin), (size, orderly)
                assert got.reason == ("" if got.complete or orderly is None else "closed" if orderly else "reset")
