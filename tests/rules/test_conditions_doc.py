"""docs/conditions.md names every condition and every reason, and none that does not exist."""

import re
from pathlib import Path

from pilotfish.api.reasons import Reason
from pilotfish.api.status import ConditionType

TEXT = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text()


def first_cells(heading: str) -> list[str]:
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_every_condition_type_is_documented_once() -> None:
    assert sorted(first_cells("Types")) == sorted(ConditionType)


def test_every_reason_is_documented_once() -> None:
    assert sorted(first_cells("Reasons")) == sorted(Reason)


def test_every_reason_is_said_of_a_condition_that_exists() -> None:
    of = re.findall(r"^\| `\w+` \| ((?:`\w+`(?:, )?)+) \|", TEXT.split("## Reasons\n")[1], re.MULTILINE)
    assert {name for cell in of for name in re.findall(r"\w+", cell)} <= set(ConditionType)
