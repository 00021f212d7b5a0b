"""Why a response did not become complete: a value, which the transport translates into an error."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Reason(Enum):
    """What ended the response."""

    VIOLATION = "violation"
    """Its bytes are not HTTP/1.1."""
    FIELD_TOO_LARGE = "field too large"
    """A field of its head, or its status line, is larger than the client allows."""
    TOO_MANY_FIELDS = "too many fields"
    """Its head has more fields than the client allows."""
    BODY_TOO_LARGE = "body too large"
    """It has more content than the caller accepts."""
    CLOSED = "closed"
    """The server closed the connection in good order, too early."""
    RESET = "reset"
    """The connection broke, or TLS ended without the closure alert."""
    SILENT = "silent"
    """The server sent nothing for too long."""
    ABORTED = "aborted"
    """The connection was aborted on this side."""


class Failure(NamedTuple):
    """Why a response did not become complete.

    Attributes:
        reason: What happened.
        detail: The rule that is broken, or the limit. Never bytes of the response.
        answered: Whether a byte of the response had arrived.
    """

    reason: Reason
    detail: str = ""
    answered: bool = True


class RefusedError(Exception):
    """Bytes that are not accepted. Never leaves this package: the parser keeps it as a ``Failure``."""

    def __init__(self, detail: str, reason: Reason = Reason.VIOLATION) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason
