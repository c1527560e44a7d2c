"""Numbers in a text: account, card, phone and national numbers, however they are grouped."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import phonenumbers

from pilotfish_redact import checksums
from pilotfish_redact.spans import Kind, Span

IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d")
IBAN_REST = re.compile(r"[ \t\n.\-]{0,2}([A-Za-z0-9])")
IBAN_DIGITS = 8
"""Fewer digits than any IBAN has."""
RUN = re.compile(r"\d+(?:(?:[ \t./_\-]{1,2}|\r?\n)\d+)+|\d{8,}")
GROUP = re.compile(r"\d+")
FRACTION = re.compile(r"\d[.]\Z")
INSIDE = re.compile(r"[A-Za-z_]\Z|\d:\Z")
"""What stands before digits that are part of a word or of a time."""
NIR = re.compile(r"(?<!\d)\d ?\d\d ?\d\d ?\d[\dAB] ?\d{3} ?\d{3}[ -]?\d\d(?!\d)", re.IGNORECASE)
INTERNATIONAL = re.compile(r"(?<!\+)\+(?:[ ()./\-]{0,2}\d){8,15}(?!\d)")
PHONE_RUN = re.compile(r"\d+(?:[ \t./()\-]{1,3}\d+)+|\d{7,}")
PHONE_LENGTHS = range(7, 16)
DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}")
CALL = re.compile(r"\b(?:tel|phone|mobile|mobil|cell|call|fax|handy|ruf|appel|bel)", re.IGNORECASE)
HASH = re.compile(r"(?<![0-9A-Za-z])(?=[0-9]*[A-Za-z])[0-9A-Za-z]{24,}")
"""A string that is no number, though it has many digits."""
NEAR = 30
"""Characters before a number in which a word can say what it is."""


@dataclass(frozen=True, slots=True)
class _Identifier:
    """A number of digits. In one of its `groupings` it is recognised by `check` alone, otherwise if a word says so."""

    kind: Kind
    lengths: range
    check: Callable[[str], bool]
    groupings: frozenset[tuple[int, ...]]
    words: re.Pattern[str]

    def fits(self, digits: str, grouping: tuple[int, ...], before: str) -> bool:
        """Whether digits, grouped so, after this text, are such a number."""
        if not self.check(digits):
            return False
        return grouping in self.groupings or bool(self.words.search(before))


IDENTIFIERS = (
    _Identifier(
        Kind.NATIONAL_ID,
        range(9, 10),
        checksums.is_us_ssn,
        frozenset({(3, 2, 4)}),
        re.compile(r"\bssn\b|social security|\bitin\b", re.IGNORECASE),
    ),
    _Identifier(
        Kind.NATIONAL_ID,
        range(9, 10),
        checksums.is_dutch_bsn,
        frozenset({(9,), (3, 3, 3), (4, 2, 3)}),
        re.compile(r"\bbsn\b|burgerservice|sofi", re.IGNORECASE),
    ),
    _Identifier(
        Kind.NATIONAL_ID,
        range(10, 11),
        checksums.is_nhs_number,
        frozenset({(10,), (3, 3, 4)}),
        re.compile(r"\bnhs\b", re.IGNORECASE),
    ),
    _Identifier(
        Kind.NATIONAL_ID,
        range(11, 12),
        checksums.is_german_tax_id,
        frozenset({(11,), (2, 3, 3, 3)}),
        re.compile(r"steuer|\btax\b|\bidnr", re.IGNORECASE),
    ),
)


def ibans(text: str) -> Iterator[Span]:
    """International bank account numbers."""
    for start in IBAN_START.finditer(text):
        number, end = start[0].upper(), start.end()
        wanted = checksums.IBAN_LENGTHS.get(number[:2], 0)
        while len(number) < wanted and (more := IBAN_REST.match(text, end)):
            number, end = number + more[1].upper(), more.end()
        if sum(map(str.isdigit, number)) >= IBAN_DIGITS and number.isascii() and checksums.is_iban(number):
            yield Span(start.start(), end, Kind.IBAN)


def cards(text: str) -> Iterator[Span]:
    """Payment card numbers, grouped in any way."""
    for start, end, digits, grouping in _windows(text, range(12, 20)):
        is_decimal = len(grouping) == 2 and "." in text[start:end]
        if not is_decimal and checksums.is_card(digits):
            yield Span(start, end, Kind.CARD)


def national_ids(text: str) -> Iterator[Span]:
    """US SSN and ITIN, Dutch BSN, British NHS number, German tax id, French NIR."""
    hashes = [found.span() for found in HASH.finditer(text)]
    for start, end, digits, grouping in _windows(text, range(9, 12)):
        if any(first <= start < last for first, last in hashes):
            continue
        before = text[max(0, start - NEAR) : start]
        for identifier in IDENTIFIERS:
            if len(digits) in identifier.lengths and identifier.fits(digits, grouping, before):
                yield Span(start, end, identifier.kind)
    for found in NIR.finditer(text):
        if checksums.is_french_nir(re.sub(r"[ -]", "", found[0]).upper()):
            yield Span(found.start(), found.end(), Kind.NATIONAL_ID)


def phones(text: str, regions: Sequence[str]) -> Iterator[Span]:
    """Phone numbers with a country code, and those that are valid in one of the regions.

    A national number counts if it begins with a zero, is grouped as in its region, or comes after a word such as
    "phone".
    """
    for found in INTERNATIONAL.finditer(text):
        yield Span(found.start(), found.end(), Kind.PHONE)
    for start, end, digits, grouping in _windows(text, PHONE_LENGTHS, PHONE_RUN):
        number = text[start:end]
        if DATE.fullmatch(number) or grouping[0] == 1 or INSIDE.search(text[max(0, start - 2) : start]):
            continue
        sure = digits[0] == "0" or bool(CALL.search(text[max(0, start - NEAR) : start]))
        if any(_is_phone(number, region, None if sure else grouping) for region in regions):
            yield Span(start - (text[start - 1 : start] == "(" and ")" in number), end, Kind.PHONE)


def _is_phone(number: str, region: str, grouping: tuple[int, ...] | None) -> bool:
    """Whether a number is valid in the region, and grouped so there."""
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return False
    if not phonenumbers.is_valid_number(parsed):
        return False
    written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    return grouping is None or grouping == tuple(map(len, GROUP.findall(written)))


def _windows(text: str, lengths: range, runs: re.Pattern[str] = RUN) -> Iterator[tuple[int, int, str, tuple[int, ...]]]:
    """Every row of whole groups of digits with one of these numbers of digits: start, end, digits, group lengths."""
    for run in runs.finditer(text):
        groups = [(found.start(), found.end()) for found in GROUP.finditer(text, run.start(), run.end())]
        for first, (begin, _) in enumerate(groups):
            if FRACTION.search(text[max(0, begin - 2) : begin]):
                continue
            digits, grouping = "", []
            for start, end in groups[first:]:
                digits += text[start:end]
                grouping.append(end - start)
                if len(digits) >= lengths.stop:
                    break
                if len(digits) in lengths:
                    yield begin, end, digits, tuple(grouping)
