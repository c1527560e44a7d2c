import importlib.util
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.errors import ConfigError
from pilotfish.calibration.checks import parse_check

EXAMPLE = Path(__file__).parents[3] / "examples" / "calibrate"


def right(check, answer):
    return parse_check(check, "test").holds(answer)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("42", True),
        ("17 + 25 = 42\nLet me check: 43", True),
        ("It is 1,042", False),
        ("The answer is 42.0 metres.", True),
        ("no idea", False),
        ("-42", False),
    ],
)
def test_a_number_is_the_last_of_the_first_line_that_has_one(answer, expected):
    assert right({"type": "number", "value": "42"}, answer) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("It was Gabriel García Márquez.", True), ("MARQUEZ", True), ("Marquezian", False), ("", False)],
)
def test_a_text_is_found_as_whole_words(answer, expected):
    assert right({"type": "text", "any": ["Marquez"]}, answer) is expected


@given(st.dates())
def test_a_date_is_right_however_it_is_written(day):
    check = {"type": "date", "value": day.isoformat()}
    month = day.strftime("%B")
    for written in (
        f"{day.year:04d}-{day.month}-{day.day}",
        f"the {day.day}th of {month} {day.year:04d}",
        f"{month.upper()} {day.day}, {day.year:04d}",
    ):
        assert right(check, f"So it is {written}, not 2100-13-40.")
    assert not right(check, "tomorrow")


def test_a_check_of_no_known_type_is_refused():
    with pytest.raises(ConfigError, match="check"):
        parse_check({"type": "feeling"}, "file:1")


def generator():
    spec = importlib.util.spec_from_file_location("generate", EXAMPLE / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_questions_are_those_that_the_program_makes_and_their_answers_pass():
    questions = [orjson.loads(line) for line in (EXAMPLE / "questions.jsonl").read_bytes().splitlines()]
    assert questions == generator().questions()
    assert len(questions) == len({question["id"] for question in questions}) == 600
    assert len({question["prompt"] for question in questions}) == 600
    for question in questions:
        check = question["check"]
        answer = check["any"][0] if check["type"] == "text" else check["value"]
        assert right(check, f"It is {answer}."), question
