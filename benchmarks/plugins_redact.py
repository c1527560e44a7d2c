"""`plugins.py redact`: generated documents with personal data, masked, and what of it is left."""

import argparse
import asyncio
import html
import json
import random
import re
import string
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from pilotfish.plugin_api.adaptations import Conversation, Rewritten
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish_redact import Redact

DESCRIPTION = """Structured identifiers that redact leaves in generated documents, and false alarms.

    python benchmarks/plugins.py redact

Each document has identifiers with valid check digits, in sentences, JSON, CSV, logs and headers, beside strings that
identify no person. An identifier has leaked if more than half of its characters stand in a row in what leaves,
separators and escapes left out. Nothing of the generator is shared with the recognisers.
"""

INVISIBLE = "\u200b\u200d\u00ad\u2060\ufeff"
FULL_WIDTH = {ord(digit): ord(digit) + 0xFEE0 for digit in string.digits + "@."}
NO_POOLS = StandInModels(missing=frozenset({"names"}))
Make = Callable[[random.Random], str]


def digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choices(string.digits, k=count))


def grouped(draw: random.Random, number: str, *sizes: int) -> str:
    """A number as it is, or in groups of these sizes."""
    separator = draw.choice(["", " ", "-"])
    parts, place = [], 0
    for size in sizes:
        parts.append(number[place : place + size])
        place += size
    return separator.join([*parts, number[place:]] if number[place:] else parts)


def email(draw: random.Random) -> str:
    first, last = (
        draw.choice(["anna", "j.r", "Pierre", "zoë", "kees"]),
        draw.choice(["smith", "Müller", "o'neil", "de-vries"]),
    )
    domain = draw.choice(["mail.example", "corp.example.co.uk", "xn--bcher-kva.example", "uni-köln.example"])
    return f"{first}{draw.choice(['.', '_', '+', ''])}{last}{draw.choice(['', digits(draw, 2)])}@{domain}"


def iban(draw: random.Random) -> str:
    country, rest = draw.choice(
        [
            ("DE", digits(draw, 18)),
            (
                "FR",
                digits(draw, 10)
                + "".join(draw.choices(string.digits + string.ascii_uppercase, k=11))
                + digits(draw, 2),
            ),
            ("GB", "".join(draw.choices(string.ascii_uppercase, k=4)) + digits(draw, 14)),
            ("NL", "".join(draw.choices(string.ascii_uppercase, k=4)) + digits(draw, 10)),
            ("ES", digits(draw, 20)),
            ("NO", digits(draw, 11)),
            ("PL", digits(draw, 24)),
            ("CH", digits(draw, 17)),
        ]
    )
    as_digits = "".join(str(ord(each) - 55) if each.isalpha() else each for each in f"{rest}{country}00")
    number = f"{country}{98 - int(as_digits) % 97:02d}{rest}"
    return " ".join(re.findall(".{1,4}", number)) if draw.random() < 0.5 else number


def card(draw: random.Random) -> str:
    prefix, length, sizes = draw.choice(
        [
            ("4", 16, (4, 4, 4)),
            ("51", 16, (4, 4, 4)),
            ("2720", 16, (4, 4, 4)),
            ("37", 15, (4, 6)),
            ("6011", 16, (4, 4, 4)),
            ("3530", 16, (4, 4, 4)),
            ("300", 14, (4, 6)),
            ("62", 17, (6,)),
            ("6759", 12, (4, 4)),
            ("4", 13, (4, 3, 3)),
        ]
    )
    number = prefix + digits(draw, length - len(prefix) - 1)
    total = 0
    for place, digit in enumerate(reversed(number)):
        twice = int(digit) * (2 if place % 2 == 0 else 1)
        total += twice - 9 if twice > 9 else twice
    return grouped(draw, f"{number}{-total % 10}", *sizes)


