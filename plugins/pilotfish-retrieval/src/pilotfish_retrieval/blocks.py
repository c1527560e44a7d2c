"""What a reader makes of a document: its text, and where its parts begin and end."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a block is. Prose may be cut between sentences; code and tables only between lines."""

    PROSE = "prose"
    CODE = "code"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a document's text, from character `start` to `end`, below `headings` (outermost first).

    `header` is the number of characters at the start of a table that belong to each of its parts.
    """

    kind: Kind
    start: int
    end: int
    headings: tuple[str, ...] = ()
    header: int = 0


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a document, and its blocks in order."""

    text: str
    blocks: Sequence[Block]


class Unreadable(Exception):
    """A document cannot be read. The message has the reason."""


class TextBuilder:
    """Builds the text of a document whose format is not text, and its blocks."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self.blocks: list[Block] = []

    def add(self, kind: Kind, text: str, headings: tuple[str, ...], header: int = 0) -> None:
        """Append a block, and an empty line after it. Text of white space alone is left out."""
        if not text.strip():
            return
        self.blocks.append(Block(kind, self._length, self._length + len(text), headings, header))
        self._parts += [text, "\n\n"]
        self._length += len(text) + 2

    def add_table(self, rows: Sequence[Sequence[str]], headings: tuple[str, ...]) -> None:
        """Append a table as Markdown writes it. The first row names the columns."""
        lines = [
            "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |" for row in rows if row
        ]
        if lines:
            header = lines[0] + "\n|" + " --- |" * max(map(len, rows)) + "\n"
            self.add(Kind.TABLE, header + "\n".join(lines[1:]), headings, len(header))

    def built(self) -> Extracted:
        """The document."""
        return Extracted("".join(self._parts), self.blocks)


class Headings:
    """The path of the headings at a place in a document."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> None:
        """A heading of this level ends those of the same and of deeper levels."""
        self._open = [each for each in self._open if each[0] < level]
        self._open.append((level, " ".join(title.split())[:LONGEST_HEADING]))

    @property
    def path(self) -> tuple[str, ...]:
        """The headings, outermost first."""
        return tuple(title for _, title in self._open if title)


LONGEST_HEADING = 120
"""Characters kept of a heading."""
