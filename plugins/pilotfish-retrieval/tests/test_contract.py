"""The contract suites of adaptations, for BM25 alone and for all indexes with a reranker."""

from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnAnswerContract, OnRequestContract
from pilotfish.testing.models import StandInModels
from pilotfish.testing.preparing import PreparingContract
from pilotfish_retrieval import Retrieval

PAGES = {
    "australia.md": b"# Australia\n\n## Capital\n\nThe capital of Australia is Canberra.\n\n## Size\n\nIt is large.\n",
    "france.txt": b"The capital of France is Paris.\n\nWord after word after word.\n",
    "bild.html": "<html><body><h1>Bild</h1><p>Ein Bild: 鯨</p></body></html>".encode(),
}


def vector(text):
    return [float(text.count(letter)) for letter in "abcdefghij"]


class TestLexical(PreparingContract, OnRequestContract, OnAnswerContract):
    plugin = Retrieval
    settings = Settings({"passageTokens": 20})
    documents = PAGES
    count = 20


class TestHybrid(TestLexical):
    settings = Settings({"mode": "hybrid", "passageTokens": 20, "maxContextTokens": 400})

    def models(self):
        return StandInModels(vector=vector, relevance=lambda _query, text: len(text) % 10 / 10)
