"""Any cut of the wire gives the same body, and no cut, corrupt or swollen body passes for a good one."""

import gzip
import random
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
from aiohttp.compression_utils import ZLibDecompressor
from hypothesis import given
from hypothesis import strategies as st

from resilient_client._transport import decoding
from resilient_client._transport.decoding import (
    BodyTooLarge,
    CorruptBody,
    NotInCoding,
    TruncatedBody,
    UndecodableBody,
    UnknownCoding,
    accept_encoding,
    decoder_for,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024
TEXT = b"the quick brown fox jumps over the lazy dog; " * 3 + random.Random(7).randbytes(40)


def bare_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


def br(data: bytes) -> bytes:
    return brotli.compress(data, quality=4)  # the default takes seconds for a bomb


def checked_zstd(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


Encoder = Callable[[bytes], bytes]
ENCODERS: dict[str, tuple[str, Encoder]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare_deflate),
    "br": ("br", br),
    "zstd": ("zstd", zstd.compress),
    "checked zstd": ("zstd", checked_zstd),
}
every_coding = pytest.mark.parametrize(("name", "encode"), ENCODERS.values(), ids=ENCODERS)


def decode(content_encoding: str, *chunks: bytes, max_size: int | None = None) -> bytes:
    """Decode as the transport does: all chunks, then the end."""
    decoder = decoder_for(content_encoding, max_size=max_size)
    assert decoder is not None
    body = b"".join(piece for chunk in chunks for piece in decoder.feed(chunk))
    decoder.finish()
    return body


def one_by_one(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


# ---- whole bodies


@every_coding
@given(unit=st.binary(max_size=60), times=st.integers(0, 8000), data=st.data())
def test_any_split_decodes_the_same(name: str, encode: Encoder, unit: bytes, times: int, data: st.DataObject) -> None:
    """Where the network cuts the coded bytes makes no difference to the body."""
    body = unit * times
    coded = encode(body)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(coded)), max_size=8)))
    chunks = [coded[a:b] for a, b in zip([0, *cuts], [*cuts, len(coded)], strict=True)]
    assert decode(name, *chunks) == body


@every_coding
def test_single_bytes_decode_the_same(name: str, encode: Encoder) -> None:
    """Even a wire that drips byte by byte gives the body."""
    assert decode(name, *one_by_one(encode(TEXT))) == TEXT


@every_coding
def test_large_chunk_gives_small_pieces(name: str, encode: Encoder) -> None:
    """However much arrives at once, the caller gets it in pieces of at most 96 KiB."""
    body = random.Random(1).randbytes(MIB) + bytes(MIB)
    decoder = decoder_for(name, max_size=None)
    assert decoder is not None
    pieces = list(decoder.feed(encode(body)))
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= 96 * 1024


@every_coding
def test_no_coded_byte_is_an_empty_body(name: str, encode: Encoder) -> None:
    """A coding announced for an empty body is not an error, and neither is a coded empty body."""
    assert decode(name) == b""
    assert decode(name, b"") == b""
    assert decode(name, encode(b"")) == b""


