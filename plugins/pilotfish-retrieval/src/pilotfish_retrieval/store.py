"""The passages of the prepared folder: written once, read at any place without reading the others."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.plugin_api.preparing import Workspace
from pilotfish_retrieval.chunking import Passage

LINES, OFFSETS, DIGESTS, SUMMARY = "passages.jsonl", "offsets.npy", "digests.npy", "summary.json"
DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Stored:
    """A passage and its document: the name of the source, and the path there."""

    source: str
    path: str
    passage: Passage


def to_bytes(array: NDArray[Any]) -> bytes:
    """The array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def write_passages(into: Workspace, stored: Sequence[Stored], summary: Mapping[str, Any]) -> None:
    """Write the passages in their order, and what is reported about them. `summary` is the last file."""
    lines = [_line(each) for each in stored]
    into.write(LINES, b"".join(lines))
    into.write(OFFSETS, to_bytes(np.cumsum([0, *map(len, lines)], dtype=np.int64)))
    into.write(DIGESTS, to_bytes(_digests(stored)))
    into.write(SUMMARY, json.dumps(summary).encode())


def _line(stored: Stored) -> bytes:
    passage = stored.passage
    fields = [stored.source, stored.path, passage.headings, passage.start, passage.end, passage.text]
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _digests(stored: Sequence[Stored]) -> NDArray[np.uint8]:
    """The digest [n, DIGEST_BYTES] of what is indexed of each passage."""
    texts = (each.passage.searched.encode("utf-8", "backslashreplace") for each in stored)
    joined = b"".join(hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest() for text in texts)
    return np.frombuffer(joined, np.uint8).reshape(len(stored), DIGEST_BYTES)


class PassageStore:
    """The passages of a folder, read through a memory map."""

    def __init__(self, lines: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._lines = lines
        self._offsets = offsets

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises OSError, EOFError or ValueError for a folder that is not complete."""
        return cls(np.memmap(folder / LINES, np.uint8, "r"), np.load(folder / OFFSETS, mmap_mode="r"))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, place: int) -> Stored:
        line = bytes(self._lines[self._offsets[place] : self._offsets[place + 1]])
        source, path, headings, start, end, text = json.loads(line)
        return Stored(source, path, Passage(start, end, tuple(headings), text))
