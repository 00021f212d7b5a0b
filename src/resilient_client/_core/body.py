"""The body of a request, and whether it can be sent more than once.

A ``Body`` is a description that the transport turns into bytes, anew for each attempt. Content that can be produced
only once (a generator, an unseekable file) is *one-shot*: the first attempt sends it, and no later attempt does. A
one-shot body is never sent again as an empty one.
"""

from __future__ import annotations

import inspect
import json as jsonlib
import os
import re
import uuid
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast
from urllib.parse import urlencode

from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.masked_secrets import has_masked_secret
from resilient_client._core.text import plain, scalar_text
from resilient_client._core.validation import check_pairs, kind_of, shorten

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

FileContent: TypeAlias = bytes | str | Path | BinaryIO
FileLike: TypeAlias = FileContent | tuple[str, FileContent] | tuple[str, FileContent, str]
"""A file to upload: its content, ``(filename, content)`` or ``(filename, content, content_type)``."""

Content: TypeAlias = bytes | bytearray | memoryview | str | Path | BinaryIO | Iterable[bytes] | AsyncIterable[bytes]
ContentFactory: TypeAlias = Callable[[], Iterable[bytes] | AsyncIterable[bytes] | bytes | Awaitable[bytes]]
ContentLike: TypeAlias = Content | ContentFactory
"""Raw content. A callable is a factory. It is called for each attempt, which makes any stream replayable."""

FormLike: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, Any]]
FilesLike: TypeAlias = Mapping[str, FileLike] | Sequence[tuple[str, FileLike]]


class Part:
    """One part of a multipart body. ``start`` is the position that a seekable file had when it was passed in."""

    __slots__ = ("content", "content_type", "filename", "name", "start")

    def __init__(
        self, name: str, content: bytes | Path | BinaryIO, filename: str | None = None, content_type: str | None = None
    ) -> None:
        self.name = name
        self.content = content
        self.filename = filename
        self.content_type = content_type
        self.start = _position(content)


class Body:
    """The content of a request before it is turned into bytes.

    Attributes:
        source: Bytes, a path, a file, an iterable, a factory, or the parts of a multipart body.
        content_type: The media type to declare, unless the caller set one.
        boundary: The boundary between the parts of a multipart body, or ``None`` for any other body.
        replayable: Whether the body can be sent more than once.
        spent: Whether an attempt has begun to send the body.
        start: The position that a seekable file had when it was passed in. Each attempt starts to read there.
    """

    __slots__ = ("boundary", "content_type", "replayable", "source", "spent", "start")

    def __init__(self, source: Any, content_type: str, *, replayable: bool, boundary: str | None = None) -> None:
        self.source = source
        self.content_type = content_type
        self.boundary = boundary
        self.replayable = replayable
        self.start = _position(source)
        self.spent = False

    @classmethod
    def build(
        cls,
        *,
        json: object = None,
        content: ContentLike | LazyBody | None = None,
        data: FormLike | None = None,
        files: FilesLike | LazyBody | None = None,
    ) -> Body | None:
        """Build the body from the options of a call, or ``None`` if they describe no body.

        Raises:
            InvalidRequestError: The options exclude each other, or the value cannot be sent.
        """
        if (json is not None) + (content is not None) + (data is not None or files is not None) > 1:
            bodies = {"json": json, "content": content, "data": data, "files": files}
            names = " and ".join(name for name, value in bodies.items() if value is not None)
            raise InvalidRequestError(f"{names} exclude each other; give one of json, content, data (+ files)")
        if isinstance(content, LazyBody):
            return content.body()
        if isinstance(files, LazyBody):
            return files.body()
        try:
            if files is not None:
                return _multipart(data, files)
            if data is not None:
                return cls(urlencode(_fields(data)).encode(), "application/x-www-form-urlencoded", replayable=True)
            if json is not None:
                return cls(encode_json(json), "application/json", replayable=True)
            return None if content is None else _from_content(content)
        except UnicodeEncodeError:
            raise InvalidRequestError(
                "the body has half of a character (a lone surrogate), which UTF-8 cannot hold; give whole text"
            ) from None

    @property
    def sendable(self) -> bool:
        """Whether the body can be sent now. A one-shot body can be sent only once."""
        return self.replayable or not self.spent

    @property
    def shareable(self) -> bool:
        """Whether two attempts may send the body at the same time. A file cannot: it has only one position."""
        files = [part.start for part in self.source] if self.boundary is not None else [self.start]
        return self.replayable and all(start is None for start in files)

    def __repr__(self) -> str:
        kind = "bytes" if isinstance(self.source, bytes) else type(self.source).__name__
        return f"<Body of {kind}, {'replayable' if self.replayable else 'one-shot'}>"


