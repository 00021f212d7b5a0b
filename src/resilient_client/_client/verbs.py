"""The verbs, with the type of the value inferred from ``response_model``."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, TypeVar, overload

from typing_extensions import TypeForm, Unpack

from resilient_client._core.call import Call, CallOptions
from resilient_client._core.response import Response

T = TypeVar("T")


class Verbs:
    """A method for each HTTP verb, over one that makes any call."""

    __slots__ = ()

    def send(self, call: Call[T]) -> Coroutine[Any, Any, T]:
        """Make a described call and give its value."""
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
        """Make a call with any method.

        Args:
            method: An HTTP method.
            path: Below the base URL, with ``{placeholders}`` for ``path_params``; without a base URL, absolute.
            response_model: A type form to decode the JSON body to: ``User``, ``list[User]``, ``User | None`` ...
            options: See ``CallOptions``.

        Returns:
            The decoded value, or the ``Response`` when there is no ``response_model``.

        Raises:
            APIError: The call failed; see ``resilient_client.errors`` for the tree.
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
        """A GET call; see ``request`` for what it takes, gives and raises."""
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
        """A HEAD call; see ``request`` for what it takes, gives and raises."""
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
        """An OPTIONS call; see ``request`` for what it takes, gives and raises."""
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
        """A POST call; see ``request`` for what it takes, gives and raises."""
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
        """A PUT call; see ``request`` for what it takes, gives and raises."""
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
        """A PATCH call; see ``request`` for what it takes, gives and raises."""
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
        """A DELETE call; see ``request`` for what it takes, gives and raises."""
        return self.send(_call("DELETE", path, response_model, options))


def _call(method: str, path: str, model: Any, options: CallOptions) -> Call[Any]:
    if options or type(path) is not str or not (model is None or isinstance(model, type)):
        return Call(method, path, response_model=model, **options)
    return _plain(method, path, model)


@lru_cache(maxsize=1024)
def _plain(method: str, path: str, model: type | None) -> Call[Any]:
    """A call without options: frozen, so all who ask for the same share it."""
    return Call(method, path, response_model=model)
