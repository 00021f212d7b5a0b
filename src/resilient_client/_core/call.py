"""The description of a call: method, path and options."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, cast, overload

from typing_extensions import TypeForm, Unpack

from resilient_client._core.body import ContentLike, FilesLike, FormLike, LazyBody
from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.foreign_names import hint_for_call
from resilient_client._core.frames import without_frames
from resilient_client._core.text import plain
from resilient_client._core.types import HeadersLike, Priority, QueryParams, Scalar
from resilient_client._core.validation import TOKEN, hide_userinfo, shorten, suggest

if TYPE_CHECKING:
    from resilient_client._core.protocols import Runner
    from resilient_client._core.response import Response
    from resilient_client._settings.fallback import Fallback
    from resilient_client._settings.hedging import Hedging
    from resilient_client._settings.retry import Retry
    from resilient_client._settings.timeout import Timeout

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""The methods for which repeated requests have the same effect as one (RFC 9110 section 9.2.2)."""


class CallOptions(TypedDict, total=False):
    """The options that every verb, ``Call`` and ``stream`` accept besides method, path and ``response_model``."""

    params: QueryParams
    """Query parameters, added to those of the client and the path."""
    path_params: Mapping[str, Scalar]
    """Values for the ``{names}`` in the path. They are percent-encoded."""
    headers: HeadersLike
    """Headers, merged over those of the client."""
    json: object
    """A value to send as JSON."""
    content: ContentLike
    """A raw body."""
    data: FormLike
    """The fields of a form. Together with ``files``, the plain fields of the multipart body."""
    files: FilesLike
    """The files of a multipart body."""
    timeout: Timeout | float | str | None
    """Merged over the client's, field by field. A bare number is ``total``, in seconds. ``None`` removes all limits."""
    retry: Retry | None
    """Merged over the client's, field by field. ``None`` sends exactly one wire request."""
    hedging: Hedging | None
    """Merged over the client's, field by field. ``None``, ``retry=None`` and streams send no hedges."""
    idempotency_key: str
    """One key for all attempts, which makes any method repeatable. ``"auto"`` generates a key."""
    idempotent: bool
    """Whether a repeat is harmless. If ``None`` or absent, the key or the method decides."""
    raise_for_status: bool
    """Whether a response with a status of 4xx or 5xx raises."""
    priority: Priority
    """The order in which waiting calls are admitted: ``"user"`` (the default), then ``"batch"``, then ``"probe"``."""
    fallback: Fallback | None
    """The fallback in case of an error, in place of the client's. ``None`` means no fallback. Not for streams."""
    coalesce: bool
    """Whether a GET or HEAD may share the response of an identical call that is in flight. Not for streams."""
    tags: Mapping[str, str]
    """The caller's labels for the events of this call."""


class DescribedOptions(CallOptions, total=False):
    """The options of ``CallOptions``, and two more that only fan-outs and fallbacks read."""

    key: object
    """Identifies the call among others, for the caller."""
    client: Runner | None
    """The client that sends the call. If ``None`` or absent, the client that runs the fan-out or fallback sends it."""


class _Frozen:
    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Call is frozen; make a new one to change {name!r}")

    __delattr__ = cast("Any", __setattr__)

    def __setstate__(self, state: tuple[None, dict[str, object]]) -> None:
        """Restore a copy. Without this, ``copy`` and ``pickle`` would assign to the attributes, which are frozen."""
        for name, value in state[1].items():
            object.__setattr__(self, name, value)