def phone(draw: random.Random) -> str:
    n = digits(draw, 8)
    return draw.choice(
        [
            f"+49 {draw.choice(['30', '89', '171'])} {n[:7]}",
            f"+1 ({draw.choice(['212', '415', '617'])}) {draw.randint(2, 9)}{n[0]}{draw.randint(2, 9)}-{n[:4]}",
            f"({draw.choice(['212', '415', '617'])}) {draw.randint(2, 9)}{n[0]}{draw.randint(2, 9)}-{n[:4]}",
            f"{draw.choice(['212', '415', '617'])}-{draw.randint(2, 9)}{n[0]}{draw.randint(2, 9)}-{n[:4]}",
            f"020 7{n[:3]} {n[3:7]}",
            f"07911 12{n[:4]}",
            f"0171 {draw.randint(2, 9)}{n[:6]}",
            f"030/{draw.randint(2, 9)}{n[:6]}",
            f"06 {draw.randint(10, 69)} {n[:2]} {n[2:4]} {n[4:6]}",
            f"06-{draw.randint(1, 5)}{n[:7]}",
            f"+31 6 {draw.randint(1, 5)}{n[:7]}",
            f"+33 6 {n[:2]} {n[2:4]} {n[4:6]} {n[6:8]}",
        ]
    )


def ip_address(draw: random.Random) -> str:
    if draw.random() < 0.6:
        return f"{draw.choice([10, 85, 172, 192, 203])}." + ".".join(str(draw.randint(0, 255)) for _ in range(3))
    parts = [f"{draw.randrange(1, 65536):x}" for _ in range(6)]
    return draw.choice(
        [f"2001:db8:{':'.join(parts)}", f"2001:db8::{':'.join(parts[:3])}", f"fe80::{':'.join(parts[:2])}"]
    )


def ssn(draw: random.Random) -> str:
    area = draw.choice([number for number in range(1, 900) if number != 666])
    parts = (f"{area:03d}", f"{draw.randint(1, 99):02d}", f"{draw.randint(1, 9999):04d}")
    return draw.choice(["-", " "]).join(parts)


def tax_id(draw: random.Random) -> str:
    """Ten digits of which one is there twice and one is not, and the check digit, found by trying all ten."""
    while True:
        ten = draw.sample(string.digits, 9)
        ten.insert(draw.randrange(9), draw.choice(ten))
        if ten[0] != "0":
            break
    carry = 10
    for digit in map(int, ten):
        carry = ((digit + carry) % 10 or 10) * 2 % 11
    check = next(last for last in range(10) if (last + carry) % 10 == 1)
    return grouped(draw, "".join(ten) + str(check), 2, 3, 3)


def nir(draw: random.Random) -> str:
    department, replaced = draw.choice([("75", "75"), ("2A", "19"), ("2B", "18"), ("99", "99")])
    head, tail = f"{draw.randint(1, 2)}{digits(draw, 2)}{draw.randint(1, 12):02d}", digits(draw, 6)
    key = f"{97 - int(head + replaced + tail) % 97:02d}"
    if draw.random() < 0.5:
        return head + department + tail + key
    return f"{head[0]} {head[1:3]} {head[3:]} {department} {tail[:3]} {tail[3:]} {key}"


def nhs(draw: random.Random) -> str:
    while True:
        nine = digits(draw, 9)
        for last in string.digits:
            if (
                sum((10 - place) * int(digit) for place, digit in enumerate(nine + last)) % 11 == 0
                and len(set(nine)) > 1
            ):
                return grouped(draw, nine + last, 3, 3)


def bsn(draw: random.Random) -> str:
    while True:
        nine = digits(draw, 9)
        total = sum((9 - place) * int(digit) for place, digit in enumerate(nine[:8])) - int(nine[8])
        if total % 11 == 0 and len(set(nine)) > 1:
            return draw.choice([nine, f"{nine[:4]}.{nine[4:6]}.{nine[6:]}", f"{nine[:3]} {nine[3:6]} {nine[6:]}"])


def secret(draw: random.Random) -> str:
    letters = string.ascii_letters + string.digits
    made = "".join(draw.choices(letters, k=36))
    return draw.choice(
        [
            f"ghp_{made}",
            f"sk-proj-{made}",
            f"AKIA{made[:16].upper()}",
            f"AIza{made[:35]}",
            f"glpat-{made[:20]}",
            f"xoxb-{digits(draw, 11)}-{made[:20]}",
            f"hf_{made}",
            f"eyJ{made[:20]}.eyJ{made}.{made[:30]}",
            f"sk_live_{made[:24]}",
            f"npm_{made}",
        ]
    )


