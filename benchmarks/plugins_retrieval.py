"""Retrieval: which mode finds the right documents, how long an index takes, and what a search costs.

    .venv/bin/python benchmarks/plugins.py retrieval --data DIR --embedder WEIGHTS --sparse-embedder WEIGHTS
    .venv/bin/python benchmarks/plugins.py retrieval --generated 100000

DIR has `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels/test.tsv` (query, document,
grade), as the sets of BEIR do. Weights are folders that transformers reads; without them the modes that need them are
left out. No engine is started: transformers computes the vectors, a few documents at a time, on the CPU.
"""

import argparse
import asyncio
import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pilotfish.plugin_api.preparing import Document
from pilotfish.plugin_api.settings import Settings
from pilotfish_retrieval import Retrieval
from pilotfish_retrieval.config import EMBEDDER, SPARSE_EMBEDDER, Config, SearchMode
from pilotfish_retrieval.index import Index

DESCRIPTION = __doc__
RANKED = 10
BATCH = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="a folder in the layout of BEIR")
    parser.add_argument("--embedder", type=Path, help="weights of a sentence embedding model")
    parser.add_argument("--sparse-embedder", type=Path, help="weights of a SPLADE model")
    parser.add_argument("--cache", type=Path, help="a folder in which vectors are kept for the next run")
    parser.add_argument("--passage-tokens", type=int, default=250)
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--generated", type=int, help="measure speed with this many generated passages")


def run(options: argparse.Namespace) -> None:
    if options.data:
        asyncio.run(quality(options))
    if options.generated:
        asyncio.run(speed(options.generated))


