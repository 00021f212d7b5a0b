"""Converts command-line input to arguments of the client. Its errors use the names of the command line's options.

Nothing is sent from here. Header values are never repeated in an error, because they may be secret.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError
from yarl import URL

from resilient_client._core.errors import ConfigurationError
from resilient_client._policies.http.redaction import redact_url
from resilient_client._settings.base import PositiveSeconds
from resilient_client._settings.retry import Retry
from resilient_client._settings.timeout import Timeout

_DURATION: TypeAdapter[float] = TypeAdapter(PositiveSeconds)
_UNQUOTED = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")


def checked_url(text: str, credentials: str = "give them as --user NAME:PASSWORD") -> str:
    """Check an absolute http(s) URL and quote its braces, which the client would take for placeholders.

    Args:
        text: The URL as it was typed.
        credentials: The advice to give if the URL carries credentials.

    Raises:
        ConfigurationError: The text is not such a URL. The message says what to write instead.
    """
    example = "give one such as 'https://api.example.com/users'"
    if not text.strip():
        raise ConfigurationError(f"the URL is empty; {example}")
    if "://" not in text:
        bare = redact_url(f"//{text}").removeprefix("//").removesuffix("" if text.endswith("/") else "/")
        raise ConfigurationError(f"the URL {bare!r} has no scheme; write 'https://{bare}' or 'http://{bare}'")
    if _UNQUOTED.search(text):
        raise ConfigurationError(
            "the URL has a space, control character, backslash or byte that is not UTF-8; quote it, as %20 for a space"
        )
    try:
        url = URL(text)
    except ValueError:
        raise ConfigurationError(f"the URL cannot be read; {example}") from None
    if url.scheme not in ("http", "https"):
        raise ConfigurationError(f"the URL has the scheme {url.scheme!r}; only http and https are supported")
    if not url.host:
        raise ConfigurationError(f"the URL has no host; {example}")
    if url.user is not None or url.password is not None:
        raise ConfigurationError(f"the URL of {url.host} carries credentials; {credentials}")
    return text.replace("{", "%7B").replace("}", "%7D")


def header_pairs(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Split each ``Name: value`` into a pair.

    Raises:
        ConfigurationError: A line has no colon.
    """
    pairs = []
    for number, line in enumerate(lines, start=1):
        name, colon, value = line.partition(":")
        if not colon:
            raise ConfigurationError(f"--header number {number} has no colon; write 'NAME: VALUE'")
        pairs.append((name.strip(), value.strip()))
    return pairs


def param_pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Split each ``name=value`` into a pair.

    Raises:
        ConfigurationError: A text has no equals sign, or no name before it.
    """
    pairs = []
    for number, text in enumerate(texts, start=1):
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigurationError(f"--param number {number} has no equals sign; write NAME=VALUE")
        if not name:
            raise ConfigurationError(f"--param number {number} has no name; write NAME=VALUE")
        pairs.append((name, value))
    return pairs


def credentials(text: str) -> tuple[str, str]:
    """Split ``name:password``.

    Raises:
        ConfigurationError: The text has no colon.
    """
    user, colon, password = text.partition(":")
    if not colon:
        raise ConfigurationError("--user has no colon; write NAME:PASSWORD")
    return user, password


def json_body(text: str) -> bytes:
    """Check a JSON body and return it byte for byte as it was typed.

    Raises:
        ConfigurationError: The body is not JSON, or its file cannot be read.
    """
    content = raw_body(text, "--json")
    try:
        json.loads(
            content, parse_constant=_refuse, parse_int=str
        )  # str: Python limits the digits of an int, JSON does not
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise ConfigurationError(f"--json is not JSON: {what} at line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError:
        raise ConfigurationError("--json is not JSON: not text") from None
    except RecursionError:
        raise ConfigurationError("--json is nested too deep to be read; --data sends it as it is") from None
    return content


def _refuse(constant: str) -> NoReturn:
    raise ConfigurationError(f"--json is not JSON: {constant} is not a JSON value")


def raw_body(text: str, option: str = "--data") -> bytes:
    """Return a body as it was typed, the content of a file for ``@FILE``, or the content of stdin for ``@-``.

    Raises:
        ConfigurationError: The file cannot be read, or stdin is closed.
    """
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    if text == "@-":
        if sys.stdin is None:  # closed with "<&-". An empty body would not be what the user meant
            raise ConfigurationError(f"{option}: '@-' reads stdin, but stdin is closed")
        return sys.stdin.buffer.read()
    return read_file(text[1:], option)


def read_file(path: str, option: str) -> bytes:
    """Return the content of a file.

    Raises:
        ConfigurationError: The file cannot be read. The message names the option, the file and the reason.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{option}: {path!r} cannot be read: {os_error_reason(error)}") from None


def checked_destination(path: str | None, option: str = "--output") -> Path | None:
    """Check, before anything is sent, that a file can probably be written at ``path``.

    Raises:
        ConfigurationError: The path is a directory, or its parent directory does not exist.
    """
    if path is None:
        return None
    destination = Path(path)
    if destination.is_dir():
        raise ConfigurationError(f"{option}: {path!r} is a directory; name a file")
    if not destination.parent.is_dir():
        raise ConfigurationError(f"{option}: there is no directory {str(destination.parent)!r}")
    return destination


def timeout_option(total: str | None, attempt: str | None) -> dict[str, Timeout]:
    """Return the call option ``timeout``, or nothing if neither value was given.

    Raises:
        ConfigurationError: A value is not a duration.
    """
    values: dict[str, Any] = {}
    if total is not None:
        values["total"] = seconds("--timeout", total)
    if attempt is not None:
        values["attempt"] = seconds("--attempt-timeout", attempt)
    return {"timeout": Timeout(**values)} if values else {}


def retry_option(max_attempts: int | None, no_retry: bool) -> dict[str, Retry | None]:
    """Return the call option ``retry``, or nothing if neither value was given.

    Raises:
        ConfigurationError: The number is out of range, or the options contradict each other.
    """
    if no_retry and max_attempts is not None:
        raise ConfigurationError("--max-attempts and --no-retry exclude each other; give one")
    if no_retry:
        return {"retry": None}
    return {} if max_attempts is None else {"retry": Retry(max_attempts=max_attempts)}


def seconds(what: str, value: object) -> float:
    """Parse a duration above zero as the settings do: ``2``, ``"500ms"``, ``"1.5m"``.

    Args:
        what: The name of the option or key, for the error.
        value: The value as it was given.

    Raises:
        ConfigurationError: The value is not a duration above zero.
    """
    try:
        return _DURATION.validate_python(value)
    except ValidationError:
        raise ConfigurationError(f"{what} is {value!r:.80}; give seconds above 0, such as 2 or '500ms'") from None


def os_error_reason(error: OSError) -> str:
    """Return the operating system's message with a small first letter, to be part of a sentence."""
    text = error.strerror or type(error).__name__
    return f"{text[:1].lower()}{text[1:]}"
