"""Sentences: cuts an answer, while it arrives, into the parts that an adaptation judges or rewrites one at a time.

The sentences joined are the text. How the text was cut into pushes does not change them.
"""

import re
from dataclasses import dataclass

LONGEST_SENTENCE = 2000
"""Characters after which a sentence is cut, at white space where there is any."""

LOOKAHEAD = 8
"""Characters after a possible end that decide whether it is one. The longest is a heading's `###### x`."""

_POSSIBLE_END = re.compile(r"[.!?…。\uff01\uff1f\n]")
_END = re.compile(
    r"""(?<![.!?…])(?P<mark>[.!?…]++)(?P<closing>["'”\u2019»)\]*_`]*+)(?P<space>\s++)(?=\S)
    | (?P<wide>[。\uff01\uff1f]["'”\u2019»」』\uff09]*+)\s*+(?=\S)  # no white space is written after these
    | (?P<line>\n\s*+)(?=\S)
    """,
    re.VERBOSE,
)
_BLOCK = re.compile(r"[-*+•]\s|\d{1,3}[.)]\s|\#{1,6}\s|[>|]|```|~~~")
_WHOLE_LINE = re.compile(r"\#{1,6}\s|\|")
_FENCE = re.compile(r"\s*(?P<fence>`{3,}(?=[^`\n]*(?:\n|\Z))|~{3,})")
_LIST_NUMBER = re.compile(r"(?:^|\n)[ \t>*+#-]*\d{1,3}$")
_LAST_WORD = re.compile(r"[\w.]*$")
_INITIAL = re.compile(r"(?:^|\.)[^\W\d_]$")
_ABBREVIATION = re.compile(
    r"""al|approx|apt|ave|ca|cf|ch|col|corp|dept|dr|e\.g|eds?|eq|est|etc|figs?|gen|gov|i\.e|inc|jr|lt|ltd|messrs|mrs?|ms|mt
    |nos?|op|pp?|prof|rep|rev|sec|sen|sgt|sr|st|v|viz|vols?|vs""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with the white space that follows it, or, with `code`, a line of a fenced code block."""

    text: str
    code: bool = False


class SentenceSplitter:
    """The sentences of one text.

    A heading, a list item, a table row and each line of a fenced code block stand alone. Abbreviations, initials,
    decimals and the numbers of lists end no sentence, and a full stop before a small letter ends none.
    """

    def __init__(self, longest: int = LONGEST_SENTENCE) -> None:
        self._longest = longest
        self._held = ""
        self._fence = ""
        self._at_line_start = True

    def push(self, text: str) -> list[Sentence]:
        """Take the next text. Returns the sentences that are now complete."""
        self._held += text
        return self._complete(final=False)

    def end(self) -> list[Sentence]:
        """The rest."""
        return self._complete(final=True)

    @property
    def held(self) -> str:
        """What has been pushed and not yet returned."""
        return self._held

    def _complete(self, *, final: bool) -> list[Sentence]:
        found = []
        while self._held and (first := self._first(final=final)):
            self._held = self._held[len(first.text) :]
            self._at_line_start = "\n" in first.text[len(first.text.rstrip()) :]
            found.append(first)
        return found

    def _first(self, *, final: bool) -> Sentence | None:
        """The first sentence of what is held, None if it is not complete."""
        start = len(self._held) - len(self._held.lstrip())
        may_open = not self._fence and self._at_line_start
        if may_open and not final and len(self._held) < start + 3 <= self._longest:
            return None
        opened = _FENCE.match(self._held[: self._longest]) if may_open else None
        code = bool(self._fence or opened)
        size = self._held.find("\n", start if opened else 0) + 1 if code else self._prose_size(start, final=final)
        if not 0 < size <= self._longest:
            if len(self._held) >= self._longest + LOOKAHEAD or (final and len(self._held) > self._longest):
                size = self._cut()
            elif final:
                size = len(self._held)
            else:
                return None
        sentence = Sentence(self._held[:size], code)
        if opened:
            self._fence = opened["fence"]
        elif self._fence and self._at_line_start and self._closes(sentence.text.strip()):
            self._fence = ""
        return sentence

    def _closes(self, line: str) -> bool:
        return line.startswith(self._fence) and not line.strip(self._fence[0])

    def _prose_size(self, start: int, *, final: bool) -> int:
        """The size up to the first end of a sentence. 0: there is none yet."""
        size = len(self._held.rstrip())
        for possible in _POSSIBLE_END.finditer(self._held, start, size):
            end = _END.match(self._held, possible.start())
            if not end:
                continue
            at = end.end()
            if not final and len(self._held) < at + LOOKAHEAD:
                return 0
            if self._ends_at(end):
                return at
        return 0

    def _ends_at(self, end: re.Match[str]) -> bool:
        following = self._held[end.end() : end.end() + LOOKAHEAD]
        space = end["space"] or end["line"] or ""
        if space.count("\n") > 1 or ("\n" in space and _BLOCK.match(following)):
            return True
        if self._is_whole_line(end.start()):
            return "\n" in space
        return bool(end["wide"]) or (bool(end["mark"]) and self._is_full_stop(end, following))

    def _is_full_stop(self, end: re.Match[str], following: str) -> bool:
        before = self._held[: end.start()]
        if end["mark"] != ".":
            return not (following[0].islower() and (end["closing"] or end["mark"][0] in ".…"))
        if before[-1:].isspace():
            return True
        last = _LAST_WORD.search(before[-20:])
        word = last.group() if last else ""
        is_abbreviation = _ABBREVIATION.fullmatch(word) or _INITIAL.search(word)
        return not (following[0].islower() or is_abbreviation or _LIST_NUMBER.search(before))

    def _is_whole_line(self, end: int) -> bool:
        """Whether the line that ends here is a heading or a table row."""
        return bool(_WHOLE_LINE.match(self._held[:end].rpartition("\n")[2].lstrip()))

    def _cut(self) -> int:
        """Where an overlong sentence is cut."""
        size = self._longest
        while size > self._longest // 2 and not self._held[size - 1].isspace():
            size -= 1
        return size if self._held[size - 1].isspace() else self._longest
