r"""A text as recognisers read it: plain ASCII where characters only look different, without invisible ones.

Escapes of JSON (`\u0040`), URLs (`%40`) and HTML (`&#64;`) are decoded. Every character knows where it was written.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

ESCAPE = re.compile(
    r"\\+(?:u(?P<unicode>[0-9a-fA-F]{4})|x(?P<byte>[0-9a-fA-F]{2})|(?P<space>[bfnrt])|(?P<self>[/\"']))"
    r"|%(?P<percent>[2-7][0-9a-fA-F])"
    r"|(?P<entity>&(?:#[0-9]{2,7}|#[xX][0-9a-fA-F]{2,6}|[a-zA-Z]{2,10});)"
)
PLAIN = re.compile(r"[\t\n\r\x20-\x7e]*")
LOOKALIKES = dict(
    zip(
        "АВЕЅІЈКМНОРСТУХаеіјорсухѕԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοιν",  # noqa: RUF001 - Cyrillic and Greek letters
        "ABESIJKMHOPCTYXaeijopcyxsdqwABEZHIKMNOPTYXoiv",
        strict=True,
    )
)
FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters that are not visible."""


@dataclass(frozen=True, slots=True)
class View:
    """What recognisers read. `starts` and `ends` are the places in the original of each character; None: the same."""

    text: str
    starts: tuple[int, ...] | None = None
    ends: tuple[int, ...] | None = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that a span, not empty, of the view stands for."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def view_of(text: str) -> View:
    """The view of a text."""
    if PLAIN.fullmatch(text) and not ESCAPE.search(text):
        return View(text)
    shown = [(seen, start, end) for letter, start, end in _units(text) for seen in _seen(letter)]
    return View(
        "".join(seen for seen, _, _ in shown),
        tuple(start for _, start, _ in shown),
        tuple(end for _, _, end in shown),
    )


def _units(text: str) -> Iterator[tuple[str, int, int]]:
    """The characters of the text with their spans, escapes decoded."""
    place = 0
    for escape in ESCAPE.finditer(text):
        yield from ((text[at], at, at + 1) for at in range(place, escape.start()))
        yield _decoded(escape), escape.start(), escape.end()
        place = escape.end()
    yield from ((text[at], at, at + 1) for at in range(place, len(text)))


def _decoded(escape: re.Match[str]) -> str:
    if code := escape["unicode"] or escape["byte"] or escape["percent"]:
        return chr(int(code, 16))
    if escape["entity"]:
        return html.unescape(escape["entity"])
    return " " if escape["space"] else escape["self"]


def _seen(letter: str) -> str:
    """What a character looks like, empty for an invisible one."""
    if letter.isascii():
        return "" if unicodedata.category(letter[0]) == "Cc" and letter not in "\t\n\r" else letter
    if letter in LOOKALIKES:
        return LOOKALIKES[letter]
    if letter in FILLERS:
        return ""
    return "".join(map(_plain, unicodedata.normalize("NFKC", letter)))


def _plain(letter: str) -> str:
    match unicodedata.category(letter):
        case "Nd":
            return str(unicodedata.decimal(letter))
        case "Zs" | "Zl" | "Zp":
            return " "
        case "Pd":
            return "-"
        case "Cf" | "Cc" | "Mn" | "Me":
            return ""
    return {"−": "-", "∶": ":", "。": "."}.get(letter, letter)  # noqa: RUF001 - they look like ASCII
