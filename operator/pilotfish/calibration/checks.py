"""Checks that decide whether an answer is right, as written beside a prompt.

{"type": "number", "value": "42"}              the last number of the first line with a number is this one
{"type": "text", "any": ["Canberra"]}          one of these is in the answer, as whole words, case and accents aside
{"type": "date", "value": "2031-03-01"}        the first date of the answer is this one, however it is written
"""

import calendar
import re
import unicodedata
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pilotfish.api.validation import format_path, message_of
from pilotfish.base.errors import ConfigError

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
_MONTH = "|".join(_MONTHS)
_ISO = re.compile(r"\b(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})\b")
_DAY_FIRST = re.compile(rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<month>{_MONTH}),? (?P<year>\d{{4}})\b")
_MONTH_FIRST = re.compile(rf"\b(?P<month>{_MONTH}) (?P<day>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<year>\d{{4}})\b")


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NumberCheck(_Check):
    """`tolerance`: how far off a number may be."""

    type: Literal["number"]
    value: Decimal
    tolerance: Annotated[Decimal, Field(ge=0)] = Decimal(0)

    def holds(self, answer: str) -> bool:
        """Whether the answer is right."""
        lines = (_NUMBER.findall(line.replace("\N{MINUS SIGN}", "-")) for line in answer.splitlines())
        numbers = next((found for found in lines if found), [])
        return bool(numbers) and abs(Decimal(numbers[-1].replace(",", "")) - self.value) <= self.tolerance


class TextCheck(_Check):
    """`any`: answers that count."""

    type: Literal["text"]
    any: Annotated[tuple[str, ...], Field(min_length=1)]

    def holds(self, answer: str) -> bool:
        """Whether the answer is right."""
        said = _plain(answer)
        return any(re.search(rf"(?<!\w){re.escape(_plain(wanted))}(?!\w)", said) for wanted in self.any)


class DateCheck(_Check):
    """`value`: a day of the calendar."""

    type: Literal["date"]
    value: date

    def holds(self, answer: str) -> bool:
        """Whether the answer is right."""
        found = (match for pattern in (_ISO, _DAY_FIRST, _MONTH_FIRST) for match in pattern.finditer(answer.lower()))
        first = min(found, key=lambda match: match.start(), default=None)
        if first is None:
            return False
        month = _MONTHS.get(first["month"]) or int(first["month"])
        return (int(first["year"]), month, int(first["day"])) == (self.value.year, self.value.month, self.value.day)


Check = NumberCheck | TextCheck | DateCheck
_ADAPTER: TypeAdapter[Check] = TypeAdapter(Annotated[Check, Field(discriminator="type")])


def parse_check(value: object, where: str) -> Check:
    """Parse a check from a file. Raises ConfigError that names the field."""
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = format_path(("check", *first["loc"]))
        raise ConfigError(where, f"{path}: {message_of(first)}") from error


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return " ".join("".join(mark for mark in decomposed if not unicodedata.combining(mark)).split())