def credentials(draw: random.Random) -> str:
    password = "".join(draw.choices(string.ascii_letters + string.digits + "!$%", k=10))
    return f"{draw.choice(['app', 'root', ''])}:{password}"


PERSONAL: Mapping[str, Make] = {
    "e-mail": email,
    "IBAN": iban,
    "card": card,
    "phone": phone,
    "IP address": ip_address,
    "US SSN": ssn,
    "US SSN without separators": lambda draw: re.sub(r"\D", "", ssn(draw)),
    "German tax id": tax_id,
    "French NIR": nir,
    "NHS number": nhs,
    "Dutch BSN": bsn,
    "API key": secret,
    "URL credentials": credentials,
}


def changed(number: str) -> str:
    """The number with another last digit."""
    return number[:-1] + str((int(number[-1]) + 1) % 10)


def invalid_iban(draw: random.Random) -> str:
    number = f"DE{digits(draw, 20)}"
    valid = int("".join(str(int(each, 36)) for each in number[4:] + number[:4])) % 97 == 1
    return changed(number) if valid else number


HARMLESS: Mapping[str, Make] = {
    "date": lambda draw: f"20{digits(draw, 2)}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}",
    "timestamp": lambda draw: f"2024-11-{draw.randint(10, 28)}T{draw.randint(10, 23)}:10:07.{digits(draw, 6)}Z",
    "price": lambda draw: f"{draw.randint(1, 999)},{digits(draw, 3)}.{digits(draw, 2)} EUR",
    "order": lambda draw: f"ORD-2024-{digits(draw, 6)}",
    "version": lambda draw: f"v{draw.randint(0, 20)}.{draw.randint(0, 40)}.{draw.randint(0, 9)}",
    "UUID": lambda draw: "-".join(f"{draw.randrange(16**size):0{size}x}" for size in (8, 4, 4, 4, 12)),
    "SHA-256": lambda draw: f"{draw.randrange(16**64):064x}",
    "coordinates": lambda draw: f"{draw.uniform(40, 60):.7f}, {draw.uniform(0, 20):.7f}",
    "path": lambda draw: f"src/module{draw.randint(1, 9)}/InvoiceLineItemReader{draw.randint(1, 9)}.java",
    "URL": lambda draw: f"https://docs.example:8443/v{draw.randint(1, 9)}/page?id={digits(draw, 5)}",
    "part number": lambda draw: f"AX-{digits(draw, 4)}-{draw.choice('BCD')}",
    "wrong IBAN": invalid_iban,
    "wrong card": lambda draw: changed(card(draw)),
    "7 random digits": lambda draw: f"{draw.randint(1, 9)}{digits(draw, 6)}",
    "9 random digits": lambda draw: f"{draw.randint(1, 9)}{digits(draw, 8)}",
    "10 random digits": lambda draw: f"{draw.randint(1, 9)}{digits(draw, 9)}",
    "11 random digits": lambda draw: f"{draw.randint(1, 9)}{digits(draw, 10)}",
    "13 random digits": lambda draw: f"{draw.randint(1, 9)}{digits(draw, 12)}",
    "16 random digits": lambda draw: f"{draw.randint(1, 9)}{digits(draw, 15)}",
}

SENTENCES = (
    "Please use {} from now on.",
    "Ist {} noch richtig?",
    "Mon numéro : {}.",
    "Het gaat om {}, dank u.",
    "({})",
    "- {}",
    '> On Monday she wrote: "{}"',
    "{}",
    "Ref. {};",
    "| 1 | {} | open |",
    "`{}`",
    "**{}**",
    "<td>{}</td>",
    "客户：{}。",  # noqa: RUF001 - on purpose
    "key={}&x=1",
)


@dataclass(frozen=True)
class Item:
    kind: str
    value: str
    personal: bool


