"""What a caller asks for, and the options that may come with it."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, cast, overload

from typing_extensions import TypeForm, Unpack

from resilient_client._core.body import ContentLike, FilesLike, FormLike, LazyBody
from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.types import HeadersLike, Priority, QueryParams, Scalar
from resilient_client._core.validation import TOKEN, suggest

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
"""Methods whose repetition has the effect of one request (RFC 9110 section 9.2.2)."""


class CallOptions(TypedDict, total=False):
    """What every verb, ``Call`` and ``stream`` accept besides method, path and ``response_model``."""

    params: QueryParams
    """Query parameters, added to those of the client and the path."""
    path_params: Mapping[str, Scalar]
    """Values for the ``{names}`` in the path, quoted."""
    headers: HeadersLike
    """Headers, laid over those of the client."""
    json: object
    """A body as JSON."""
    content: ContentLike
    """A raw body."""
    data: FormLike
    """A body as a form; with ``files`` as its plain fields."""
    files: FilesLike
    """Files of a multipart body."""
    timeout: Timeout | float | str | None
    """Laid over the client's, field by field; a bare number sets ``total``; ``None``: no limit at all."""
    retry: Retry | None
    """Laid over the client's, field by field; ``None``: exactly one wire request."""
    hedging: Hedging | None
    """Laid over the client's, field by field; ``None``: no hedges. Streams have none, nor has ``retry=None``."""
    idempotency_key: str
    """One key for all attempts, which makes any method repeatable; ``"auto"`` makes one up."""
    idempotent: bool
    """Whether a repeat is harmless; ``None`` or absent: the method decides."""
    raise_for_status: bool
    """Whether a 4xx or 5xx reply raises."""
    priority: Priority
    """Who goes first where calls wait for one another: ``"user"`` (the default), ``"batch"``, then ``"probe"``."""
    fallback: Fallback | None
    """What to give in place of an error, instead of the client's; ``None``: nothing. Not for streams."""
    coalesce: bool
    """Whether a GET or HEAD may share the flight of one that is alike. Not for streams."""
    tags: Mapping[str, str]
    """Labels of your own; they appear in events."""


class DescribedOptions(CallOptions, total=False):
    """What a ``Call`` accepts besides: what only fan-outs and fallbacks read."""

    key: object
    """Whatever tells this call from others."""
    client: Runner | None
    """Who makes it; ``None`` or absent: the client that is asked."""


class _Frozen:
    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Call is frozen; make a new one to change {name!r}")

    __delattr__ = cast("Any", __setattr__)


class Call(_Frozen, Generic[T_co]):
    """One use of the client, described but not yet made. Frozen: it may be made many times and shared by tasks.

    A body that can be produced only once (a generator, a pipe) can be sent by one make only; a file is sent each time
    from where it stood at the first one, by one make at a time.

    Attributes:
        method: In upper case.
        path: A path below the client's base URL, or an absolute URL for a client without one.
        key: Whatever tells this call from others in a fan-out; ``None`` if nothing was given.
        client: Who makes it in a fan-out or as a fallback, whoever is asked for that; ``None``: who is asked. Only
            these two look at it.
        response_model: The type to decode to; ``None``: the call gives a ``Response``.
        given: The options, as they were given; ``content`` or ``files`` in a form that survives a second make.
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
        """Describe a call; the verbs (``Call.get`` and so on) also carry the type of its value.

        Raises:
            InvalidRequestError: The method is no token (RFC 9110 section 5.6.2) or an option is unknown.
        """
        if options and not OPTION_NAMES.issuperset(options):
            raise_unknown_option(options)
        _put_method(self, method if type(method) is str and method in _KNOWN_METHODS else _checked(method))
        _put_path(self, path)
        _put_key(self, key)
        _put_client(self, client)
        _put_model(self, response_model)
        if "files" in options or not isinstance(options.get("content"), (bytes, str, NoneType)):
            options = _described(options)
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
        return Call(method, path, response_model=response_model, **options)

    @overload
    @classmethod
    def get(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def get(cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]) -> Call[Response]: ...
    @classmethod
    def get(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """A GET call."""
        return Call("GET", path, response_model=response_model, **options)

    @overload
    @classmethod
    def head(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def head(cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]) -> Call[Response]: ...
    @classmethod
    def head(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """A HEAD call."""
        return Call("HEAD", path, response_model=response_model, **options)

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
        """An OPTIONS call."""
        return Call("OPTIONS", path, response_model=response_model, **options)

    @overload
    @classmethod
    def post(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def post(cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]) -> Call[Response]: ...
    @classmethod
    def post(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """A POST call."""
        return Call("POST", path, response_model=response_model, **options)

    @overload
    @classmethod
    def put(cls, path: str, *, response_model: TypeForm[T], **options: Unpack[DescribedOptions]) -> Call[T]: ...
    @overload
    @classmethod
    def put(cls, path: str, *, response_model: None = None, **options: Unpack[DescribedOptions]) -> Call[Response]: ...
    @classmethod
    def put(cls, path: str, *, response_model: Any = None, **options: Unpack[DescribedOptions]) -> Call[Any]:
        """A PUT call."""
        return Call("PUT", path, response_model=response_model, **options)

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
        """A PATCH call."""
        return Call("PATCH", path, response_model=response_model, **options)

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
        """A DELETE call."""
        return Call("DELETE", path, response_model=response_model, **options)

    def __repr__(self) -> str:
        key = "" if self.key is None else f" key={self.key!r}"
        names = f" with {', '.join(sorted(self.given))}" if self.given else ""
        path: object = self.path  # what is no text is refused when the call is made, with a sentence of its own
        shown = route_of(path) if isinstance(path, str) else type(path).__name__
        return f"<Call {self.method} {shown}{key}{names}>"


# The slots themselves: the only way past ``_Frozen``, and the quickest.
_put_method, _put_path, _put_key, _put_client, _put_model, _put_given = (
    vars(Call)[name].__set__ for name in ("method", "path", "key", "client", "response_model", "given")
)

OPTION_NAMES = frozenset(CallOptions.__annotations__)
_BODY_OPTIONS = frozenset({"json", "content", "data", "files"})
_KNOWN_METHODS = frozenset({*IDEMPOTENT_METHODS, "POST", "PATCH"})


def _described(options: CallOptions) -> CallOptions:
    """The options with what cannot be read twice remembered."""
    kept: Any = LazyBody({name: value for name, value in options.items() if name in _BODY_OPTIONS})
    described = options.copy()
    for name in ("content", "files"):
        if described.get(name) is not None:
            described[name] = kept
    return described


def route_of(path: str) -> str:
    """The path as the caller wrote it, without query and fragment: safe to show, low in number."""
    return path.partition("?")[0].partition("#")[0]


def raise_unknown_option(options: Mapping[str, object]) -> None:
    """Complain about the first option that nobody knows, naming the closest one that is known."""
    unknown = next(name for name in options if name not in OPTION_NAMES)
    hint = suggest(unknown, {*OPTION_NAMES, "response_model", "key", "client"})
    more = "" if hint.endswith("?") else "; others are set on the client"
    raise InvalidRequestError(f"a call has no option {unknown!r}; {hint}{more}")


def _checked(method: str) -> str:
    if not isinstance(method, str) or not TOKEN.fullmatch(method):
        raise InvalidRequestError(f"method {method!r} is not an HTTP token; give one such as 'GET'")
    return method.upper()
