# ruff: noqa: RUF001 - characters that only look like ASCII are what is tested
"""What is recognised, in any disguise, and what is not."""

import random

import pytest

from pilotfish.plugin_api.settings import Settings
from pilotfish_redact import Redact, checksums
from pilotfish_redact.spans import merged

REDACT = Redact.from_settings(Settings())
NO_NAMES: frozenset[str] = frozenset()


def found(text: str) -> list[tuple[str, str]]:
    """The kind and the original characters of everything that is recognised."""
    return [(span.kind.value, text[span.start : span.end]) for span in merged(REDACT._spans(text, NO_NAMES))]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Email", "anna.o'brien+tag@mail.example.co.uk"),
        ("Email", "jörg@müller.example"),
        ("Iban", "DE89370400440532013000"),
        ("Iban", "GB29 NWBK 6016 1331 9268 19"),
        ("Iban", "fr14 2004 1010 0505 0001 3m02 606"),
        ("Card", "4111 1111 1111 1111"),
        ("Card", "4111\n1111\n1111\n1111"),
        ("Card", "3782-822463-10005"),
        ("Card", "5555.5555.5555.4444"),
        ("Phone", "+49 (30) 901820"),
        ("Phone", "+1-202-555-0143"),
        ("Phone", "(212) 555-0143"),
        ("Phone", "020 7946 0958"),
        ("IpAddress", "203.0.113.17"),
        ("IpAddress", "2001:db8::8a2e:370:7334"),
        ("NationalId", "078-05-1121"),
        ("NationalId", "86095742719"),
        ("NationalId", "86 095 742 719"),
        ("NationalId", "2 55 08 14 168 025 38"),
        ("NationalId", "943 476 5919"),
        ("NationalId", "123456782"),
        ("Secret", "ghp_" + "a1B2" * 9),
        ("Secret", "AKIAIOSFODNN7EXAMPLE"),
        ("Secret", "sk-proj-" + "Zx9" * 12),
        ("Secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIEpA\n-----END RSA PRIVATE KEY-----"),
        ("Secret", "qZ8vT1xKc4Rj7Lw2Np9Hs3Fd6Gb5Ym0A"),
    ],
)
def test_a_value_is_found_alone_and_in_a_sentence(kind: str, value: str) -> None:
    for before, after in (("", ""), ("It is ", ", I think."), ("(", ")"), ('"', '"'), ("番号", "です"), ("x=", ";")):
        ((seen, whole),) = found(f"{before}{value}{after}")
        assert (seen, value in whole) == (kind, True), (before, after)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("postgres://app:s3cr/et@db.example/x", ["app:s3cr/et@db.example"]),
        ("DB_PASSWORD=hunter2!", ["hunter2!"]),
        ('{"api_key": "abc12345"}', ["abc12345"]),
        ("Authorization: Bearer abcdef0123456789", ["abcdef0123456789"]),
        ("my SSN 078051121", ["078051121"]),
        ("NHS 94 347 65919", ["94 347 65919"]),
        ("phone 2125550143", ["2125550143"]),
        ("DE89370400440532013001 06 12 35 04 12 7", ["06 12 35 04 12 7"]),
        ("7922659271 (212) 555-0143", ["(212) 555-0143"]),
        ("EUR\n07911 127609", ["07911 127609"]),
        ("addr:2001:db8::1.", ["2001:db8::1"]),
        ("ip：2001:db8::1: up", ["2001:db8::1"]),
        ("mailto:a%40b.example", ["mailto:a%40b.example"[7:]]),
    ],
)
def test_what_stands_around_a_value_says_what_it_is(text: str, values: list[str]) -> None:
    assert [value for _, value in found(text)] == values


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("anna\u200b@mail\u00ad.example", "Email"),
        ("anna＠mail．example", "Email"),
        ("аnnа@mаil.example", "Email"),
        ("anna&#64;mail.example", "Email"),
        (r"anna\u0040mail.example", "Email"),
        (r"anna\\u0040mail.example", "Email"),
        ("４１１１１１１１１１１１１１１１", "Card"),
        ("٤١١١ ١١١١ ١١١١ ١١١١", "Card"),
        ("4111\u200b1111\u00a01111\u20111111", "Card"),
        ("4\u03321\u03321\u03321\u0332 1111 1111 1111", "Card"),
        (r"\n4111111111111111\n", "Card"),
        ("DЕ89 3704 0044 0532 0130 00", "Iban"),
        ("DE89–3704–0044–0532–0130–00", "Iban"),
        ("203\u20240\u2024113\u202417", "IpAddress"),
    ],
)
def test_disguises_do_not_hide_a_value(text: str, kind: str) -> None:
    spans = found(f"See {text} for it")
    assert [each for each, _ in spans] == [kind]
    assert all(value in text for _, value in spans)


@pytest.mark.parametrize(
    "text",
    [
        "2024-11-10T12:10:07.123456Z, 01.02.2024, 02/03/2024, 0.4771234",
        "On 2024-05-17 10:30:45 we sold 1,234,567.89 to 42 people.",
        "Order 4111111111111112, invoice DE89370400440532013001.",
        "version 10.2.3, commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "ORD-2024-004511 at 46.0644082, 16.1683212",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "3.14159265358979 and 0.4111111111111111",
        "std::vector<a::b> at 127.0.0.1 and ::1, 12:30:45",
        "password: required, token: string, max_tokens: 128000",
        "src/pilotfish_redact/recognisers/InternationalBankAccountNumbers.py",
        "@anna wrote user@host, a@b and x @ y.example",
        "https://example.com:8080/path?query=1",
    ],
)
def test_what_is_nothing_personal_stays(text: str) -> None:
    assert found(text) == []


CHECKED = [
    (checksums.is_iban, "GB29NWBK60161331926819"),
    (checksums.is_card, "4111111111111111"),
    (checksums.is_card, "378282246310005"),
    (checksums.is_german_tax_id, "86095742719"),
    (checksums.is_french_nir, "255081416802538"),
    (checksums.is_french_nir, "184092A12345649"),
    (checksums.is_nhs_number, "9434765919"),
    (checksums.is_dutch_bsn, "123456782"),
]


@pytest.mark.parametrize(("check", "number"), CHECKED)
def test_a_changed_digit_breaks_the_checksum(check: object, number: str) -> None:
    assert callable(check)
    assert check(number)
    for place, digit in enumerate(number):
        if digit.isdigit():
            other = str((int(digit) + 1) % 10)
            assert not check(number[:place] + other + number[place + 1 :])


@pytest.mark.parametrize("ssn", ["000121234", "666121234", "123001234", "123120000", "900401234"])
def test_social_security_numbers_that_are_not_issued(ssn: str) -> None:
    assert not checksums.is_us_ssn(ssn)


@pytest.mark.parametrize(
    "piece",
    ["a", "1", "@", "a.", "1 ", "://", "://a:", "A1b", "+1", "::", "&#", r"\u", "eyJ", "-----BEGIN PRIVATE KEY-----"],
)
def test_long_strings_are_read_in_time(piece: str) -> None:
    """A pattern that backtracks would exceed the time limit of a test."""
    found(piece * (20_000 // len(piece)))


def test_random_characters_do_not_break_a_recogniser() -> None:
    numbers = random.Random(3)
    alphabet = "0123456789 +-./()@:_%&#;\\u0040aZéＡ４\u200b\u0301İﬁ"
    for _ in range(2000):
        text = "".join(numbers.choices(alphabet, k=numbers.randint(0, 60)))
        for _, value in found(text):
            assert value
            assert value in text