class LazyBody:
    """Stands in a ``Call`` for ``content`` or ``files``, and builds the body when the call is first sent.

    All sends of the call share that body. Otherwise a second send could know neither that a one-shot body is spent nor
    where a file was positioned at first.
    """

    __slots__ = ("_body", "_options")

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Keep the options of a body. They are checked when the call is sent."""
        self._options = options
        self._body: Body | None = None

    def body(self) -> Body | None:
        """Return the body, the same one each time.

        Raises:
            InvalidRequestError: The options do not describe a valid body, or a one-shot body was sent already.
        """
        if self._body is None:
            self._body = Body.build(**self._options)
        elif not self._body.sendable:
            raise already_sent()
        return self._body

    def __repr__(self) -> str:
        return f"<LazyBody of {', '.join(self._options)}>"


def already_sent() -> InvalidRequestError:
    """The error for a second send of a one-shot body, which would be empty or would lack its beginning."""
    return InvalidRequestError(
        "the body is one-shot and was already sent; give bytes, a file or a factory to send it again"
    )


def encode_json(value: object) -> bytes:
    """Encode a value as compact JSON. Accepts pydantic models, dataclasses, dates, UUIDs and the like.

    Raises:
        InvalidRequestError: JSON cannot hold the value. NaN and infinity are refused, too.
    """
    try:
        encoded = _JSON.encode(value).encode()
        if b"*" not in encoded or not has_masked_secret(value, encoded):
            return encoded
        reason = _MASKED
    except UnicodeEncodeError:
        reason = "it holds half of a character, a lone surrogate"
    except (TypeError, ValueError, RecursionError) as error:
        reason = _MASKED if has_masked_secret(value) else str(error)  # pydantic before 2.11 does not encode secrets
    # Raised outside the except blocks: else __context__ would keep the original error, which may hold the value.
    raise InvalidRequestError(
        f"json= cannot be encoded ({reason}); give what JSON can hold, or encode it yourself and use content="
    )


def _jsonable(value: object) -> object:
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, by_alias=True)


_MASKED = "it holds a pydantic secret, which would be sent as asterisks: call get_secret_value() on it"
_JSON = jsonlib.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_jsonable)


def _fields(data: FormLike) -> list[tuple[str, bytes]]:
    """Flatten the fields of a form as in ``params``: a list repeats its name, and ``None`` is left out."""
    try:
        pairs = [
            (plain(name) if isinstance(name, str) else name, value)
            for name, value in (data.items() if isinstance(data, Mapping) else data)
        ]
    except (TypeError, ValueError):
        raise InvalidRequestError(
            "data= must be a mapping or pairs of form fields; use content= for raw bytes"
        ) from None
    for name, _ in pairs:
        if not isinstance(name, str):
            raise InvalidRequestError(f"data= has the name {shorten(name)}; names are text")
    return [
        (name, _field(name, item))
        for name, value in pairs
        for item in (value if isinstance(value, (list, tuple, set, frozenset)) else (value,))
        if item is not None
    ]


def _field(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, (str, int, float)):
        return scalar_text(value).encode()
    raise InvalidRequestError(
        f"data[{name!r}] is {type(value).__name__}; give str, bytes, int, float, bool, None or a list of these"
    )


def _from_content(content: ContentLike) -> Body:
    if isinstance(content, (bytes, bytearray, memoryview)):
        return Body(bytes(content), "application/octet-stream", replayable=True)
    if isinstance(content, str):
        return Body(plain(content).encode(), "text/plain; charset=utf-8", replayable=True)
    if isinstance(content, Path):
        _require_file(content)
        return Body(content, "application/octet-stream", replayable=True)
    if hasattr(content, "read"):
        _require_binary(content)
        return Body(content, "application/octet-stream", replayable=_position(content) is not None)
    if callable(content) and not isinstance(content, type):
        return Body(content, "application/octet-stream", replayable=True)
    if isinstance(content, (list, tuple)):
        for piece in content:
            require_bytes(piece)
    if isinstance(content, Iterable | AsyncIterable) and not isinstance(content, (Mapping, type)):
        one_shot = isinstance(content, Iterator) or hasattr(content, "__anext__")
        return Body(content, "application/octet-stream", replayable=not one_shot)
    raise InvalidRequestError(
        f"content= cannot be {type(content).__name__}; give bytes, text, a file, a path, an iterable or a factory"
    )


def require_bytes(piece: object) -> bytes:
    """A piece of a body as bytes. ``None`` is refused like text: it does not end the body, and may stand for a loss.

    Raises:
        InvalidRequestError: The piece is of another type.
    """
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    if inspect.iscoroutine(piece):  # from a file whose ``read`` is async
        piece.close()  # otherwise Python would warn that it was never awaited
    raise InvalidRequestError(
        f'the source of the body gives a piece {kind_of(piece)}; each piece must be bytes, and b"" is skipped'
    )


def _multipart(data: FormLike | None, files: FilesLike) -> Body:
    parts = [Part(name, value) for name, value in _fields(data or ())]
    parts += [_file_part(name, file) for name, file in check_pairs("files", files)]
    for part in parts:
        _check_names(part)
    replayable = all(isinstance(p.content, (bytes, Path)) or p.start is not None for p in parts)
    boundary = uuid.uuid4().hex
    return Body(tuple(parts), f"multipart/form-data; boundary={boundary}", replayable=replayable, boundary=boundary)


def _check_names(part: Part) -> None:
    """Check what stands in the head of a part. A line break and a quote are escaped there, as browsers do.

    Raises:
        InvalidRequestError: A name has another control character, which some servers take for the end of the name.
        UnicodeEncodeError: A name has a lone surrogate. ``Body.build`` turns it into our error.
    """
    for text in (part.name, part.filename or ""):
        text.encode()
        if _CONTROL.search(text):
            raise InvalidRequestError(f"the name {text[:80]!r} in a multipart body has a control character; remove it")


def _file_part(name: object, file: Any) -> Part:
    if not isinstance(name, str):
        raise InvalidRequestError(f"files has the name {shorten(name)}; names are text")
    filename, content, content_type = None, file, None
    if isinstance(file, tuple):
        if len(file) not in (2, 3) or not all(isinstance(text, str | None) for text in (file[0], *file[2:])):
            raise InvalidRequestError(
                f"files[{name!r}] is a tuple of {len(file)}; give (filename, content) or add a media type"
            )
        filename, content, content_type = (*file, None)[:3]
    if isinstance(content, Path):
        _require_file(content)
        filename = filename or content.name
    elif hasattr(content, "read"):
        _require_binary(content)
        filename = filename or os.path.basename(str(getattr(content, "name", name)))
    elif isinstance(content, str):
        content = plain(content).encode()
    elif not isinstance(content, bytes):
        raise InvalidRequestError(
            f"files[{name!r}] is {type(content).__name__}; give bytes, text, a path or a binary file"
        )
    content_type = plain(content_type or "application/octet-stream")
    if not (content_type.isascii() and content_type.isprintable()):
        raise InvalidRequestError(f"the media type {content_type!r} of files[{name!r}] has characters no header allows")
    return Part(plain(name), cast("bytes | Path | BinaryIO", content), plain(filename or name), content_type)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InvalidRequestError(f"there is no file at {str(path)!r}; nothing was sent")


def _require_binary(file: object) -> None:
    if hasattr(file, "encoding"):
        raise InvalidRequestError("the file is open in text mode; open it with mode 'rb'")
    if getattr(file, "closed", False):
        raise InvalidRequestError("the file is closed; keep it open until the call has returned")


def _position(source: object) -> int | None:
    """The current position of a seekable file, or ``None`` for everything else."""
    if not hasattr(source, "read") or not hasattr(source, "seekable"):
        return None
    file = cast("BinaryIO", source)
    return file.tell() if file.seekable() else None