@pytest.mark.parametrize(("name", "encode"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_all_members_are_decoded(name: str, encode: Encoder) -> None:
    """Members of gzip and frames of zstd may follow one another, empty ones too, wherever the wire is cut."""
    coded = encode(b"one ") + encode(b"") + encode(b"two")
    assert decode(name, coded) == b"one two"
    assert decode(name, *one_by_one(coded)) == b"one two"


def test_gzip_zero_padding_is_ignored() -> None:
    """Zeros after a gzip member mean nothing, as for gzip(1)."""
    coded = gzip.compress(TEXT) + bytes(100)
    assert decode("gzip", coded) == TEXT
    assert decode("gzip", *one_by_one(coded + gzip.compress(TEXT))) == TEXT + TEXT


# ---- the header


@pytest.mark.parametrize("header", [None, "", " ", "identity", "Identity, identity"])
def test_decoder_for_no_coding_is_none(header: str | None) -> None:
    """Without a coding there is nothing to undo."""
    assert decoder_for(header, max_size=1) is None


def test_chain_is_decoded_in_reverse() -> None:
    """Codings are listed in the order in which they were applied, in any case, identity meaning nothing."""
    coded = TEXT
    for _, encode in (ENCODERS[name] for name in ("gzip", "deflate", "br", "zstd", "gzip")):
        coded = encode(coded)
    assert decode("GZip, deflate,identity,,br , zstd, x-gzip", *one_by_one(coded)) == TEXT


def test_decoder_for_six_codings_is_refused() -> None:
    """More than five codings are an attack, not a body."""
    with pytest.raises(UndecodableBody, match="6 content codings, more than 5"):
        decoder_for(", ".join(["gzip"] * 6), max_size=None)


def test_unknown_coding_refused_by_name() -> None:
    """An unknown coding is named, shortened."""
    with pytest.raises(UnknownCoding, match="'compress'"):
        decoder_for("gzip, compress", max_size=None)
    with pytest.raises(UnknownCoding) as caught:
        decoder_for("x" * 5000, max_size=None)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(("name", "library"), [("br", "_brotli"), ("zstd", "_zstd")])
def test_missing_library_names_remedy(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends what was not asked for is answered with the command that helps."""
    monkeypatch.setattr(decoding, library, lambda: "")
    with pytest.raises(UnknownCoding, match=rf"{name}: pip install 'resilient-client\[speed\]'"):
        decoder_for(name, max_size=None)


def test_accept_encoding_lists_decodable() -> None:
    """All that is asked for can be undone."""
    assert accept_encoding() == "gzip, deflate, br, zstd"
    assert all(decoder_for(name, max_size=None) for name in accept_encoding().split(","))


def test_accept_encoding_imports_no_library() -> None:
    """To know it loads neither brotli nor zstd (aiohttp may)."""
    code = (
        f"import runpy, sys; runpy.run_path({decoding.__file__!r})['accept_encoding']();"
        "assert not {'brotli', 'brotlicffi', 'backports.zstd', 'compression.zstd'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 -- our own interpreter and code


# ---- bodies that are cut


@every_coding
def test_finish_every_cut_body_is_truncated(name: str, encode: Encoder) -> None:
    """Wherever a coded body is cut, it is never taken for a short one."""
    coded = encode(TEXT)
    for length in range(1, len(coded)):
        with pytest.raises(TruncatedBody, match=rf"stops after {length} bytes"):
            decode(name, coded[:length])


def test_cut_second_member_is_truncated() -> None:
    """A whole first member does not excuse a second one that was cut."""
    coded = gzip.compress(b"one")
    for length in range(1, len(coded)):
        with pytest.raises(TruncatedBody):
            decode("gzip", coded, coded[:length])


@pytest.mark.parametrize("header", ["gzip, br", "br, gzip"])
def test_finish_cut_inside_a_chain_is_truncated(header: str) -> None:
    """Each coding of a chain must reach its end, the inner ones too."""
    inner, outer = (ENCODERS[name][1] for name in header.split(", "))
    with pytest.raises(TruncatedBody):
        decode(header, outer(inner(TEXT)[:-1]))
    with pytest.raises(TruncatedBody):
        decode(header, outer(inner(TEXT))[:-1])


def test_plain_decompression_control() -> None:
    """The control: zlib itself, and aiohttp on it, return a short body and no error."""
    cut = gzip.compress(random.Random(2).randbytes(10_000))[:5000]
    assert 0 < len(zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(cut)) < 10_000
    theirs = ZLibDecompressor("gzip")
    assert 0 < len(theirs.decompress_sync(cut) + theirs.flush()) < 10_000


# ---- bodies that are wrong


@every_coding
def test_feed_bytes_of_no_coding_are_corrupt(name: str, encode: Encoder) -> None:
    """What never was in the coding is corrupt, and the message does not quote it."""
    with pytest.raises(CorruptBody, match=f"corrupt {name} body") as caught:
        decode(name, b"\xff secret " * 10)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["gzip", "deflate", "checked zstd"])
def test_feed_wrong_checksum_is_corrupt(kind: str) -> None:
    """A body that does not fit its checksum is corrupt, though every byte of it decodes."""
    name, encode = ENCODERS[kind]
    coded = bytearray(encode(TEXT))
    coded[-5 if kind == "gzip" else -1] ^= 1  # gzip ends with the length, the checksum stands before it
    with pytest.raises(CorruptBody):
        decode(name, bytes(coded))


@every_coding
def test_garbage_after_end_is_corrupt(name: str, encode: Encoder) -> None:
    """What follows the end is an error, in the same chunk or in a later one."""
    for chunks in ([encode(TEXT) + b"garbage"], [encode(TEXT), b"garbage"]):
        with pytest.raises(CorruptBody):
            decode(name, *chunks)


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("split", [False, True])
def test_garbage_after_end_is_not_in_coding(name: str, split: bool) -> None:
    """It is told from a damaged body, because the next reply would be the same."""
    coded = ENCODERS[name][1](TEXT)
    with pytest.raises(NotInCoding, match=f"7 bytes follow the end of the {name} body"):
        decode(name, *([coded, b"garbage"] if split else [coded + b"garbage"]))


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_magic_number_in_any_split_is_found(name: str) -> None:
    """A body that comes byte by byte is in its coding, and so is one that begins with a skippable frame."""
    coded = ENCODERS[name][1](TEXT)
    if name == "zstd":
        coded = b"\x50\x2a\x4d\x18\x01\x00\x00\x00x" + coded
    assert decode(name, *(coded[at : at + 1] for at in range(len(coded)))) == TEXT


@pytest.mark.parametrize("kind", ["deflate", "bare deflate", "br"])
def test_second_stream_is_corrupt(kind: str) -> None:
    """Only gzip and zstd may repeat. A second stream of another coding is an error in any split."""
    name, encode = ENCODERS[kind]
    for chunks in ([encode(TEXT) * 2], [encode(TEXT), encode(TEXT)]):
        with pytest.raises(CorruptBody):
            decode(name, *chunks)


def test_zstd_window_above_8_mib_is_corrupt() -> None:
    """A frame that asks for more memory than HTTP allows is refused before the memory is given."""
    coded = zstd.compress(bytes(20 * MIB), options={zstd.CompressionParameter.window_log: 24})
    with pytest.raises(CorruptBody, match="memory"):
        decode("zstd", coded)


# ---- bodies that are too large


@every_coding
def test_limit_is_exact(name: str, encode: Encoder) -> None:
    """The limit is exact, and what lies within it is still given: an error page can be shown in part."""
    body = random.Random(3).randbytes(200_000)
    assert decode(name, encode(body), max_size=200_000) == body
    for limit in (0, 1, 65_536, 199_999):
        decoder = decoder_for(name, max_size=limit)
        assert decoder is not None
        given_out = b""
        with pytest.raises(BodyTooLarge, match=f"larger than {limit} bytes") as caught:
            for piece in decoder.feed(encode(body)):
                given_out += piece
        assert caught.value.limit == limit
        assert given_out == body[:limit]


@pytest.mark.parametrize("header", ["gzip", "deflate", "br", "zstd", "gzip, br", "br, gzip, zstd"])
def test_bomb_costs_little_memory(header: str) -> None:
    """Of a body of 100 MiB, the limit and a few pieces are ever in memory."""
    coded = bytes(100 * MIB)
    for name in header.split(", "):
        coded = ENCODERS[name][1](coded)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            decode(header, coded, max_size=MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * MIB


def test_empty_bomb_yields_to_the_loop() -> None:
    """Coded bytes that decode to nothing come as empty pieces, so that a deadline can fire."""
    members = 50_000
    decoder = decoder_for("gzip, gzip", max_size=1)
    assert decoder is not None
    pieces = list(decoder.feed(gzip.compress(gzip.compress(b"") * members)))
    assert len(pieces) >= members
    assert not any(pieces)
