"""A path with placeholders, compiled once: its URLs are put together from parts that are quoted and checked already.

The results and the errors are those of ``urls.build_url``, to which everything unusual is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from yarl import URL

from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.types import Scalar
from resilient_client._policies.http.quoting import quote_path, quote_query, split_reference
from resilient_client._policies.http.urls import (
    PLACEHOLDER,
    build_url,
    check_path,
    check_segments,
    parse_absolute,
    quoted_segment,
)

_NAME: Final = re.compile(r"\w+")
_HARMLESS: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")  # needs no quoting, and is no dot segment
_PART_OF_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]?$")  # the value after it would complete it
_WHOLE_SEGMENT: Final = re.compile(r"/\{\w+\}(?=/|$)")
_LARGEST: Final = 10**18  # Python refuses to convert integers of thousands of digits


class PathTemplate:
    """Makes the URLs of one path with placeholders, below one base URL."""

    __slots__ = ("_base", "_compiled", "_names", "_template")

    def __init__(self, base: URL | None, template: str) -> None:
        """Compile a template.

        Args:
            base: The client's base URL, or ``None``: then the template is an absolute http(s) URL.
            template: The path.
        """
        self._base = base
        self._template = template
        self._names = frozenset(PLACEHOLDER.findall(template))
        self._compiled = _compile(base, template)

    def url(self, values: Mapping[str, Scalar]) -> URL:
        """The URL for these values.

        Raises:
            InvalidRequestError: A placeholder has no value, a value no placeholder, or a value cannot be sent.
        """
        compiled = self._compiled
        if compiled is None or type(values) is not dict or values.keys() != self._names:
            return build_url(self._base, self._template, values)
        path = _fill(compiled.path, values)
        query = _fill(compiled.query, values)
        if compiled.mixed:
            check_segments(path, InvalidRequestError)
        root = compiled.root
        if not query:
            return root.with_path(path, encoded=True)
        return URL.build(scheme=root.scheme, authority=root.raw_authority, path=path, query_string=query, encoded=True)


class _Compiled(NamedTuple):
    """The parts of a template.

    Attributes:
        root: A URL with the scheme and the authority.
        path: Quoted text and names of placeholders in turn, text first and last.
        query: Likewise.
        mixed: Whether a segment holds more than one placeholder. Then values and text together may be a dot segment.
    """

    root: URL
    path: list[str]
    query: list[str]
    mixed: bool


def _compile(base: URL | None, template: str) -> _Compiled | None:
    """Compile a template, or ``None`` if it is unusual, or wrong in itself."""
    if not all(map(_NAME.fullmatch, PLACEHOLDER.findall(template))):
        return None
    rest, _, fragment = template.partition("#")
    root, prefix = base, ""
    try:
        check_path(PLACEHOLDER.sub("x", template))
        if base is not None:
            prefix = base.raw_path.rstrip("/")
        else:
            written = split_reference(template)
            origin = f"{written.scheme}://{written.authority}"
            if not rest.startswith(origin) or "{" in origin:
                return None
            root, rest = parse_absolute(origin), rest[len(origin) :]
    except InvalidRequestError:
        return None
    if root is None or rest[:1] != "/" or rest[:2] == "//" or "{" in fragment:
        return None
    path, _, query = rest.partition("?")
    parts, query_parts = PLACEHOLDER.split(path), PLACEHOLDER.split(query)
    if any(map(_PART_OF_ESCAPE.search, (*parts[:-1:2], *query_parts[:-1:2]))):
        return None
    parts[::2] = map(quote_path, parts[::2])
    query_parts[::2] = map(quote_query, query_parts[::2])
    parts[0] = prefix + parts[0]
    return _Compiled(root, parts, query_parts, mixed="{" in _WHOLE_SEGMENT.sub("", path))


def _fill(parts: list[str], values: Mapping[str, Scalar]) -> str:
    filled = parts.copy()
    for place in range(1, len(parts), 2):
        name = parts[place]
        value: object = values[name]
        if type(value) is int and -_LARGEST < value < _LARGEST:
            filled[place] = str(value)
        elif type(value) is str and _HARMLESS.fullmatch(value):
            filled[place] = value
        else:
            filled[place] = quoted_segment(name, value)
    return "".join(filled)
