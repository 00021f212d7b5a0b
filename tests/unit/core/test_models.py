"""A body that does not fit its model costs no more than one that fits."""

import tracemalloc
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from resilient_client._core.models import ALL_ERRORS_UP_TO, describe, validator_for


class Item(BaseModel):
    id: int
    default: list[int] = []
    type: str = "x"


class Bag(BaseModel):
    items: list[Item]


class Row(TypedDict):
    cells: dict[str, int]


@dataclass
class Node:
    values: tuple[int, ...]
    next: "Node | None" = None


WRONG = 50_000
WRONG_BODIES = {
    "list": (list[int], b"[" + b'"",' * WRONG + b'""]'),
    "set": (set[int], b"[" + b'"",' * WRONG + b'""]'),
    "model": (Bag, b'{"items":[' + b"0," * WRONG + b"0]}"),
    "field named default": (Item, b'{"id":1,"default":[' + b'"",' * WRONG + b'""]}'),
    "union": (list[Item] | list[Bag], b"[" + b"0," * WRONG + b"0]"),
    "dict": (Row, b'{"cells":{' + b",".join(b'"%d":""' % number for number in range(WRONG + 1)) + b"}}"),
    "dataclass": (Node, b'{"values":[' + b'"",' * WRONG + b'""]}'),
}


def error_of(model: Any, body: bytes) -> ValidationError:
    """The error of a body that does not fit."""
    with pytest.raises(ValidationError) as caught:
        validator_for(model).validate(body)
    return caught.value


@pytest.mark.parametrize(("model", "body"), WRONG_BODIES.values(), ids=list(WRONG_BODIES))
def test_wrong_items_are_not_collected(model, body):
    """A collection is left at its first wrong item. pydantic itself collects all of them, the negative control."""
    error = error_of(model, body)
    assert error.error_count() <= 4
    assert describe(error, all_errors=False).endswith("perhaps more")
    with pytest.raises(ValidationError) as control:
        TypeAdapter(model).validate_json(body)
    assert control.value.error_count() > WRONG


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def test_many_forbidden_members_are_counted_only():
    """They make an error each. pydantic describes all of them or none, and none is quicker."""
    error = error_of(Strict, b"{" + b",".join(b'"%d":0' % number for number in range(WRONG)) + b"}")
    assert describe(error, all_errors=False) == "50,000 errors"


def test_wrong_items_of_a_small_body_are_shown():
    """Up to 16 KiB all errors are found, and five are shown."""
    error = error_of(list[int], b'["","","","","","",""]')
    assert describe(error, all_errors=True) == (
        "0: int_parsing; 1: int_parsing; 2: int_parsing; 3: int_parsing; 4: int_parsing; 2 more"
    )


def test_large_body_gives_the_same_value():
    """The validator for large bodies is the same but for the errors."""
    body = b'{"items":[' + b'{"id":1,"default":[1,2]},' * 2000 + b'{"id":"7"}]}'
    assert len(body) > ALL_ERRORS_UP_TO
    bag = validator_for(Bag).validate(body)
    assert bag == TypeAdapter(Bag).validate_json(body)
    assert type(bag) is Bag


def test_error_names_places_without_control_characters():
    """A place may be a key that the server chose."""
    error = error_of(dict[str, int], b'{"a\\n\\u001b[2J\\ud83d\\ude00' + b"x" * 300 + b'": "secret"}')
    text = describe(error, all_errors=True)
    assert text.isprintable()
    assert len(text) < 200
    assert "secret" not in text


def test_memory_of_wrong_items_is_bounded():
    """16 kB on the wire were 5 GiB: 320 bytes for each wrong item."""
    body = b"[" + b"0," * 500_000 + b"0]"
    validator_for(list[str]).validate(b"[" + b'"",' * 10_000 + b'""]')  # builds the validator
    tracemalloc.start()
    try:
        error_of(list[str], body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