def disguised(draw: random.Random, value: str) -> str:
    """The value in characters that only look like it, or escaped."""
    place = draw.randrange(1, len(value))
    before, letter, after = value[:place], value[place], value[place + 1 :]
    match draw.randrange(6):
        case 0:
            return f"{before}{draw.choice(INVISIBLE)}{letter}{after}"
        case 1:
            return value.translate(FULL_WIDTH)
        case 2:
            return value.replace(" ", "\u00a0").replace("-", "\u2011")
        case 3:
            return f"{before}\\u{ord(letter):04x}{after}"
        case 4:
            return f"{before}&#{ord(letter)};{after}"
        case _:
            return f"{before}%{ord(letter):02x}{after}" if letter.isascii() and letter.isprintable() else value


def document(draw: random.Random, *, disguise: bool = False) -> tuple[str, list[Item]]:
    """A document and what is in it."""
    items = [Item(kind, make(draw), True) for kind, make in draw.choices(list(PERSONAL.items()), k=draw.randint(1, 5))]
    if disguise:
        items = [Item(item.kind, disguised(draw, item.value), True) for item in items]
    items += [
        Item(kind, make(draw), False) for kind, make in draw.choices(list(HARMLESS.items()), k=draw.randint(1, 5))
    ]
    draw.shuffle(items)
    around = {"URL credentials": "postgres://{}@db.internal/x", "US SSN without separators": "SSN {}"}
    shown = [around.get(item.kind, "{}").replace("{}", item.value) for item in items]
    match draw.randrange(4):
        case 0:
            text = json.dumps({"rows": [{"id": place, "value": value} for place, value in enumerate(shown)]})
        case 1:
            text = "".join(f"2024-05-17 10:30:{place:02d} INFO value={value} ok\n" for place, value in enumerate(shown))
        case 2:
            text = "name;value\n" + "".join(f"row {place};{value}\n" for place, value in enumerate(shown))
        case _:
            text = draw.choice(["\n", " "]).join(draw.choice(SENTENCES).replace("{}", value) for value in shown)
    return text, items


def bare(text: str) -> str:
    """The text without separators, invisible characters, escapes and differences of case or width."""
    text = re.sub(r"\\+u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), unquote(html.unescape(text)))
    text = "".join(each for each in unicodedata.normalize("NFKC", text) if unicodedata.category(each) != "Cf")
    return re.sub(r"[\s\-\u2010\u2011./()]", "", text).casefold()


def has_leaked(value: str, left: str) -> bool:
    """Whether more than half of a value, and at least 7 characters of it, stand in what is left."""
    value = bare(value)
    size = min(len(value), max(7, len(value) // 2 + 1))
    return any(value[start : start + size] in left for start in range(len(value) - size + 1))


async def measure(options: argparse.Namespace) -> None:
    draw = random.Random(options.seed)
    redact = Redact.from_settings(Settings())
    total: Counter[str] = Counter()
    masked: Counter[str] = Counter()
    characters, seconds = 0, 0.0
    for _ in range(options.documents):
        text, items = document(draw, disguise=options.disguise)
        asked = Conversation(({"role": "user", "content": text},))
        started = time.process_time()
        sent = await redact.on_request(conversation=asked, models=NO_POOLS)
        seconds += time.process_time() - started
        characters += len(text)
        left = sent.messages[0]["content"] if isinstance(sent, Rewritten) else text
        readable = json.dumps(json.loads(left), ensure_ascii=False) if left.startswith("{") else left
        for item in items:
            total[item.kind] += 1
            found = has_leaked(item.value, bare(readable)) if item.personal else item.value in readable
            masked[item.kind] += not found
            if found and item.personal and options.show:
                print(f"leaked: {item.kind} {item.value!r} in {text!r}")
    speed = f"{characters / seconds / 1000:.0f} thousand characters a second of CPU"
    print(f"{options.documents} documents, seed {options.seed}, {speed}\n")
    print("| personal | in documents | leaked |\n|---|---|---|")
    for kind in PERSONAL:
        print(f"| {kind} | {total[kind]} | {total[kind] - masked[kind]} |")
    print("\n| harmless | in documents | masked |\n|---|---|---|")
    for kind in HARMLESS:
        print(f"| {kind} | {total[kind]} | {masked[kind]} ({masked[kind] / max(1, total[kind]):.1%}) |")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--disguise", action="store_true", help="write identifiers with escapes and lookalikes")
    parser.add_argument("--show", action="store_true", help="print what leaked")


def run(options: argparse.Namespace) -> None:
    asyncio.run(measure(options))
