"""A reply that would be the same again is asked for once, and the error names the setting that helps."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
from tests.behaviour.support import client, failure

from resilient_client import (
    APIClient,
    APIStatusError,
    CircuitBreaker,
    CircuitState,
    ConnectionSettings,
    ErrorKind,
    ResponseTooLargeError,
    Retry,
    Stage,
)
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._http_bytes import encode
from resilient_client.testing._wire import Step
from resilient_client.testing.faults import (
    corrupt_gzip,
    endless_headers,
    garbage,
    many_headers,
    oversized_headers,
    reply,
)

pytestmark = pytest.mark.usefixtures("both_paths")

EAGER = Retry(max_attempts=3, backoff=lambda _: 0.0)
"""Three attempts, no pause."""


async def fetch(api: APIClient, read: str) -> Any:
    """Make one call, buffered or streamed."""
    if read == "buffered":
        return await api.get("/")
    async with api.stream("GET", "/") as answer:
        return await answer.read()


@pytest.mark.parametrize("read", ["buffered", "streamed"])
@pytest.mark.parametrize(
    ("fault", "setting"),
    [
        (oversized_headers(), "max_field_size"),
        (garbage(b"HTTP/1.1 200 " + b"O" * 10_000 + b"\r\nContent-Length: 0\r\n\r\n"), "max_field_size"),
        (many_headers(), "max_headers"),
        (endless_headers(), "max_headers"),
    ],
    ids=["field", "status line", "count", "endless"],
)
async def test_head_above_limit_names_the_setting(server: FaultServer, fault: Step, setting: str, read: str) -> None:
    """Another attempt would meet the same head. The limit is ours, so the circuit of the server stays closed."""
    server.script(fault)
    breaker = CircuitBreaker(minimum_calls=1)
    async with APIClient(server.url, retry=EAGER, circuit_breaker=breaker) as api:
        error = await failure(fetch(api, read))
        assert [circuit.state for circuit in api.circuits.values()] == [CircuitState.CLOSED]
    assert type(error) is ResponseTooLargeError
    assert (error.stage, error.attempts, server.hits) == (Stage.HEADERS, 1, 1)
    assert f"raise {setting}" in str(error)


async def test_head_above_default_limit_fits_a_higher_one(server: FaultServer) -> None:
    """Both limits of a head are settings."""
    fields = [("X-Long", "x" * 20_000), *((f"X-{number}", "1") for number in range(300))]
    server.script(reply(headers=fields))
    settings = ConnectionSettings(max_field_size=30_000, max_headers=400)
    async with client(server, connection=settings) as api:
        headers = (await api.get("/")).headers
    assert (headers["X-Long"], headers["X-299"]) == ("x" * 20_000, "1")


@pytest.mark.parametrize("read", ["buffered", "streamed"])
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"{}") + b"<b>Warning</b>: cannot modify header information"),
        ("deflate", zlib.compress(b"{}") + b"\r\n"),
        ("zstd", encode(b"{}", "zstd") + b"\r\n"),
        ("gzip", b"<html>not compressed</html>"),
        ("zstd", b"<html>not compressed</html>"),
    ],
    ids=["after gzip", "after deflate", "after zstd", "no gzip", "no zstd"],
)
async def test_bytes_outside_the_coding_are_not_retried(
    server: FaultServer, coding: str, body: bytes, read: str
) -> None:
    """A server that adds its warnings after the compressed body does so each time. The error says what helps."""
    server.script(reply(body=body, headers={"Content-Encoding": coding}))
    async with APIClient(server.url, retry=EAGER) as api:
        error = await failure(fetch(api, read))
    assert (error.kind, error.retryable, server.hits) == (ErrorKind.PROTOCOL, False, 1)
    assert "Accept-Encoding" in str(error)


async def test_damaged_coding_is_retried(server: FaultServer) -> None:
    """Negative control: a body that is damaged within may be whole the next time."""
    server.script(corrupt_gzip(), reply(text="whole"))
    async with APIClient(server.url, retry=EAGER) as api:
        assert (await api.get("/")).text == "whole"
    assert server.hits == 2


async def test_error_above_max_response_size_keeps_its_status(server: FaultServer) -> None:
    """The status is the answer, however large the page of the error is, and however it arrives."""
    server.script(reply(404, body=bytes(5_000)))
    async with client(server, connection=ConnectionSettings(max_response_size=1_000)) as api:
        error = await failure(api.get("/"))
    assert isinstance(error, APIStatusError)
    assert error.status == 404


async def test_limit_counts_decoded_bytes(server: FaultServer) -> None:
    """Compression can make a small body larger: what counts is what comes out of the decoder."""
    body = bytes(range(256)) * 3
    coded = gzip.compress(body, compresslevel=0)
    assert len(body) < 780 < len(coded)
    server.script(reply(body=coded, headers={"Content-Encoding": "gzip"}))
    async with client(server, connection=ConnectionSettings(max_response_size=780)) as api:
        assert (await api.get("/")).content == body
