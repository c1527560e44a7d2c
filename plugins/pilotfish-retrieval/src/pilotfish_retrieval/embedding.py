"""Asks a pool for the vectors of all passages: in shards, so that an interrupted preparation continues.

Vectors of passages that the previous folder has are taken from there, if the pool still returns the same ones.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.errors import BadUpstream, PilotfishError, UpstreamError
from pilotfish.plugin_api.messages import BYTES_PER_TOKEN
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.preparing import Progress, Workspace
from pilotfish_retrieval.config import Config
from pilotfish_retrieval.store import DIGESTS, PassageStore
from pilotfish_retrieval.vectors import Rows, batches, cut

logger = logging.getLogger(__name__)

SHARD = 1024
BATCH = 32
CONCURRENT = 4
PROBES = 4
SAME = 0.995
"""The least cosine of a vector with the earlier one of the same text, if it is of the same model."""
HALVINGS = 4


@dataclass(frozen=True, slots=True)
class Earlier:
    """The vectors of the previous folder, and the place there of each passage here that it has."""

    rows: Rows
    places: dict[int, int]


@dataclass(frozen=True)
class Embedding:
    """The vectors `name` that the pool of `role` returns."""

    name: str
    role: str
    sparse: bool
    config: Config
    into: Workspace
    models: Models
    progress: Progress

    async def run(self) -> int:
        """Write the vectors of all passages as `name`. Returns for how many of them the pool was asked."""
        store = PassageStore.open(self.into.path)
        shards = [range(at, min(at + SHARD, len(store))) for at in range(0, len(store), SHARD)]
        missing = [number for number in range(len(shards)) if not self.into.has(self._shard(number))]
        earlier = await self._earlier(store) if missing else None
        asked = 0
        for number in missing:
            self.progress(shards[number].start, len(store), f"vectors of {self.role}")
            fresh, rows = await self._rows(store, shards[number], earlier)
            asked += fresh
            self.into.write(self._shard(number), rows.to_bytes())
        await self.models.compute(self._join, len(shards))
        return asked

    def clear(self) -> None:
        """Remove the shards, which `run` joined."""
        for path in self.into.path.glob(f"{self.name}-shard-*.npz"):
            path.unlink()

    def _shard(self, number: int) -> str:
        return f"{self.name}-shard-{number:05}.npz"

    def _join(self, count: int) -> None:
        parts = [Rows.from_file(self.into.path / self._shard(number)) for number in range(count)]
        Rows.joined(parts).save(self.into.path, self.name)

    async def _rows(self, store: PassageStore, shard: range, earlier: Earlier | None) -> tuple[int, Rows]:
        known = {place: earlier.places[place] for place in shard if place in earlier.places} if earlier else {}
        fresh = [place for place in shard if place not in known]
        found = await self._embedded([self._text(store, place) for place in fresh])
        parts = [found, earlier.rows.take(list(known.values()))] if found and earlier and known else []
        if not parts:
            parts = [found] if found else [earlier.rows.take(list(known.values()))] if earlier else []
        order = {place: at for at, place in enumerate([*fresh, *known])}
        return len(fresh), Rows.joined(parts).take([order[place] for place in shard])

    def _text(self, store: PassageStore, place: int) -> str:
        return passage_text(store[place].passage.searched, self.config)

    async def _embedded(self, texts: Sequence[str]) -> Rows | None:
        """The vectors of these strings, a few calls at a time. None for no text."""
        if not texts:
            return None
        turns = asyncio.Semaphore(CONCURRENT)

        async def asked(places: Sequence[int]) -> Rows:
            async with turns:
                vectors = await self._vectors([texts[place] for place in places])
            return await self.models.compute(Rows.of, vectors, sparse=self.sparse)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(asked(places)) for places in batches(range(len(texts)), BATCH)]
        except* PilotfishError as failed:
            raise first_of(failed) from None
        return Rows.joined([task.result() for task in tasks])

    async def _vectors(self, texts: Sequence[str], halvings: int = HALVINGS) -> Sequence[Sequence[float]]:
        """One vector for each text. A text that the pool refuses as too long is cut in half, a few times."""
        try:
            vectors = await self.models.embed(self.role, texts)
        except UpstreamError as error:
            if error.http_status != 400 or not halvings:
                raise
            if len(texts) > 1:
                return [(await self._vectors([text], halvings))[0] for text in texts]
            return await self._vectors([texts[0][: len(texts[0]) // 2] or " "], halvings - 1)
        if len(vectors) != len(texts):
            raise BadUpstream(
                f"the pool of role {self.role!r} returned {len(vectors)} vectors for {len(texts)} strings"
            )
        return vectors

    async def _earlier(self, store: PassageStore) -> Earlier | None:
        """What can be taken from the previous folder: nothing if the pool returns other vectors than it has."""
        previous = self.into.previous
        earlier = await self.models.compute(self._read_earlier, previous) if previous else None
        if not earlier or not earlier.places:
            return None
        probed = list(earlier.places)[:: max(1, len(earlier.places) // PROBES)][:PROBES]
        now = await self._embedded([self._text(store, place) for place in probed])
        if now is None or not _same(now, earlier.rows.take([earlier.places[place] for place in probed])):
            logger.info(
                "the pool of role %s returns other vectors than before: all passages are asked again", self.role
            )
            return None
        return earlier

    def _read_earlier(self, previous: Path) -> Earlier | None:
        try:
            rows, before = Rows.open(previous, self.name), np.load(previous / DIGESTS)
        except (OSError, EOFError, ValueError):
            return None
        at = {digest.tobytes(): place for place, digest in enumerate(before)}
        now: NDArray[np.uint8] = np.load(self.into.path / DIGESTS)
        found = ((place, at.get(digest.tobytes())) for place, digest in enumerate(now))
        return Earlier(rows, {place: there for place, there in found if there is not None and there < len(rows)})


def passage_text(searched: str, config: Config) -> str:
    """What a pool embeds of a passage."""
    return cut(config.passage_prefix + searched, config.embedded_tokens, BYTES_PER_TOKEN) or " "


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group of them."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


def _same(now: Rows, before: Rows) -> bool:
    if now.width != before.width or (now.indices is None) != (before.indices is None):
        return False
    for place in range(len(now)):
        one, other = _expanded(now, place), _expanded(before, place)
        product = float(np.linalg.norm(one) * np.linalg.norm(other))
        if product and float(one @ other) / product < SAME:
            return False
    return True


def _expanded(rows: Rows, place: int) -> NDArray[np.float32]:
    row = rows.take([place])
    if row.indices is None:
        return row.values
    whole = np.zeros(rows.width, np.float32)
    whole[row.indices] = row.values
    return whole
