"""Searches with pools: vectors, their reuse, reranking, and pools that fail, hang or return other things."""

import asyncio
import hashlib

import numpy as np
import pytest

from pilotfish.base.errors import BadUpstream, ConfigError, ModelUnavailable, UpstreamError
from pilotfish.plugin_api.adaptations import Conversation
from pilotfish.testing.models import FailingModels, StandInModels
from pilotfish_retrieval.dense import DenseIndex
from pilotfish_retrieval.vectors import Rows

PAGES = {
    "cat.md": "# Animals\n\nThe feline sleeps on the sofa.\n",
    "car.md": "# Vehicles\n\nThe automobile needs new tyres.\n",
    "tea.md": "# Drinks\n\nGreen leaves are steeped in hot water.\n",
}
MEANINGS = [{"cat", "feline", "pet"}, {"car", "automobile", "vehicle", "tyres"}, {"tea", "leaves", "steeped", "drink"}]
ALL = frozenset({"embedder", "sparse-embedder", "reranker"})


def meaning(text):
    words = {word.strip(".?,#").lower() for word in text.split()}
    return [float(len(words & each)) for each in MEANINGS]


def pools(*roles, **fields):
    return StandInModels(**{"vector": meaning, "missing": ALL - set(roles), **fields})


def asked(text):
    return Conversation(({"role": "user", "content": text},))


async def paths(plugin, text, models):
    found = await plugin.on_request(conversation=asked(text), models=models)
    return [each["path"] for each in found.notes["citations"]]


@pytest.mark.parametrize(("mode", "role"), [("dense", "embedder"), ("sparse", "sparse-embedder")])
async def test_vectors_find_what_shares_no_word_with_the_question(prepare, tmp_path, mode, role):
    models = pools(role)
    plugin, done = await prepare(PAGES, tmp_path / "a", {"mode": mode}, models)
    assert done.details[f"{mode}Embedded"] == 3
    assert await paths(plugin, "Where is my pet?", models) == ["cat.md"]
    assert await paths(plugin, "Is the vehicle a car?", models) == ["car.md"]
    assert await paths(plugin, "Nothing of these.", models) == []


async def test_hybrid_finds_by_word_and_by_meaning(prepare, tmp_path):
    models = pools("embedder", "sparse-embedder")
    plugin, _ = await prepare(PAGES, tmp_path / "a", {"mode": "hybrid"}, models)
    assert set(await paths(plugin, "Which pet drinks hot water?", models)) == {"cat.md", "tea.md"}


@pytest.mark.parametrize("models", [FailingModels(), pools("embedder", vector=lambda _text: [float("nan")])])
async def test_a_preparation_whose_pool_fails_says_so(prepare, tmp_path, models):
    with pytest.raises((ModelUnavailable, BadUpstream)):
        await prepare(PAGES, tmp_path / "a", {"mode": "hybrid"}, models)


async def test_a_mode_without_its_pool_is_refused(prepare, tmp_path):
    with pytest.raises(ConfigError, match="poolRefs: the mode dense needs a pool with the role 'embedder'"):
        await prepare(PAGES, tmp_path / "a", {"mode": "dense"}, pools())
    plugin, _ = await prepare(PAGES, tmp_path / "a", {"mode": "dense"}, pools("embedder"))
    with pytest.raises(ModelUnavailable, match="role 'embedder'"):
        await plugin.on_request(conversation=asked("Where is my pet?"), models=pools())


class Hanging(StandInModels):
    async def embed(self, role, texts):
        await asyncio.Event().wait()

    async def score(self, role, query, texts):
        await asyncio.Event().wait()


@pytest.mark.parametrize("failing", [FailingModels, Hanging])
async def test_hybrid_continues_without_a_pool_that_fails_or_hangs(prepare, tmp_path, failing):
    config = {"mode": "hybrid", "poolTimeoutMilliseconds": 20}
    plugin, _ = await prepare(PAGES, tmp_path / "a", config, pools("embedder"))
    found = await plugin.on_request(conversation=asked("Is the feline on the sofa?"), models=failing())
    assert [each["path"] for each in found.notes["citations"]] == ["cat.md"]
    assert set(found.notes["unavailable"]) == {"embedder", "reranker"}


