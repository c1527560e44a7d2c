"""Preparation in a folder, as the operator's Job does it."""

from collections.abc import Callable

import pytest

from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish.testing.preparing import CheckedProgress, InMemoryDocuments, StandInWorkspace
from pilotfish_retrieval import Retrieval


async def prepared(files, into, config=None, models=None, previous=None):
    """The plugin over documents that it prepared below `into`, and what it reported."""
    contents = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    workspace = into if isinstance(into, StandInWorkspace) else StandInWorkspace(into, previous)
    done = await Retrieval.from_settings(Settings(config or {})).prepare(
        documents=InMemoryDocuments(contents),
        into=workspace,
        models=models or StandInModels(missing=frozenset({"embedder", "sparse-embedder", "reranker"})),
        progress=CheckedProgress(),
    )
    return Retrieval.from_settings(Settings(config or {}, prepared=workspace.path)), done


@pytest.fixture
def prepare() -> Callable:
    return prepared