@dataclass
class Workplace:
    """`Documents`, `Workspace` and `Models` of one preparation."""

    path: Path
    documents: dict[str, bytes] = field(default_factory=dict)
    embedders: dict[str, Callable[[Sequence[str]], Any]] = field(default_factory=dict)
    previous: Path | None = None
    asked: int = 0

    def __len__(self) -> int:
        return len(self.documents)

    def __iter__(self) -> Iterator[Document]:
        for path, content in sorted(self.documents.items()):
            yield Document("corpus", path, hashlib.sha256(content).hexdigest(), len(content))

    def read(self, document: Document) -> bytes:
        return self.documents[document.path]

    def write(self, name: str, content: bytes) -> None:
        (self.path / name).write_bytes(content)

    def has(self, name: str) -> bool:
        return name in self.embedders or (self.path / name).exists()

    async def embed(self, role: str, texts: Sequence[str]) -> Any:
        self.asked += len(texts)
        return await asyncio.to_thread(self.embedders[role], texts)

    async def compute(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return await asyncio.to_thread(function, *arguments, **named)

    async def prepare(self, config: Config) -> float:
        """The seconds that a preparation took."""
        plugin = Retrieval.from_settings(Settings(config.model_dump(by_alias=True, mode="json", exclude_none=True)))
        started = time.perf_counter()
        quiet: Any = lambda done, total, message: None  # noqa: E731
        await plugin.prepare(documents=self, into=self, models=self, progress=quiet)  # type: ignore[arg-type]
        return time.perf_counter() - started


class Cached:
    """Vectors of strings from a function that is asked for a few at a time, kept in `folder` if there is one."""

    def __init__(self, function: Callable[[Sequence[str]], Any], folder: Path | None, name: str) -> None:
        self._function = function
        self._file = folder / f"{name}.npz" if folder else None
        self._known: dict[str, Any] = dict(np.load(self._file)) if self._file and self._file.exists() else {}
        self._lock = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> Any:
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        with self._lock:
            missing = sorted((text for key, text in zip(keys, texts, strict=True) if key not in self._known), key=len)
            for at in range(0, len(missing), BATCH):
                batch = missing[at : at + BATCH]
                rows = np.asarray(self._function(batch), np.float32)
                self._known |= {
                    hashlib.sha256(text.encode()).hexdigest(): row for text, row in zip(batch, rows, strict=True)
                }
        return [self._known[key] for key in keys]

    def save(self) -> None:
        if self._file:
            np.savez_compressed(self._file, **self._known)


def embedder(folder: Path) -> Callable[[Sequence[str]], Any]:
    """Mean of the last layer's vectors, as sentence-transformers computes it."""
    import torch  # noqa: PLC0415
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def embed(texts: Sequence[str]) -> Any:
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
        hidden = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        return ((hidden * mask).sum(1) / mask.sum(1)).tolist()

    return embed


def sparse_embedder(folder: Path) -> Callable[[Sequence[str]], Any]:
    """SPLADE: the maximum over the text of log(1 + relu(logit)), for each term of the vocabulary."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForMaskedLM, AutoTokenizer  # noqa: PLC0415

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder).eval()

    @torch.inference_mode()
    def embed(texts: Sequence[str]) -> Any:
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=512, return_tensors="pt")
        weights = torch.log1p(torch.relu(model(**tokens).logits)) * tokens["attention_mask"].unsqueeze(-1)
        return weights.max(dim=1).values.numpy()

    return embed


async def quality(options: argparse.Namespace) -> None:
    lines = (options.data / "corpus.jsonl").read_text().splitlines()
    documents = {}
    for each in map(json.loads, lines):
        title = each.get("title") or ""
        documents[f"{each['_id']}.md"] = (f"# {title}\n\n" if title else "").encode() + each["text"].encode()
    queries = {each["_id"]: each["text"] for each in map(json.loads, (options.data / "queries.jsonl").open())}
    judged: dict[str, dict[str, int]] = {}
    for line in (options.data / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        judged.setdefault(query, {})[document] = int(grade)
    embedders = {}
    if options.embedder:
        embedders[EMBEDDER] = Cached(embedder(options.embedder), options.cache, "dense")
    if options.sparse_embedder:
        embedders[SPARSE_EMBEDDER] = Cached(sparse_embedder(options.sparse_embedder), options.cache, "sparse")
    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder), documents, embedders)
        config = Config(
            mode=SearchMode.HYBRID, passage_tokens=options.passage_tokens, candidates=options.candidates,
            embedded_tokens=100_000,
        )  # fmt: skip
        seconds = await place.prepare(config)
        print(f"{len(documents)} documents, {place.asked} passages embedded, prepared in {seconds:.0f} s")
        asked = {query: queries[query] for query in judged if any(grade > 0 for grade in judged[query].values())}
        vectors = {
            role: dict(zip(asked, await place.embed(role, list(asked.values())), strict=True)) for role in embedders
        }
        for cached in embedders.values():
            cached.save()
        print(f"\n| mode | nDCG@{RANKED} | questions with nothing added | added documents judged relevant |")
        print("|---|---|---|---|")
        for name, mode, roles in searches(tuple(embedders)):
            index = Index.open(Path(folder), config.model_copy(update={"mode": mode}))
            found = {
                query: index.search(text, {role: vectors[role][query] for role in roles})
                for query, text in asked.items()
            }
            report(name, found, judged)


def searches(roles: tuple[str, ...]) -> Iterator[tuple[str, SearchMode, tuple[str, ...]]]:
    yield "bm25", SearchMode.BM25, ()
    for role, mode in ((EMBEDDER, SearchMode.DENSE), (SPARSE_EMBEDDER, SearchMode.SPARSE)):
        if role in roles:
            yield mode.value, mode, (role,)
            yield f"hybrid (bm25, {mode.value})", SearchMode.HYBRID, (role,)
    if len(roles) == 2:
        yield "hybrid (bm25, dense, sparse)", SearchMode.HYBRID, roles


def report(name: str, found: dict[str, Any], judged: dict[str, dict[str, int]]) -> None:
    scores, empty, kept = [], 0, []
    for query, candidates in found.items():
        grades = judged[query]
        ranking = list(dict.fromkeys(each.stored.path.removesuffix(".md") for each in candidates))
        scores.append(ndcg([grades.get(document, 0) for document in ranking], list(grades.values())))
        relevant = [each for each in candidates if each.relevant][:4]
        empty += not relevant
        kept += [grades.get(each.stored.path.removesuffix(".md"), 0) > 0 for each in relevant]
    print(f"| {name} | {np.mean(scores):.3f} | {empty} of {len(found)} | {np.mean(kept or [0]):.2f} |")


def ndcg(grades: Sequence[int], all_grades: Sequence[int]) -> float:
    """nDCG of the first ten, with the grade as the gain."""
    best = sorted(all_grades, reverse=True)[:RANKED]
    discount = 1 / np.log2(np.arange(2, RANKED + 2))
    return float(np.dot(grades[:RANKED], discount[: len(grades[:RANKED])]) / np.dot(best, discount[: len(best)]))


async def speed(count: int) -> None:
    """Words are drawn by Zipf's law, vectors from 1,000 clusters: what they mean does not matter to the time."""
    random = np.random.default_rng(0)
    vocabulary = np.array([f"word{number}" for number in range(60_000)])
    share = 1 / np.arange(1, len(vocabulary) + 1)
    cumulated = np.cumsum(share / share.sum())
    centers = random.normal(size=(1000, 384))

    def text(words: int) -> str:
        return " ".join(vocabulary[np.searchsorted(cumulated, random.random(words))])

    def dense(texts: Sequence[str]) -> Any:
        return centers[random.integers(0, 1000, len(texts))] + 0.7 * random.normal(size=(len(texts), 384))

    per_file = 1000
    documents = {
        f"{number:05}.md": "\n".join(f"# {place}\n\n{text(80)}\n" for place in range(per_file)).encode()
        for number in range(count // per_file)
    }
    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder), documents, {EMBEDDER: dense})
        config = Config(mode=SearchMode.HYBRID, passage_tokens=1000)
        seconds = await place.prepare(config)
        started = time.perf_counter()
        index = Index.open(Path(folder), config)
        opened = time.perf_counter() - started
        print(f"{len(index.store)} passages of 80 words: prepared in {seconds:.0f} s, opened in {1000 * opened:.0f} ms")
        questions = [(text(12), row) for row in dense([""] * 100)]
        print("\n| mode | CPU of a search, median | 95th percentile |\n|---|---|---|")
        for mode in (SearchMode.BM25, SearchMode.DENSE, SearchMode.HYBRID):
            searched = Index.open(Path(folder), config.model_copy(update={"mode": mode}))
            times = []
            for question, row in questions:
                vectors = {} if mode is SearchMode.BM25 else {EMBEDDER: row}
                before = time.process_time()
                searched.search(question, vectors)
                times.append(1000 * (time.process_time() - before))
            times = sorted(times[10:])
            print(f"| {mode.value} | {np.median(times):.1f} ms | {times[int(0.95 * len(times))]:.1f} ms |")
