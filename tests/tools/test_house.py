"""The picture of the packages comes from their imports and nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tools.house import FRONT_DOOR, PlanError, draw, main, read_house

from tools import house

PYPROJECT = """
[[tool.importlinter.contracts]]
type = "layers"
layers = ["resilient_client.auth", "resilient_client._client", "resilient_client._fanout | resilient_client._transport",
    "resilient_client._core"]
"""


def build(tmp_path: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """Write a small package and its contract; return the paths of both."""
    source = tmp_path / "resilient_client"
    for name, text in {"__init__.py": "", **files}.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(PYPROJECT)
    return source, pyproject


def test_committed_picture_is_current() -> None:
    """``docs/images/house.svg`` shows the imports of today."""
    assert main(["--check"]) == 0, "run python tools/house.py"


def test_check_of_a_stale_picture_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing or a different picture is an error that names the remedy; writing mends it."""
    monkeypatch.setattr(house, "PICTURE", tmp_path / "house.svg")
    assert main(["--check"]) == 1
    assert "run python tools/house.py" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_imports_are_counted_by_room(tmp_path: Path) -> None:
    """Absolute, relative and lazy imports count once per module; those for type checkers do not."""
    files = {
        "_client/__init__.py": "from resilient_client._core.call import Call, Other\n",
        "_client/one.py": "from .._core import call\n",
        "_client/two.py": "def load():\n    import resilient_client._core.call\n",
        "_client/three.py": "import typing\nif typing.TYPE_CHECKING:\n    import resilient_client._fanout\n",
        "_core/__init__.py": "import os, pydantic\n",
        "_core/call.py": "",
        "_fanout/__init__.py": "",
    }
    assert read_house(*build(tmp_path, files)).imports == {("_client", "_core"): 3}


def test_floors_follow_the_contract(tmp_path: Path) -> None:
    """Rooms stand in the order of the layers; public modules of the package itself are the front door, in the roof."""
    files = {f"{name}/__init__.py": '"""."""\n' for name in ("_core", "_transport", "_fanout", "auth")}
    found = read_house(*build(tmp_path, {**files, "events.py": "import resilient_client._core\n"}))
    assert [(room.name, room.floor, room.is_public) for room in found.rooms] == [
        (FRONT_DOOR, -1, True),
        ("auth", 0, True),
        ("_fanout", 2, False),
        ("_transport", 2, False),
        ("_core", 3, False),
    ]
    assert found.imports == {(FRONT_DOOR, "_core"): 1}


@pytest.mark.parametrize("path", ["guard/__init__.py", "guard/policy.py", "_guard.py"])
def test_room_without_a_layer_is_refused(tmp_path: Path, path: str) -> None:
    """A new package, or a private module beside the packages, needs a layer first."""
    with pytest.raises(PlanError, match="guard is in no layer"):
        files = {"guard/__init__.py": "", path: ""} if path.startswith("guard") else {path: ""}
        read_house(*build(tmp_path, files))


def test_room_without_a_caption_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture says what each room does, so a new room needs its caption."""
    monkeypatch.delitem(house.CAPTIONS, "_core")
    with pytest.raises(PlanError, match="_core has no caption"):
        draw(read_house())


def test_small_edits_do_not_change_the_picture() -> None:
    """A few lines or imports more redraw nothing."""
    before = read_house()
    rooms = [room._replace(lines=room.lines // 1000 * 1000 + 1) for room in before.rooms]
    after = before._replace(
        rooms=rooms, imports={pair: max(20, n) if n >= 20 else n for pair, n in before.imports.items()}
    )
    assert draw(after) == draw(before)


def test_picture_is_well_formed_and_keeps_its_boxes_apart() -> None:
    """The SVG parses, and no two boxes overlap."""
    root = ET.fromstring(draw(read_house()))  # noqa: S314 - our own picture
    boxes = [
        tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for box in root.iter("{http://www.w3.org/2000/svg}rect")
        if box.attrib["class"].startswith("room")
    ]
    assert len(boxes) > 10
    for index, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[index + 1 :]:
            apart_x = x + width <= other_x or other_x + other_width <= x
            apart_y = y + height <= other_y or other_y + other_height <= y
            assert apart_x or apart_y
