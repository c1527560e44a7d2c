"""Answers in random parts, and what an answer stream makes of them."""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pilotfish.plugin_api.adaptations import AnswerStream, Escalate, Refused, Release

SEED = 7
LONGEST_PART = 12
MOST_FRAGMENTS = 30
FINISH_REASONS = ("stop", "length", None)

_FRAGMENT = re.compile(r"\w+|\W")


@dataclass
class Reading:
    """What a stream released of one answer. `withheld` is the Escalate or Refused at which it ended, None at the end.

    `released` has what was released up to each part, and `text` all of it.
    """

    released: list[str] = field(default_factory=list)
    text: str = ""
    withheld: Escalate | Refused | None = None


async def read(stream: AnswerStream, parts: Sequence[str], finish_reason: str | None = "stop") -> Reading:
    """Push the parts, then end, and check each result."""
    reading = Reading()
    held = 0
    for part in parts:
        result = await stream.push(part)
        held += len(part)
        if isinstance(result, Release) and result.held is not None:
            assert 0 <= result.held <= held, f"{result.held} characters are held back of {held}"
            held = result.held
        _take(reading, result)
        if reading.withheld:
            return reading
        reading.released.append(reading.text)
    _take(reading, await stream.end(finish_reason))
    return reading


def check_notes(notes: Mapping[str, Any]) -> None:
    """Notes are JSON values by name."""
    assert all(isinstance(name, str) for name in notes)
    json.dumps(dict(notes), allow_nan=False)


def _take(reading: Reading, result: object) -> None:
    match result:
        case Release():
            assert isinstance(result.text, str)
            reading.text += result.text
        case Escalate():
            assert not reading.text, "Escalate after text was released: the client has seen a part of the answer"
            assert isinstance(result.otherwise, Release | Refused)
            reading.withheld = result
        case Refused():
            assert result.message, "Refused without a message"
            reading.withheld = result
        case _:
            raise AssertionError(f"the stream returned {type(result).__name__}")
    check_notes(result.notes)


def random_answers(samples: Sequence[str], count: int) -> Iterator[str]:
    """The samples, and answers that are put together from their fragments. Short answers come first."""
    numbers = random.Random(SEED)  # noqa: S311 - test data
    fragments = [fragment for sample in samples for fragment in _FRAGMENT.findall(sample)[:1000]]
    yield from samples
    for place in range(count if fragments else 0):
        length = 1 + place * MOST_FRAGMENTS // count
        yield "".join(_fragment(numbers, fragments) for _ in range(length))


def random_parts(text: str, numbers: random.Random) -> list[str]:
    """The text in parts of random lengths, mostly short ones. No part is empty."""
    parts = []
    while text:
        length = 1 if numbers.random() < 0.3 else numbers.randint(1, max(LONGEST_PART, len(text) // 10))
        parts.append(text[:length])
        text = text[length:]
    return parts


def _fragment(numbers: random.Random, fragments: Sequence[str]) -> str:
    """A few fragments that follow each other, or the beginning of one."""
    at = numbers.randrange(len(fragments))
    several = "".join(fragments[at : at + numbers.randint(1, 6)])
    return several[: numbers.randint(1, len(several))] if numbers.random() < 0.3 else several
