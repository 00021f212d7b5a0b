"""Multipart bodies follow RFC 7578, take files of any kind and are sent whole on every attempt."""

from __future__ import annotations

import email.parser
import email.policy
import io
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tests.behaviour.support import client, failure, stuck_in

from resilient_client import APIClient, InvalidRequestError, Retry, Stage, Timeout
from resilient_client.testing._fault_server import FaultServer, black_hole, refused_url
from resilient_client.testing._wire import ReceivedRequest
from resilient_client.testing.faults import drop, reply

pytestmark = pytest.mark.usefixtures("both_paths")

BIG = bytes(range(256)) * 6_000
TWICE = Retry(max_attempts=2, backoff={"kind": "fixed", "initial": 0.001})


def parts_of(request: ReceivedRequest) -> list[tuple[str, str | None, str, bytes]]:
    """Name, filename, media type and content of each part, as the standard library reads them."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
    return [
        (
            str(part.get_param("name", header="content-disposition")),
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),  # type: ignore[misc]  # bytes: no part is multipart itself
        )
        for part in message.iter_parts()  # type: ignore[attr-defined]  # an EmailMessage, by its policy
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 1.5 MiB."""
    path = tmp_path / "big.bin"
    path.write_bytes(BIG)
    return path


async def test_fields_and_files_arrive_in_parts(server: FaultServer, api: APIClient, path: Path) -> None:
    """Fields first, then files: names, filenames, media types and contents as given."""
    files: Any = {
        "bytes": b"\x00\xff",
        "text": "gr\u00fcn",
        "path": path,
        "memory": io.BytesIO(BIG),
        "named": ("report.csv", b"a,b\r\n1,2\r\n"),
        "typed": ("a.png", b"png", "image/png"),
    }
    await api.post("/", data={"note": "h\u00e9llo", "raw": b"1", "number": 5}, files=files)
    assert parts_of(server.requests[0]) == [
        ("note", None, "text/plain", "h\u00e9llo".encode()),
        ("raw", None, "text/plain", b"1"),
        ("number", None, "text/plain", b"5"),
        ("bytes", "bytes", "application/octet-stream", b"\x00\xff"),
        ("text", "text", "application/octet-stream", "gr\u00fcn".encode()),
        ("path", "big.bin", "application/octet-stream", BIG),
        ("memory", "memory", "application/octet-stream", BIG),
        ("named", "report.csv", "application/octet-stream", b"a,b\r\n1,2\r\n"),
        ("typed", "a.png", "image/png", b"png"),
    ]


async def test_multipart_of_known_size_has_a_length(server: FaultServer, api: APIClient, path: Path) -> None:
    """Servers that want a length get one, wherever it is known beforehand."""
    await api.post("/", data={"a": "b"}, files={"f": path, "g": b"g"})
    request = server.requests[0]
    assert request.headers["Content-Length"] == str(len(request.body))
    assert "Transfer-Encoding" not in request.headers


async def test_list_field_repeats_its_name(server: FaultServer, api: APIClient) -> None:
    """As in a form without files."""
    await api.post("/", data={"tag": ["a", "b"]}, files={"f": b""})
    assert [(name, content) for name, _, _, content in parts_of(server.requests[0])][:2] == [
        ("tag", b"a"),
        ("tag", b"b"),
    ]


async def test_names_cannot_break_header(server: FaultServer, api: APIClient) -> None:
    """Quotes and line ends in names are escaped as browsers do (WHATWG HTML, multipart/form-data)."""
    evil = 'a"; filename="x\r\nX-Evil: 1'
    await api.post("/", files={evil: (evil, b"content")})
    body = server.requests[0].body
    assert b"\r\nX-Evil" not in body
    assert body.count(b'name="a%22; filename=%22x%0D%0AX-Evil: 1"') == 2


async def test_media_type_with_line_end_refused(server: FaultServer, api: APIClient) -> None:
    """No header can be smuggled into a part."""
    error = await failure(api.post("/", files={"f": ("f", b"", "text/plain\r\nX-Evil: 1")}))
    assert error.kind == "invalid_request"
    assert server.connections == 0


async def test_callers_file_handles_stay_open(server: FaultServer, path: Path) -> None:
    """They are the caller's to close, after success and after failure."""
    server.script(drop(), reply())
    memory = io.BytesIO(BIG)
    with path.open("rb") as file:
        async with APIClient(server.url, retry=TWICE) as api:
            await api.put("/", files={"file": file, "memory": memory})
        assert not file.closed
        assert not memory.closed
    assert [len(parts_of(request)) for request in server.requests] == [2, 2]


@pytest.mark.parametrize("kind", ["bytes", "path", "file", "BytesIO"])
async def test_multipart_is_sent_whole_again(server: FaultServer, path: Path, kind: str) -> None:
    """The second attempt sends every part from its beginning."""
    server.script(drop(), reply())
    with path.open("rb") as file:
        sources: dict[str, bytes | Path | BinaryIO] = {
            "bytes": BIG,
            "path": path,
            "file": file,
            "BytesIO": io.BytesIO(BIG),
        }
        async with APIClient(server.url, retry=TWICE) as api:
            await api.put("/", files={"f": sources[kind]})
    assert [parts_of(request)[0][3] == BIG for request in server.requests] == [True, True]


async def test_refused_port_leaves_no_file_open(path: Path) -> None:
    """What is opened here is closed here, also when nothing was ever sent (a ResourceWarning is an error)."""
    async with client(refused_url()) as api:
        assert (await failure(api.post("/", files={"f": path}))).maybe_processed is False


async def test_unread_multipart_times_out_in_send() -> None:
    """The stage of an upload that hangs is known for parts, too."""
    with black_hole() as url:
        async with client(url) as api:
            files = {"f": bytes(20_000_000)}
            error = await stuck_in(
                Stage.SEND, lambda s: failure(api.post("/", files=files, timeout=Timeout(attempt=s)))
            )
    assert error.stage is Stage.SEND


@pytest.mark.one_loop
@pytest.mark.parametrize("control", ["\x00", "\x08", "\x0b", "\x1f", "\x7f"])
@pytest.mark.parametrize(
    "files", [lambda c: {f"a{c}b": b"x"}, lambda c: {"a": (f"b{c}", b"x")}], ids=["name", "filename"]
)
async def test_control_character_in_a_name_is_refused(server: FaultServer, files: Any, control: str) -> None:
    """Some servers end the name there, so that it would pass for another one. Nothing is sent."""
    async with client(server) as api:
        error = await failure(api.post("/", files=files(control)))
    assert isinstance(error, InvalidRequestError)
    assert "control character" in str(error)
    assert server.connections == 0
