"""The URL of a call: the base URL, the path with its parameters, and the query. The result is always below the base.

A path is appended to the path of the base URL and never joined as in RFC 3986. Joining would let ``//host``,
``https://host`` and ``..`` leave the base, and the client would send its credentials there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import ConfigurationError, InvalidRequestError
from resilient_client._core.text import plain, scalar_text
from resilient_client._core.types import QueryParams, Scalar
from resilient_client._core.validation import check_mapping, check_pairs, read_argument, shorten
from resilient_client._policies.http.quoting import quote_path, quote_query, split_reference

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # lone surrogates have no UTF-8 encoding, quoting would drop them
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def parse_base(text: str) -> URL:
    """Parse and check a base URL.

    Raises:
        ConfigurationError: It has no http(s) scheme or host, or carries credentials, a query or a fragment.
    """
    try:
        url = parse_url(text)
    except Exception:
        raise ConfigurationError(
            f"base URL {_without_credentials(text)!r} is not a URL; give one such as 'https://api.example.com'"
        ) from None
    if url.scheme not in ("http", "https") or not url.host or _CONTROL.search(text):
        raise ConfigurationError(
            f"base URL {_without_credentials(text)!r} needs the scheme http or https and a host, without spaces; "
            "give one such as 'https://api.example.com/v1'"
        )
    if url.user is not None or url.password is not None:
        raise ConfigurationError(f"base URL {url.origin()} carries credentials; pass auth=BasicAuth(user, password)")
    if url.raw_query_string or "#" in text:
        raise ConfigurationError(f"base URL {url.origin()} has a query or fragment; pass params={{...}} instead")
    check_segments(url.raw_path, ConfigurationError)
    return url


def parse_endpoints(texts: Iterable[str], like: URL | None = None) -> tuple[URL, ...]:
    """Parse and check the base URLs of endpoints that serve the same.

    Args:
        texts: The URLs, in order.
        like: The base URL whose scheme and path they must have. ``None``: the first of them.

    Raises:
        ConfigurationError: There is none, one is invalid or given twice, or they differ in scheme or path.
    """
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise ConfigurationError(f"the endpoints are {type(texts).__name__}; give a list of base URLs")
    bases = read_argument("the list of endpoints", lambda: tuple(map(parse_base, texts)), ConfigurationError)
    if not bases:
        raise ConfigurationError("the list of endpoints is empty; give at least one base URL")
    model = like or bases[0]
    known: set[Endpoint] = set()
    for base in bases:
        if base.scheme != model.scheme:
            raise ConfigurationError(
                f"endpoints {model.origin()} and {base.origin()} differ in their scheme, and what is secret on one "
                "would be in the open on the other; give all of them with https"
            )
        if base.raw_path != model.raw_path:
            raise ConfigurationError(
                f"endpoints {model} and {base} differ in their path, and a call must mean the same on each; "
                "give all of them the same path"
            )
        endpoint = Endpoint.of(base)
        if endpoint in known:
            raise ConfigurationError(f"endpoint {endpoint} is given twice; give each once")
        known.add(endpoint)
    return bases


def parse_url(text: str) -> URL:
    """Parse an absolute URL. Its path and query are sent as they are written, escapes included.

    The host is in the form that a resolver takes. A fragment is left out.

    Raises:
        TypeError: It is not text.
        ValueError: It cannot be parsed, or its host has no IDNA form.
    """
    text = plain(text)
    written = split_reference(text)
    if not written.scheme or not written.authority:
        return URL(text)
    url = URL(f"{written.scheme}://{written.authority}")
    url.host  # noqa: B018 - decodes the host, and raises if its IDNA form is not valid
    if not written.path and not written.query:
        return url
    return URL.build(
        scheme=url.scheme,
        authority=url.raw_authority,
        path=quote_path(written.path),
        query_string=quote_query(written.query or ""),
        encoded=True,
    )


def rebase(url: URL, base: URL) -> URL:
    """The URL of the same resource at another endpoint, whose base URL has the same path."""
    return URL.build(
        scheme=base.scheme,
        authority=base.host_port_subcomponent or "",
        path=url.raw_path,
        query_string=url.raw_query_string,
        encoded=True,
    )


def build_url(
    base: URL | None, path: str, path_params: Mapping[str, Scalar] | None = None, params: QueryParams | None = None
) -> URL:
    """The absolute URL of a call.

    Args:
        base: The client's base URL, or ``None``: then ``path`` is an absolute http(s) URL.
        path: The path. It may hold placeholders such as ``{id}`` and a query of its own.
        path_params: A value for each placeholder. It is quoted, ``/`` included.
        params: Query parameters, added to those of the path.

    Raises:
        InvalidRequestError: The result would leave the base, a placeholder has no value, or a value no placeholder.
    """
    filled = fill_placeholders(path, path_params)
    url = parse_absolute(filled) if base is None else _below_base(base, filled)
    pairs = [] if params is None else list(query_pairs(params))
    return url.extend_query(pairs) if pairs else url


def query_pairs(params: QueryParams) -> Iterator[tuple[str, str]]:
    """Query parameters as they are sent: sequences repeated, ``None`` left out, booleans in lower case."""
    for name, value in check_pairs("params", params):
        if not isinstance(name, str):
            raise InvalidRequestError(f"params has the name {shorten(name)}; names are text")
        values = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
        for item in values:
            if isinstance(item, (str, int, float)):
                yield plain(name), _without_surrogates(name, scalar_text(item))
            elif item is not None:
                raise InvalidRequestError(
                    f"params[{name!r}] is {type(item).__name__}; give str, int, float, bool, None or a list of these"
                )


def _without_surrogates(name: str, value: str) -> str:
    if _SURROGATE.search(name) or _SURROGATE.search(value):
        raise InvalidRequestError(f"params[{name!r}] has half of a character (a lone surrogate); give whole text")
    return value


def fill_placeholders(path: str, values: Mapping[str, Scalar] | None) -> str:
    if not isinstance(path, str):
        raise InvalidRequestError(f"the path is {type(path).__name__}; give text such as '/users/{{id}}'")
    path = plain(path)
    if "{" not in path and values is None:
        return path
    given = {} if values is None else check_mapping("path_params", values)
    names = PLACEHOLDER.findall(path)
    shown = _without_credentials(path.partition("?")[0].partition("#")[0])
    if missing := [name for name in names if name not in given]:
        raise InvalidRequestError(
            f"the path {shown!r} needs {_names(missing)}; give path_params={{{missing[0]!r}: ...}}"
            + (f" instead of {_names(surplus)}" if (surplus := [name for name in given if name not in names]) else "")
        )
    if unused := [name for name in given if name not in names]:
        raise InvalidRequestError(f"path_params has {_names(unused)}, but the path {shown!r} has no such placeholder")
    return PLACEHOLDER.sub(lambda found: quoted_segment(found[1], given[found[1]]), path)


def quoted_segment(name: str, value: object) -> str:
    if not isinstance(value, (str, int, float)):
        raise InvalidRequestError(f"path_params[{name!r}] is {type(value).__name__}; give str, int, float or bool")
    text = scalar_text(value)
    if text == "":
        raise InvalidRequestError(f"path_params[{name!r}] is empty, which would change the path; give a value")
    if _SURROGATE.search(text):
        raise InvalidRequestError(f"path_params[{name!r}] has half of a character (a lone surrogate); give whole text")
    if _has_dot_segment(text):
        raise InvalidRequestError(
            f"path_params[{name!r}] has a dot segment, which would leave the path; give a plain value"
        )
    return quote(text, safe="")


def _below_base(base: URL, path: str) -> URL:
    if path.startswith("//") or _SCHEME.match(path.partition("/")[0]):
        raise InvalidRequestError(
            f"the path names another origin than the base URL {base.origin()}; "
            "give a path below the base, or use a client without base URL"
        )
    check_path(path)
    bare, _, query = path.partition("#")[0].partition("?")
    prefix = base.raw_path.rstrip("/") if bare else base.raw_path
    separator = "" if not bare or bare.startswith("/") else "/"
    return URL.build(
        scheme=base.scheme,
        authority=base.raw_authority,
        path=f"{prefix}{separator}{quote_path(bare)}",
        query_string=quote_query(query),
        encoded=True,
    )


def parse_absolute(path: str) -> URL:
    check_path(path)
    try:
        url = parse_url(path)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidRequestError(
            "this client has no base URL, so a call names an absolute http(s) URL; "
            "give one such as 'https://api.example.com/users', or build the client with a base URL"
        )
    if url.user is not None or url.password is not None:
        raise InvalidRequestError(f"the URL of {url.host} carries credentials; pass auth=BasicAuth(user, password)")
    return url


def check_path(path: str) -> None:
    if _CONTROL.search(path) or _SURROGATE.search(path) or "\\" in path:
        raise InvalidRequestError(
            "the path has a space, control character, lone surrogate or backslash; quote it or use path_params"
        )
    check_segments(path.partition("?")[0].partition("#")[0], InvalidRequestError)


def check_segments(path: str, error: type[ConfigurationError | InvalidRequestError]) -> None:
    if ("." in path or "%" in path) and _has_dot_segment(path):
        raise error("the path has a dot segment ('.' or '..'), which could leave the base; write the path without it")


def _has_dot_segment(path: str) -> bool:
    """Whether any server or proxy would see a dot segment.

    Some decode ``%2F`` and ``%5C`` before they split, and servlet containers drop ``;parameters`` of a segment first.
    """
    return any(segment.partition(";")[0] in (".", "..") for segment in re.split(r"[/\\]", unquote(path)))


def _names(names: object) -> str:
    return ", ".join(map(shorten, names))  # type: ignore[call-overload]  # any iterable of names


def _without_credentials(text: object) -> str:
    """At most 200 characters of a URL for an error message, without query and the text before an at sign.

    Both may hold credentials, even in a URL that cannot be parsed. If it is not clear which is which, nothing is shown.
    """
    shown = text if isinstance(text, str) else shorten(text)
    front, _, rest = str.rpartition(shown, "@")  # not by ``str(text)``, which a subclass may override
    return "***" if "?" in front or "#" in front else rest.partition("?")[0].partition("#")[0][:200]
