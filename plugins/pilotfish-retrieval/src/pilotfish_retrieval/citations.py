"""Which of the passages an answer cites."""

import re

from pilotfish.plugin_api.adaptations import Release

CITED = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
LONGEST_CITATION = 64


class CitationCheck:
    """Observes an answer: which numbers it cites, and which of these no passage has."""

    def __init__(self, passages: int) -> None:
        self._passages = passages
        self._rest = ""
        self._cited: set[int] = set()

    async def push(self, text: str) -> Release:
        """Releases the text unchanged."""
        self._rest += text
        after = 0
        for found in CITED.finditer(self._rest):
            self._cited |= {int(number) for number in re.findall(r"\d+", found.group(1))}
            after = found.end()
        self._rest = self._rest[after:][-LONGEST_CITATION:]
        return Release(text)

    async def end(self, finish_reason: str | None) -> Release:
        """Notes the numbers."""
        known = sorted(number for number in self._cited if 1 <= number <= self._passages)
        notes = {"cited": known, "citedUnknown": sorted(self._cited - set(known))}
        return Release("", notes)
