"""Reads targets from a TOML file. Its errors name the file, the table and the key, and suggest the nearest valid name.

::

    timeout = 2                # seconds for a whole check
    concurrency = 100          # targets checked at once
    rise = 2                   # with --watch: good checks in a row until a target is up again
    fall = 3                   # with --watch: failed checks in a row until a target is down

    [targets]
    users = "https://users.example.com/health"

    [targets.search]
    url = "https://search.example.com/health"
    critical = false           # the overall state is not down when this target is
    expect_status = [200, 204] # a status, a list, or a range such as "200-299"; default 200-399
    expect_body = "ready"      # a text that the body must contain
    timeout = "500ms"          # for this target only
    slow = 0.2                 # seconds above which a good answer is degraded
    method = "GET"
    headers = { Accept = "application/json" }
    certificate_days = 14      # degraded from this many days before the certificate expires
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from resilient_client._cli import inputs
from resilient_client._core.errors import ConfigurationError, InvalidRequestError
from resilient_client._core.validation import suggest
from resilient_client.health import Probe

_TOP = ("timeout", "concurrency", "rise", "fall", "targets")
_RANGE = re.compile(r"\s*(\d{3})\s*-\s*(\d{3})\s*")


class TargetFile(NamedTuple):
    """The content of a file.

    Attributes:
        probes: The targets, in the order of the file.
        options: The options of the check that the file sets: ``timeout``, ``concurrency``, ``rise``, ``fall``.
    """

    probes: tuple[Probe, ...]
    options: dict[str, Any]


def read_targets(path: str) -> TargetFile:
    """Read a file of targets.

    Raises:
        ConfigurationError: The file cannot be read, is not TOML, or has an unknown key or an invalid value.
    """
    table = _parsed(path)
    for key in table:
        if key not in _TOP:
            raise ConfigurationError(f"{path}: there is no key {key!r} at the top; {suggest(key, _TOP)}")
    options: dict[str, Any] = {
        key: _count(f"{path}: {key}", table[key]) for key in ("concurrency", "rise", "fall") if key in table
    }
    if "timeout" in table:
        options["timeout"] = inputs.seconds(f"{path}: timeout", table["timeout"])
    targets = table.get("targets", {})
    if not isinstance(targets, Mapping) or not targets:
        raise ConfigurationError(f"{path}: there are no targets; add one, such as [targets.users] with a url")
    return TargetFile(tuple(_probes(path, targets)), options)


def _parsed(path: str) -> dict[str, Any]:
    content = inputs.read_file(path, "--config")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        end = f"at line {len(content.splitlines())}, the end of the file"
        message = str(error).replace("at end of document", end)  # other errors already name line and column
        raise ConfigurationError(f"{path} is not TOML: {message[:1].lower()}{message[1:]}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is not TOML: nested too deeply") from None
    except ValueError:  # Python limits the digits of an int
        raise ConfigurationError(f"{path} is not TOML: a number has too many digits") from None


def _probes(path: str, targets: Mapping[str, object]) -> Iterator[Probe]:
    for name, value in targets.items():
        where = f"{path}: targets.{name}"
        entry = {"url": value} if isinstance(value, str) else value
        if not isinstance(entry, Mapping):
            raise ConfigurationError(f"{where} is {value!r:.80}; give a URL, or a table with a url")
        for key in entry:
            if key not in _KEYS:
                raise ConfigurationError(f"{where} has no key {key!r}; {suggest(key, _KEYS)}")
        if "url" not in entry:
            raise ConfigurationError(f"{where} has no url; add one such as url = 'https://users.example.com/health'")
        values: dict[str, Any] = {key: _KEYS[key](f"{where}.{key}", entry[key]) for key in entry}
        try:
            yield Probe(values.pop("url"), name=name, **values)
        except (ConfigurationError, InvalidRequestError) as error:
            raise ConfigurationError(f"{where}: {error}") from None


def _url(where: str, value: object) -> str:
    text = _text(where, value)
    try:
        return inputs.checked_url(text, credentials="give an Authorization in headers")
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{where} is {value!r:.80}; give a text")
    return value


def _flag(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{where} is {value!r:.80}; give true or false")
    return value


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"{where} is {value!r:.80}; give a number")
    return value


def _count(where: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{where} is {value!r:.80}; give a whole number, 1 or more")
    return value


def _statuses(where: str, value: object) -> Collection[int]:
    items: Collection[object] = value if isinstance(value, list) else [value]
    if isinstance(value, str) and (match := _RANGE.fullmatch(value)):
        items = range(int(match[1]), int(match[2]) + 1)
    statuses = [item for item in items if isinstance(item, int) and not isinstance(item, bool) and 100 <= item <= 599]
    if not statuses or len(statuses) < len(items):
        raise ConfigurationError(
            f"{where} is {value!r:.80}; give a status, a list of them, or a range such as '200-299'"
        )
    return items if isinstance(items, range) else statuses


def _headers(where: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
        raise ConfigurationError(f"{where} is not a table of texts; give one such as {{ Accept = 'application/json' }}")
    return dict(value)


_KEYS = {
    "url": _url,
    "critical": _flag,
    "expect_status": _statuses,
    "expect_body": _text,
    "timeout": inputs.seconds,
    "slow": inputs.seconds,
    "method": _text,
    "headers": _headers,
    "certificate_days": _number,
}
"""The keys of a target, and the function that reads each value."""
