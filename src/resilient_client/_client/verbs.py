"""A method for each HTTP verb, typed so that ``response_model`` determines the type of the value."""

from __future__ import annotations

from collections.abc import Coroutine
from sys import getsizeof
from typing import Any, TypeVar, overload

from typing_extensions import TypeForm, Unpack

from resilient_client._core.cache import BoundedCache
from resilient_client._core.call import Call, CallOptions, describe
from resilient_client._core.response import Response

T = TypeVar("T")

_SIZE_OF_CALL = 256  # bytes of a call and its key, besides the path
_calls: BoundedCache[tuple[str, str, type | None], Call[Any]] = BoundedCache()


class Verbs:
    """The base class of a client with a method for each HTTP verb. Each describes a call and passes it to ``send``."""

    __slots__ = ()

    def send(self, call: Call[T]) -> Coroutine[Any, Any, T]:
        """Send a described call and return its value."""
        raise TypeError("Verbs is only the base of a client")

    @overload
    def request(
        self, method: str, path: str, *, response_model: TypeForm[T], **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def request(
        self, method: str, path: str, *, response_model: None = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Response]: ...
    def request(
        self, method: str, path: str, *, response_model: Any = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Any]:
        """Send a call with any method.

        Args:
            method: An HTTP method.
            path: A path below the base URL, with ``{placeholders}`` for ``path_params``. Absolute if the
                client has no base URL.
            response_model: A type form to decode the JSON body to: ``User``, ``list[User]``, ``User | None`` ...
            options: See ``CallOptions``.

        Returns:
            The decoded value, or the ``Response`` if there is no ``response_model``.

        Raises:
            APIError: The call failed. See ``resilient_client.errors`` for the tree of errors.
            ConfigurationError: The client is closed or belongs to another event loop.
        """
        return self.send(_call(method, path, response_model, options))

    @overload
    def get(
        self, path: str, *, response_model: TypeForm[T], **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def get(
        self, path: str, *, response_model: None = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Response]: ...
    def get(self, path: str, *, response_model: Any = None, **options: Unpack[CallOptions]) -> Coroutine[Any, Any, Any]:
        """Send a GET call. Arguments, result and errors are those of ``request``."""
        return self.send(_call("GET", path, response_model, options))

    @overload
    def head(
        self, path: str, *, response_model: TypeForm[T], **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def head(
        self, path: str, *, response_model: None = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Response]: ...
    def head(
        self, path: str, *, response_model: Any = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Any]:
        """Send a HEAD call. Arguments, result and errors are those of ``request``."""
        return self.send(_call("HEAD", path, response_model, options))

    @overload
    def options(
        self, path: str, *, response_model: TypeForm[T], **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def options(
        self, path: str, *, response_model: None = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Response]: ...
    def options(
        self, path: str, *, response_model: Any = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Any]:
        """Send an OPTIONS call. Arguments, result and errors are those of ``request``."""
        return self.send(_call("OPTIONS", path, response_model, options))

    @overload
    def post(
        self, path: str, *, response_model: TypeForm[T], **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def post(
        self, path: str, *, response_model: None = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Response]: ...
    def post(
        self, path: str, *, response_model: Any = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Any]:
        """Send a POST call. Arguments, result and errors are those of ``request``."""
        return self.send(_call("POST", path, response_model, options))

    @overload
    def put(
        self, path: str, *, response_model: TypeForm[T], **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def put(
        self, path: str, *, response_model: None = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Response]: ...
    def put(self, path: str, *, response_model: Any = None, **options: Unpack[CallOptions]) -> Coroutine[Any, Any, Any]:
        """Send a PUT call. Arguments, result and errors are those of ``request``."""
        return self.send(_call("PUT", path, response_model, options))

    @overload
    def patch(
        self, path: str, *, response_model: TypeForm[T], **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def patch(
        self, path: str, *, response_model: None = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Response]: ...
    def patch(
        self, path: str, *, response_model: Any = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Any]:
        """Send a PATCH call. Arguments, result and errors are those of ``request``."""
        return self.send(_call("PATCH", path, response_model, options))

    @overload
    def delete(
        self, path: str, *, response_model: TypeForm[T], **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def delete(
        self, path: str, *, response_model: None = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Response]: ...
    def delete(
        self, path: str, *, response_model: Any = None, **options: Unpack[CallOptions]
    ) -> Coroutine[Any, Any, Any]:
        """Send a DELETE call. Arguments, result and errors are those of ``request``."""
        return self.send(_call("DELETE", path, response_model, options))


def _call(method: str, path: str, model: Any, options: CallOptions) -> Call[Any]:
    if options or type(path) is not str or not (model is None or isinstance(model, type)):
        return describe(method, path, model, options)
    # Calls are frozen, so equal ones can share one object.
    call = _calls.get(key := (method, path, model))  # perf: -2.9 % instructions per call
    if call is None:
        call = Call(method, path, response_model=model)
        _calls.put(key, call, _SIZE_OF_CALL + getsizeof(path))
    return call
