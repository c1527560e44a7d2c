"""What a manifest sets in `config`."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pilotfish.api.common import Model

EMBEDDER = "embedder"
SPARSE_EMBEDDER = "sparse-embedder"
RERANKER = "reranker"

Permille = Annotated[int, Field(strict=True, ge=0, le=1000)]


class SearchMode(StrEnum):
    """How passages are found."""

    BM25 = "bm25"
    DENSE = "dense"
    SPARSE = "sparse"
    HYBRID = "hybrid"

    @property
    def is_lexical(self) -> bool:
        """Whether BM25 is part of the search."""
        return self in {SearchMode.BM25, SearchMode.HYBRID}

    @property
    def needed_role(self) -> str | None:
        """The role without which nothing can be searched."""
        return {SearchMode.DENSE: EMBEDDER, SearchMode.SPARSE: SPARSE_EMBEDDER}.get(self)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles whose vectors are searched, where they have a pool."""
        needed = self.needed_role
        return (EMBEDDER, SPARSE_EMBEDDER) if self is SearchMode.HYBRID else (needed,) if needed else ()


class Language(StrEnum):
    """The language whose word endings BM25 removes. `none` compares words as they are written."""

    NONE = "none"
    DANISH = "danish"
    DUTCH = "dutch"
    ENGLISH = "english"
    FINNISH = "finnish"
    FRENCH = "french"
    GERMAN = "german"
    ITALIAN = "italian"
    NORWEGIAN = "norwegian"
    PORTUGUESE = "portuguese"
    RUSSIAN = "russian"
    SPANISH = "spanish"
    SWEDISH = "swedish"


class Config(Model):
    """The settings. Those below `language` are part of the prepared index, and a change of them makes it again."""

    mode: SearchMode = SearchMode.BM25
    """bm25, dense (role embedder), sparse (role sparse-embedder), or hybrid: bm25 and those that have a pool."""
    top_k: Annotated[int, Field(strict=True, ge=1, le=50)] = 4
    """The maximum number of passages that are added to a question."""
    max_context_tokens: Annotated[int, Field(strict=True, ge=50, le=1_000_000)] = 1200
    """The maximum number of tokens that are added, estimated from the length in bytes."""
    candidates: Annotated[int, Field(strict=True, ge=1, le=1000)] = 50
    """How many passages of each index are fused."""
    min_coverage_permille: Permille = 300
    """A passage is relevant if it contains this share of the question's terms, weighed by how rare they are."""
    min_cosine_permille: Permille = 400
    """A passage is relevant if its vector has this cosine with that of the question."""
    min_rerank_permille: Permille = 0
    """Where a pool reranks: a passage is relevant if its score is at least this. The other limits do not apply."""
    min_sparse_permille: Permille = 300
    """A passage is relevant if it has the terms of this share of the question's sparse weights."""
    reranked: Annotated[int, Field(strict=True, ge=1, le=200)] = 20
    """How many candidates are reranked, where the role reranker has a pool."""
    pool_timeout_milliseconds: Annotated[int, Field(strict=True, ge=1, le=600_000)] = 1000
    """The maximum time of one call to a pool for a question. After it, `hybrid` continues without that pool."""
    query_prefix: Annotated[str, Field(max_length=1000)] = ""
    """Text in front of a question, for embedding models that expect one, such as `query: `."""
    short_question_words: Annotated[int, Field(strict=True, ge=0, le=100)] = 5
    """A question of fewer words, without counting common ones, is searched together with the user's earlier turns."""
    instruction: Annotated[str, Field(min_length=1, max_length=4000)] | None = None
    """The sentence in front of the passages. A default asks for citations, such as [1]."""
    language: Language = Language.ENGLISH
    """The language of the documents."""
    passage_tokens: Annotated[int, Field(strict=True, ge=20, le=4000)] = 250
    """The size of a passage that ends where the document has no boundary, in tokens estimated from its length."""
    passage_prefix: Annotated[str, Field(max_length=1000)] = ""
    """Text in front of a passage, for embedding models that expect one, such as `passage: `."""
    embedded_tokens: Annotated[int, Field(strict=True, ge=20, le=100_000)] = 400
    """How much of a passage is embedded, in tokens estimated from its length."""
    max_document_megabytes: Annotated[int, Field(strict=True, ge=1, le=1000)] = 32
    """Larger documents are skipped."""
    max_table_rows: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] = 10_000
    """The rows of a table after these are skipped."""
