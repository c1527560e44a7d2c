"""verify reads the passages that retrieval puts in front of the question."""

from pathlib import Path

from pilotfish.plugin_api.adaptations import Channel, Conversation, Rewritten
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish.testing.preparing import CheckedProgress, InMemoryDocuments, StandInWorkspace
from pilotfish_retrieval import Retrieval
from pilotfish_verify import Verify

PAGES = {
    "leave.md": b"# Leave\n\nEvery employee of Acme has thirty days of annual leave. Ask for it in the portal.\n",
    "travel.md": b"# Travel\n\nTrains are booked by the travel desk. Meals in Rome cost at most 40 euros a day.\n",
    "kitchen.md": b"# Kitchen\n\nThe dishwasher runs at six. Milk is bought on Mondays.\n",
}
MODELS = StandInModels(missing=frozenset({"embedder", "sparse-embedder", "reranker"}))


async def test_what_is_not_in_the_passages_is_noted(tmp_path: Path) -> None:
    documents = InMemoryDocuments(PAGES)
    workspace, progress = StandInWorkspace(tmp_path), CheckedProgress()
    await Retrieval.from_settings(Settings()).prepare(
        documents=documents, into=workspace, models=MODELS, progress=progress
    )
    retrieval = Retrieval.from_settings(Settings(prepared=tmp_path))
    asked = "How many days of annual leave has an employee?"
    conversation = Conversation(({"role": "user", "content": asked},))
    result = await retrieval.on_request(conversation=conversation, models=MODELS)
    assert isinstance(result, Rewritten)
    stream = Verify.from_settings(Settings()).on_answer(
        conversation=Conversation(result.messages), state=None, models=MODELS, channel=Channel()
    )
    assert stream
    await stream.push("An employee has thirty days of annual leave [1]. Managers have forty additional days.")
    (noted,) = (await stream.end("stop")).notes["sentences"]
    assert noted["sentence"] == "Managers have forty additional days."
