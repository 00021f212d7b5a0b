"""Read scenarios from TOML files.

Keys have the names of the models' fields: ``Upstream(servers=...)`` becomes ``servers`` in ``[upstreams.NAME]``. The
same holds for ``[callers.NAME]`` and ``[network]``. Settings of clients are in ``client`` tables, under the names of
``ClientConfig``: ``[client]`` has those of all clients, ``[callers.NAME.client]`` and ``[upstreams.NAME.client]``
override them for one group. ``"off"`` stands for ``None``, which TOML does not have.

An error names the file, the table and the key that is wrong, and suggests what may have been meant.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, get_args

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.validation import suggest
from resilient_client._settings.base import Settings
from resilient_client._settings.config import ClientConfig
from resilient_client.simulation._arrivals import ClosedLoop, Herd, Poisson, Steady
from resilient_client.simulation._changes import Capacity, Errors, Outage, Slowdown, Stall
from resilient_client.simulation._distributions import Constant, Exponential, LoadDependent, Lognormal, Mixture
from resilient_client.simulation._scenario import Callers, Network, Scenario
from resilient_client.simulation._upstream import Name, Upstream

S = TypeVar("S", bound=Settings)

_TOP: Final = ("about", "duration", "seed", "network", "client", "upstreams", "callers")
_DISTRIBUTIONS: Final = (Constant, Exponential, LoadDependent, Lognormal, Mixture)
_KINDS: Final[dict[str, tuple[type[Settings], ...]]] = {
    "service": _DISTRIBUTIONS,
    "round_trip": _DISTRIBUTIONS,
    "pause": _DISTRIBUTIONS,
    "of": _DISTRIBUTIONS,
    "arrivals": (Poisson, Steady, Herd, ClosedLoop),
    "changes": (Outage, Stall, Capacity, Slowdown, Errors),
}
"""Keys whose tables choose a model by ``kind``, and the models they may choose."""
_NOT_IN_FILES: Final = {"name", "config", "client", "handler"}
"""Fields of models that a file does not set: the table has the name, and functions cannot be written in TOML."""
_NAME: Final = re.compile(next(m.pattern for m in get_args(Name)[1].metadata if hasattr(m, "pattern")))


class ScenarioFile(NamedTuple):
    """The content of a scenario file.

    Attributes:
        scenario: The scenario. It has the name of the file, without the suffix.
        about: The description that the file gives; may be empty.
        text: The unchanged text of the file.
    """

    scenario: Scenario
    about: str
    text: str


def read_scenario(path: str | Path) -> ScenarioFile:
    """Read a scenario from a file.

    Raises:
        ConfigurationError: The file cannot be read, is not valid TOML, or contains something invalid.
    """
    path = Path(path)
    return parsed_scenario(_read(path), str(path), path.stem)


def parsed_scenario(text: str, where: str, name: str) -> ScenarioFile:
    """Parse a scenario from TOML.

    Args:
        text: The TOML.
        where: The name of the text in error messages.
        name: The name of the scenario.

    Raises:
        ConfigurationError: The text is not valid TOML, or contains something invalid.
    """
    table = _toml(text, where)
    _check_keys(where, table, _TOP)
    about = table.pop("about", "")
    if not isinstance(about, str):
        raise ConfigurationError(f"{where}: about is {about!r:.80}; give text")
    base = _config(f"{where}: client", table.pop("client", {}))
    values: dict[str, Any] = {key: table[key] for key in ("duration", "seed") if key in table}
    if "network" in table:
        values["network"] = _model(Network, f"{where}: network", table["network"], {})
    for key, model in (("upstreams", Upstream), ("callers", Callers)):
        values[key] = tuple(_models(model, f"{where}: {key}", table.get(key, {}), base))
    return ScenarioFile(_validate(Scenario, where, {"name": name, **values}), about, text)


def read_config(path: str | Path) -> ClientConfig:
    """Read the settings of a client from a file with the tables of ``ClientConfig``, such as ``[retry]``.

    Raises:
        ConfigurationError: The file cannot be read, is not valid TOML, or contains something invalid.
    """
    path = Path(path)
    return _config(str(path), _toml(_read(path), str(path)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: byte {error.start} is not UTF-8") from None


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:  # its message ends with a place: (at line 3, column 5)
        message = str(error).replace("at end of document", f"at line {len(text.splitlines())}, the end of the file")
        raise ConfigurationError(f"{where} is not valid TOML: {message[:1].lower()}{message[1:]}") from None


def _models(model: type[S], where: str, tables: object, base: ClientConfig) -> Iterator[S]:
    """Yield one object per table."""
    kind = where.rpartition(" ")[2]
    if not isinstance(tables, Mapping) or not tables:
        raise ConfigurationError(f"{where}: there are none; add one, such as [{kind}.shop]")
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{where}.{name}: a name consists of at most 40 lower-case letters, digits and dashes, and begins with "
                "a letter; rename it"
            )
        place = f"{where}.{name}"
        rest = dict(table) if isinstance(table, Mapping) else table
        own = _config(f"{place}.client", rest.pop("client", {})) if isinstance(rest, dict) else base
        yield _model(model, place, rest, {"name": name, "config": base.merge(own)})


def _model(model: type[S], where: str, table: object, more: Mapping[str, Any]) -> S:
    allowed = {*model.model_fields} - _NOT_IN_FILES
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{where} is {table!r:.80}; give a table")
    _check_keys(where, table, allowed | ({"client"} if more else set()))
    for key, value in table.items():
        if key in _KINDS:
            _check_kinds(f"{where}.{key}", key, value)
    return _validate(model, where, {**table, **more})


def _check_kinds(where: str, key: str, value: object) -> None:
    """Check that every table which must have a ``kind`` has a known one.

    The models would reject it too, but pydantic's message about a union lists every alternative.
    """
    tables = value if isinstance(value, list) else [value]
    for number, table in enumerate(tables, start=1):
        if not isinstance(table, Mapping):
            continue  # a plain number, or an error that the model reports
        place = f"{where}, number {number}," if isinstance(value, list) else where
        kinds = [str(model.model_fields["kind"].default) for model in _KINDS[key]]
        if "kind" not in table:
            raise ConfigurationError(f"{place} has no kind; allowed are: {', '.join(kinds)}")
        if table["kind"] not in kinds:
            kind = table["kind"]
            raise ConfigurationError(f"{place} is of the kind {kind!r:.80}; {suggest(str(kind), kinds)}")
        for part in table.get("parts", ()) if table["kind"] == "mixture" else ():
            if isinstance(part, Mapping) and "of" in part:
                _check_kinds(f"{where}.parts.of", "of", part["of"])
        if "pause" in table:
            _check_kinds(f"{where}.pause", "pause", table["pause"])


def _config(where: str, table: object) -> ClientConfig:
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{where} is {table!r:.80}; give a table of settings")
    return _validate(ClientConfig, where, {key: _or_off(value) for key, value in table.items()})


def _or_off(value: object) -> object:
    """Replace ``"off"`` by ``None``, in nested tables too."""
    if isinstance(value, Mapping):
        return {key: _or_off(inner) for key, inner in value.items()}
    return None if value == "off" else value


def _check_keys(where: str, table: Mapping[str, object], allowed: Collection[str]) -> None:
    for key in table:
        if key not in allowed:
            raise ConfigurationError(f"{where} has no key {key!r}; {suggest(key, allowed)}")


def _validate(model: type[S], where: str, values: Mapping[str, Any]) -> S:
    try:
        return model(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {in_toml(str(error))}") from None


def in_toml(sentence: str) -> str:
    """Rewrite the message of a model for a TOML file: ``'off'`` for ``None``, and tables for models."""
    sentence = sentence.replace("or None for", "or 'off' for").replace(" is None;", " is 'off';")
    return re.sub(r"give ([^;]*?)\b[A-Z]\w+\(([^)]*)\)", r"give \1{ \2 }", sentence)
