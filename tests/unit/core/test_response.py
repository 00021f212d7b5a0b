"""The body of a response as JSON: one answer for ``json`` and ``parse``, and never a foreign exception."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import BaseModel
from yarl import URL

from resilient_client import APIResponseValidationError, ResponseTooLargeError
from resilient_client._core.response import Response


def response(content: bytes, content_type: str = "application/json") -> Response:
    """A response with this body."""
    headers = CIMultiDictProxy(CIMultiDict({"Content-Type": content_type}))
    return Response(200, headers, content, URL("https://h.example/"))


class User(BaseModel):
    name: str


ADA = '{"name": "Ad\xe4 \U0001f600"}'
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_in_any_encoding_of_unicode(encoding):
    """RFC 8259 section 8.1 wants UTF-8 and allows to ignore a mark; older services send the others (RFC 7159)."""
    found = response(ADA.encode(encoding))
    assert found.parse(User).model_dump() == found.json() == {"name": "Ad\xe4 \U0001f600"}


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe[",
        b"\xef\xbb\xbf",
        b"\xff",
        b"nope",
        b"\x00\x00",
        b"1" * 5000 + b"x",
        b"[1,",
        b'"\xc3"',
        b'"\\ud83d"',
        b'"\xed\xa0\x80"',
        b"[" * 500 + b"]" * 500,
        b"\xff\xfe",
    ],
    ids=range(15),
)
def test_body_that_is_not_json_is_a_validation_error(content):
    """However it is broken, and whichever way it is read."""
    found = response(content)
    with pytest.raises(APIResponseValidationError):
        found.json()
    with pytest.raises(APIResponseValidationError):
        found.parse(User)
    assert response(content, "application/problem+json").problem is None


def test_many_values_are_refused_before_they_are_decoded():
    """JSON expands: two bytes become an object of a hundred. The message names the setting."""
    found = response(b"[" + b"0," * 1_000_000 + b"0]")
    for read in (found.json, lambda: found.parse(list[int])):
        with pytest.raises(ResponseTooLargeError, match="max_json_values=1,000,000"):
            read()
    found.max_json_values = None
    assert len(found.json()) == 1_000_001


@pytest.mark.parametrize("text", [b"x", b",", b'\\"[,', b"\\\\,"])
def test_large_text_is_few_values(text):
    """The number of values counts, not that of bytes, and a comma within a text is no value."""
    body = b'["' + text * 2_000_000 + b'"]'
    assert len(response(body).json()) == 1
    assert len(response(body).parse(list[str])) == 1


@pytest.mark.parametrize("text", [b'"', b'"\\', b'\\"', b'"\\"'])
def test_counting_values_takes_one_pass(text):
    """Whatever the bytes are: a search that began again at each quote would take hours."""
    with pytest.raises((APIResponseValidationError, ResponseTooLargeError)):
        response(b"[" + b"," * 1_100_000 + text * 1_000_000).json()


KINDS = ["text/\udce9", "text/plain\x1b[2J", "a/b;\u2028x", "text/\x85x", "text/" + "x" * 5000, "a\r\nb: c"]


@pytest.mark.parametrize("kind", KINDS, ids=["latin-1", "escape", "u2028", "nel", "long", "line break"])
def test_media_type_in_an_error_is_one_printable_line(kind):
    """What a server sends can neither break a log nor reach a terminal."""
    with pytest.raises(APIResponseValidationError) as caught:
        response(b"{}", kind).parse(int)
    text = str(caught.value)
    assert text.encode()
    assert text.isprintable()
    assert len(text) < 400
