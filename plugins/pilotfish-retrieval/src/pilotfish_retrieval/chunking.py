"""Passages: parts of a document that are found, shown and cited as a whole.

A passage never crosses a heading. It is cut where the document has a boundary: between blocks, between sentences of
long prose, between lines of long code, between rows of long tables. Every part of a table repeats its header.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.plugin_api.messages import BYTES_PER_TOKEN, estimate_tokens
from pilotfish_retrieval.blocks import Block, Extracted, Kind

SENTENCE = re.compile(r"\S.*?(?:[.!?…]['\")\]]*(?=\s)|[\u3002\uff01\uff1f]|\n|\Z)", re.DOTALL)
LINE = re.compile(r"[^\n]+")
UNCUT = 3
"""Code and tables stay whole up to this multiple of a passage's size."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage: characters `start` to `end` of the document's text, below `headings`.

    `text` is these characters, after the header of the table that they continue.
    """

    start: int
    end: int
    headings: tuple[str, ...]
    text: str

    @property
    def searched(self) -> str:
        """What is indexed: the path of headings, and the text."""
        return " > ".join(self.headings) + "\n" + self.text if self.headings else self.text


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    end: int
    tokens: int
    headings: tuple[str, ...]
    header: str = ""


def passages(document: Extracted, max_tokens: int) -> Iterator[Passage]:
    """The passages of a document, in order. No passage of prose has more tokens than `max_tokens`."""
    text, open_pieces, tokens = document.text, list[_Piece](), 0
    for block in document.blocks:
        for piece in _pieces(text, block, max_tokens):
            if open_pieces and (tokens + piece.tokens >= max_tokens or not _continues(text, open_pieces[-1], piece)):
                yield _passage(text, open_pieces)
                open_pieces, tokens = [], 0
            open_pieces.append(piece)
            tokens += piece.tokens + 1
    if open_pieces:
        yield _passage(text, open_pieces)


def _continues(text: str, before: _Piece, piece: _Piece) -> bool:
    return before.headings == piece.headings and not piece.header and not text[before.end : piece.start].strip()


def _passage(text: str, pieces: list[_Piece]) -> Passage:
    first, last = pieces[0], pieces[-1]
    return Passage(first.start, last.end, first.headings, first.header + text[first.start : last.end])


def _pieces(text: str, block: Block, max_tokens: int) -> Iterator[_Piece]:
    whole = estimate_tokens(text[block.start : block.end])
    if whole <= max_tokens * (1 if block.kind is Kind.PROSE else UNCUT):
        yield _Piece(block.start, block.end, whole, block.headings)
        return
    header = text[block.start : block.start + block.header]
    kept = header if estimate_tokens(header) * 2 < max_tokens else ""
    room = max_tokens - estimate_tokens(kept)
    for number, (start, end) in enumerate(_packed(_parts(text, block, room), text, room)):
        yield _Piece(start, end, estimate_tokens(text[start:end]), block.headings, kept if number else "")


def _parts(text: str, block: Block, max_tokens: int) -> Iterator[tuple[int, int]]:
    """The sentences of prose, the lines of anything else. Longer ones are cut between words."""
    pattern = SENTENCE if block.kind is Kind.PROSE else LINE
    for found in pattern.finditer(text, block.start, block.end):
        start, end = found.span()
        if estimate_tokens(text[start:end]) <= max_tokens:
            yield start, end
        else:
            yield from _words(text, start, end, max_tokens)


def _words(text: str, start: int, end: int, max_tokens: int) -> Iterator[tuple[int, int]]:
    """Parts of at most `max_tokens`, which end before white space where there is some."""
    longest = max(1, max_tokens * BYTES_PER_TOKEN // 4)
    while end - start > longest:
        space = max(text.rfind(mark, start + 1, start + longest) for mark in " \t\n")
        cut = space if space > start else start + longest
        yield start, cut
        start = cut
    yield start, end


def _packed(parts: Iterator[tuple[int, int]], text: str, max_tokens: int) -> Iterator[tuple[int, int]]:
    """Neighbouring parts together, as long as they fit."""
    start, end, tokens = -1, -1, 0
    for part_start, part_end in parts:
        size = estimate_tokens(text[part_start:part_end]) + 1
        if start >= 0 and tokens + size > max_tokens:
            yield start, end
            start, tokens = -1, 0
        start, end, tokens = (part_start if start < 0 else start), part_end, tokens + size
    if start >= 0:
        yield start, end
