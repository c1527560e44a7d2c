"""Makes the prepared folder: passages of all documents, and the indexes of the mode.

Each step is skipped if an interrupted attempt has completed it.
"""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.preparing import Document, Documents, Prepared, Progress, Workspace
from pilotfish_retrieval.blocks import Unreadable
from pilotfish_retrieval.chunking import Passage, passages
from pilotfish_retrieval.config import EMBEDDER, Config
from pilotfish_retrieval.dense import NAME as DENSE
from pilotfish_retrieval.dense import DenseIndex
from pilotfish_retrieval.embedding import Embedding
from pilotfish_retrieval.lexical import LexicalIndex
from pilotfish_retrieval.readers import read
from pilotfish_retrieval.sparse import NAME as SPARSE
from pilotfish_retrieval.sparse import SparseIndex
from pilotfish_retrieval.store import SUMMARY, PassageStore, Stored, write_passages

logger = logging.getLogger(__name__)

LEXICAL_COMPLETE = "bm25-complete"


@dataclass(frozen=True)
class Preparation:
    """One attempt to make the folder `into`."""

    config: Config
    documents: Documents
    into: Workspace
    models: Models
    progress: Progress

    async def run(self) -> Prepared:
        """Make the folder. Raises ConfigError if no document has text, or a pool that the mode needs is missing."""
        self._check_pools()
        if not self.into.has(SUMMARY):
            await self._collect()
        summary = json.loads((self.into.path / SUMMARY).read_bytes())
        if self.config.mode.is_lexical and not self.into.has(LEXICAL_COMPLETE):
            self.progress(0, 1, "index of words")
            await self.models.compute(self._build_lexical)
            self.into.write(LEXICAL_COMPLETE, b"")
        for role in self.config.mode.roles:
            if self.models.has(role):
                summary |= await self._embed(role)
        return Prepared(summary.pop("documents"), summary)

    def _check_pools(self) -> None:
        needed = self.config.mode.needed_role
        if needed and not self.models.has(needed):
            raise ConfigError("poolRefs", f"the mode {self.config.mode.value} needs a pool with the role {needed!r}")

    async def _embed(self, role: str) -> dict[str, int]:
        """Make the index of the role's vectors. Returns how many passages its pool was asked for."""
        name, build = (DENSE, DenseIndex.build) if role == EMBEDDER else (SPARSE, SparseIndex.build)
        embedding = Embedding(name, role, name == SPARSE, self.config, self.into, self.models, self.progress)
        complete, asked = f"{name}-complete", 0
        if not self.into.has(complete):
            asked = await embedding.run()
            await self.models.compute(build, self.into.path)
            self.into.write(complete, b"")
        embedding.clear()
        return {f"{name}Embedded": asked}

    async def _collect(self) -> None:
        collected = _Collected()
        total = len(self.documents)
        for number, document in enumerate(self.documents):
            self.progress(number, total, "read documents")
            try:
                found = await self.models.compute(self._passages_of, document)
            except Unreadable as error:
                collected.skip(document, str(error))
                continue
            collected.add(document, found)
        self.progress(total, total, "read documents")
        if not collected.stored:
            reason = collected.skipped[0] if collected.skipped else "there are none"
            raise ConfigError("sources", f"no document can be used: {reason}")
        await self.models.compute(write_passages, self.into, collected.stored, collected.summary)

    def _passages_of(self, document: Document) -> list[Passage]:
        extracted = read(document.path, self.documents.read(document), self.config)
        found = list(passages(extracted, self.config.passage_tokens))
        if not found:
            raise Unreadable("it has no text")
        return found

    def _build_lexical(self) -> None:
        store = PassageStore.open(self.into.path)
        texts = (store[place].passage.searched for place in range(len(store)))
        LexicalIndex.build(texts, self.config.language, self.into.path)


@dataclass
class _Collected:
    """The passages of the documents that could be read, and why others could not."""

    stored: list[Stored] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    documents: int = 0

    def add(self, document: Document, found: list[Passage]) -> None:
        self.documents += 1
        self.stored += [Stored(document.source, document.path, passage) for passage in found]

    def skip(self, document: Document, reason: str) -> None:
        self.skipped.append(f"{document.source}/{document.path}: {reason}")
        logger.warning("skipped a document: %s", self.skipped[-1])

    @property
    def summary(self) -> dict[str, Any]:
        counts = {"documents": self.documents, "passages": len(self.stored), "skipped": len(self.skipped)}
        return {**counts, **({"firstSkipped": self.skipped[0]} if self.skipped else {})}
