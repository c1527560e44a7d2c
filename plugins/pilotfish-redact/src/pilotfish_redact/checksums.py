"""Rules of identifiers: lengths, prefixes and check digits, as their issuers publish them."""

import re

IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
"""Characters of an IBAN, by country (SWIFT's registry)."""

CARD = re.compile(
    r"4\d{12}(\d{3}){0,2}"  # Visa
    r"|(5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(0[0-5]|[689]\d)\d{11,16}"  # Diners Club
    r"|(6011|65\d\d|64[4-9]\d)\d{12,15}"  # Discover
    r"|35(2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|62\d{14,17}"  # UnionPay
    r"|(5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}"  # Maestro
)
NIR = re.compile(
    r"[123478]\d\d(0[1-9]|1[0-2]|[2-9]\d)(\d\d|2[AB])\d{8}"  # sex, year, month, department, place, number, key
)


def is_iban(number: str) -> bool:
    """ISO 13616: the country's length, and a remainder of 1 by 97. `number` is upper case without separators."""
    if IBAN_LENGTHS.get(number[:2]) != len(number):
        return False
    return int("".join(str(int(letter, 36)) for letter in number[4:] + number[:4])) % 97 == 1


def is_card(digits: str) -> bool:
    """A card number of a known network with the check digit of Luhn (ISO/IEC 7812)."""
    if not CARD.fullmatch(digits):
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def is_german_tax_id(digits: str) -> bool:
    """Eleven digits, of the first ten one is there twice or three times, check digit of ISO 7064 MOD 11,10."""
    counts = sorted(digits[:10].count(digit) for digit in set(digits[:10]))
    if len(digits) != 11 or digits[0] == "0" or counts[-1] not in {2, 3} or (len(counts) > 1 and counts[-2] > 1):
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def is_french_nir(number: str) -> bool:
    """Fifteen characters, the last two 97 minus the remainder of the rest by 97."""
    if not NIR.fullmatch(number):
        return False
    rest = number[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(rest) % 97 == int(number[13:])


def is_nhs_number(digits: str) -> bool:
    """Ten digits, the last one the complement by 11 of the others, weighed 10 to 2."""
    if len(digits) != 10 or len(set(digits)) == 1:
        return False
    check = -sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False)) % 11
    return check == int(digits[9])


def is_dutch_bsn(digits: str) -> bool:
    """Nine digits whose sum, weighed 9 to 2 and -1, is a multiple of 11."""
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    if len(digits) != 9 or len(set(digits)) == 1:
        return False
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11 == 0


def is_us_ssn(digits: str) -> bool:
    """Nine digits with an area, group and serial number that are issued; also the tax number ITIN."""
    if len(digits) != 9:
        return False
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area[0] == "9":
        return 50 <= int(group) <= 65 or 70 <= int(group) <= 99
    return area not in {"000", "666"} and group != "00" and serial != "0000"