class Call(_Frozen, Generic[T_co]):
    """The description of one call. Frozen: it can be sent any number of times and shared between tasks.

    A body that can be produced only once (a generator, a pipe) can be sent only once. A file is read each time from the
    position it had on the first send, so a call with a file must not be sent twice at the same time.

    A call can be pickled, for example for a queue of a worker process, if its options can: an open file, a generator, a
    lambda or a ``client`` cannot.

    Attributes:
        method: In upper case.
        path: A path below the client's base URL, or an absolute URL for a client without one.
        key: Identifies the call among others in a fan-out, for the caller. ``None`` if not set.
        client: The client that sends the call in a fan-out or as a fallback. ``None`` means the client that runs the
            fan-out or the fallback. Ignored everywhere else.
        response_model: The type to decode to. ``None`` means that the call returns a ``Response``.
        given: The options as passed in, with ``content`` and ``files`` in a form that can be sent more than once.
    """

    __slots__ = ("client", "given", "key", "method", "path", "response_model")

    method: str
    path: str
    key: object
    client: Runner | None
    response_model: Any
    given: CallOptions

    def __init__(
        self,
        method: str,
        path: str,
        *,
        key: object = None,
        client: Runner | None = None,
        response_model: Any = None,
        **options: Unpack[CallOptions],
    ) -> None:
        """Describe a call. ``Call.get`` and the other verbs also carry the type of the value.

        Raises:
            InvalidRequestError: The method is not a token (RFC 9110 section 5.6.2), or an option is unknown.
        """
        try:
            if options and not OPTION_NAMES.issuperset(options):
                raise_unknown_option(options)
            _put_method(self, method if type(method) is str and method in _KNOWN_METHODS else _check_method(method))
        except InvalidRequestError as error:
            del path, options
            raise without_frames(error)  # noqa: B904 -- it is the same error
        _put_path(self, plain(path) if type(path) is not str and isinstance(path, str) else path)
        _put_key(self, key)
        _put_client(self, client)
        _put_model(self, response_model)
        if "files" in options or not isinstance(options.get("content"), (bytes, str, NoneType)):
            options = _with_lazy_body(options)
        _put_given(self, options)

    @overload
    @classmethod
    def request(
        cls, method: str, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]
    ) -> Call[T]: ...
    @overload
    @classmethod
    def request(
        cls, method: str, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]
    ) -> Call[Response]: ...
    @classmethod
    def request(
        cls, method: str, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]
    ) -> Call[Any]:
        """Describe a call with any method."""
        return describe(method, path, response_model, options)

    @overload
    @classmethod
    def get(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def get(cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]) -> Call[Response]: ...
    @classmethod
    def get(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """Describe a GET call."""
        return describe("GET", path, response_model, options)

    @overload
    @classmethod
    def head(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def head(cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]) -> Call[Response]: ...
    @classmethod
    def head(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """Describe a HEAD call."""
        return describe("HEAD", path, response_model, options)

    @overload
    @classmethod
    def options(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def options(
        cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]
    ) -> Call[Response]: ...
    @classmethod
    def options(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """Describe an OPTIONS call."""
        return describe("OPTIONS", path, response_model, options)

    @overload
    @classmethod
    def post(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def post(cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]) -> Call[Response]: ...
    @classmethod
    def post(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """Describe a POST call."""
        return describe("POST", path, response_model, options)

    @overload
    @classmethod
    def put(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def put(cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]) -> Call[Response]: ...
    @classmethod
    def put(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """Describe a PUT call."""
        return describe("PUT", path, response_model, options)

    @overload
    @classmethod
    def patch(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def patch(
        cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]
    ) -> Call[Response]: ...
    @classmethod
    def patch(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """Describe a PATCH call."""
        return describe("PATCH", path, response_model, options)

    @overload
    @classmethod
    def delete(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def delete(
        cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]
    ) -> Call[Response]: ...
    @classmethod
    def delete(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """Describe a DELETE call."""
        return describe("DELETE", path, response_model, options)

    def __repr__(self) -> str:
        key = "" if self.key is None else f" key={shorten(self.key)}"
        names = f" with {', '.join(sorted(self.given))}" if self.given else ""
        path: object = self.path  # need not be text: the type of the path is checked when the call is sent
        route = route_of(path) if isinstance(path, str) else type(path).__name__
        return f"<Call {self.method} {route}{key}{names}>"


# The setters of the slots bypass ``_Frozen.__setattr__``, and are faster than ``object.__setattr__``.
_put_method, _put_path, _put_key, _put_client, _put_model, _put_given = (
    vars(Call)[name].__set__ for name in ("method", "path", "key", "client", "response_model", "given")
)


def describe(method: str, path: str, response_model: Any, options: CallOptions) -> Call[Any]:
    """Return ``Call(method, path, ...)``. If it is refused, ``options`` are emptied: the caller's frame holds them."""
    try:
        return Call(method, path, response_model=response_model, **options)
    except InvalidRequestError as error:
        cast("dict[str, object]", options).clear()
        del path
        raise without_frames(error)  # noqa: B904 -- it is the same error


OPTION_NAMES = frozenset(CallOptions.__annotations__)
_BODY_OPTIONS = frozenset({"json", "content", "data", "files"})
_KNOWN_METHODS = frozenset({*IDEMPOTENT_METHODS, "POST", "PATCH"})


def _with_lazy_body(options: CallOptions) -> CallOptions:
    """Return the options with one ``LazyBody`` in place of ``content`` and ``files``."""
    lazy_body: Any = LazyBody({name: value for name, value in options.items() if name in _BODY_OPTIONS})
    replaced = options.copy()
    for name in ("content", "files"):
        if replaced.get(name) is not None:
            replaced[name] = lazy_body
    return replaced


def route_of(path: str) -> str:
    """Return the path as the caller wrote it, without query, fragment and userinfo.

    It holds no secrets and takes few distinct values, so it is fit for metric labels.
    """
    route = path.partition("?")[0].partition("#")[0]
    if "@" not in path:
        return route
    if "@" not in route and "/" not in route.partition("//")[2]:
        return route.partition(":")[0]  # a password with a "?" or "#" in it looks like an origin with a query
    return hide_userinfo(route)


def raise_unknown_option(options: Mapping[str, object]) -> None:
    """Raise for the first unknown option, and suggest the known option with the closest name.

    Raises:
        InvalidRequestError: Always.
    """
    unknown = next(name for name in options if name not in OPTION_NAMES)
    hint = hint_for_call(unknown)
    if hint is None:
        hint = suggest(unknown, {*OPTION_NAMES, "response_model", "key", "client"})
        hint += "" if hint.endswith("?") else "; others are set on the client"
    raise InvalidRequestError(f"a call has no option {shorten(unknown)}; {hint}")


def _check_method(method: str) -> str:
    if not isinstance(method, str) or not TOKEN.fullmatch(method):
        raise InvalidRequestError(f"method {shorten(method)} is not an HTTP token; give one such as 'GET'")
    method = plain(method).upper()
    if method == "CONNECT":
        raise InvalidRequestError(
            "CONNECT opens a tunnel through a proxy and is no call; set ConnectionSettings(proxy=...) to use a proxy"
        )
    return method