async def test_dense_fails_with_its_pool(prepare, tmp_path):
    config = {"mode": "dense", "poolTimeoutMilliseconds": 20}
    plugin, _ = await prepare(PAGES, tmp_path / "a", config, pools("embedder"))
    with pytest.raises(ModelUnavailable, match="poolTimeoutMilliseconds, 20"):
        await plugin.on_request(conversation=asked("Where is my pet?"), models=Hanging())
    with pytest.raises(BadUpstream, match="2 numbers, and those of the passages 3"):
        await plugin.on_request(conversation=asked("?"), models=pools("embedder", vector=lambda _text: [1.0, 0.0]))


async def test_the_reranker_decides_order_and_relevance(prepare, tmp_path):
    def relevance(_query, text):
        return 0.9 if "tyres" in text else 0.2

    plugin, _ = await prepare(PAGES, tmp_path / "a", {"minRerankPermille": 500, "minCoveragePermille": 1000})
    models = pools("reranker", relevance=relevance)
    assert await paths(plugin, "feline sofa automobile", models) == ["car.md"]
    assert await paths(plugin, "feline sofa", models) == []


async def test_only_changed_passages_are_embedded_again(prepare, tmp_path):
    models = pools("embedder", "sparse-embedder")
    config = {"mode": "hybrid"}
    await prepare(PAGES, tmp_path / "a", config, models)
    changed = {**PAGES, "aaa.md": "A pet.", "tea.md": "A drink of leaves."}
    again, done = await prepare(changed, tmp_path / "b", config, models, previous=tmp_path / "a")
    assert (done.details["denseEmbedded"], done.details["sparseEmbedded"]) == (2, 2)
    fresh, _ = await prepare(changed, tmp_path / "c", config, models)
    for name in ("dense-values.npy", "sparse-values.npy", "sparse-indices.npy"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()
    assert await paths(again, "Where is my pet?", models) == await paths(fresh, "Where is my pet?", models)


async def test_vectors_of_another_model_are_not_taken(prepare, tmp_path):
    await prepare(PAGES, tmp_path / "a", {"mode": "dense"}, pools("embedder"))
    other = pools("embedder", vector=lambda text: [*meaning(text)[::-1]])
    _, done = await prepare(PAGES, tmp_path / "b", {"mode": "dense"}, other, previous=tmp_path / "a")
    assert done.details["denseEmbedded"] == 3


class ShortWindow(StandInModels):
    """A pool that refuses strings of more than 20 characters."""

    async def embed(self, role, texts):
        if any(len(text) > 20 for text in texts):
            raise UpstreamError(400, {"error": {"message": "too long"}})
        return [self.vector(text) for text in texts]


async def test_a_passage_that_is_too_long_for_the_pool_is_cut(prepare, tmp_path):
    models = ShortWindow(vector=meaning, missing=ALL - {"embedder"})
    plugin, _ = await prepare({"a.txt": "pet " * 30, "b.txt": "tea"}, tmp_path / "a", {"mode": "dense"}, models)
    assert await paths(plugin, "Where is my pet?", models) == ["a.txt"]


def test_the_signs_of_vectors_find_the_nearest_ones(tmp_path):
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(b"signs").digest()[:4]))
    centers = random.normal(size=(50, 96))
    vectors = centers[random.integers(0, 50, 4000)] + 0.5 * random.normal(size=(4000, 96))
    Rows.of(vectors.tolist(), sparse=False).save(tmp_path, "dense")
    exact = DenseIndex.open(tmp_path)
    DenseIndex.build(tmp_path, exact=1000)
    approximate = DenseIndex.open(tmp_path)
    shared = []
    for query in centers[:20] + 0.3 * random.normal(size=(20, 96)):
        found = [set(index.search(query.tolist(), 10).hits.places.tolist()) for index in (exact, approximate)]
        shared.append(len(found[0] & found[1]) / 10)
    assert np.mean(shared) > 0.95
