"""Documents and a workspace in memory and in a folder, as `prepare` gets them."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pilotfish.plugin_api.preparing import Document
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish_retrieval import Retrieval


class InMemory:
    """`Documents` of one source."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def __len__(self):
        return len(self._files)

    def __iter__(self):
        for path, content in sorted(self._files.items()):
            yield Document("pages", path, hashlib.sha256(content).hexdigest(), len(content))

    def read(self, document):
        return self._files[document.path]


class Folder:
    """A `Workspace`. `stop_after`: the number of files after which writing fails, as when the process is killed."""

    def __init__(self, path: Path, previous: Path | None = None, stop_after: int | None = None) -> None:
        path.mkdir(exist_ok=True)
        self.path = path
        self.previous = previous
        self._left = stop_after
        self.written: list[str] = []

    def has(self, name):
        return (self.path / name).exists()

    def write(self, name, content):
        if self._left is not None:
            if not self._left:
                raise InterruptedError(name)
            self._left -= 1
        self.written.append(name)
        (self.path / name).write_bytes(content)


async def prepared(files, into, config=None, models=None, previous=None):
    """The plugin over documents that it prepared, and what it reported."""
    contents = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    settings = Settings(config or {})
    done = await Retrieval.from_settings(settings).prepare(
        documents=InMemory(contents),
        into=into if isinstance(into, Folder) else Folder(into, previous),
        models=models or StandInModels(missing=frozenset({"embedder", "sparse-embedder", "reranker"})),
        progress=lambda done, total, message: None,
    )
    path = into.path if isinstance(into, Folder) else into
    return Retrieval.from_settings(Settings(config or {}, prepared=path)), done


@pytest.fixture
def prepare() -> Callable:
    return prepared


@pytest.fixture
def folder() -> type[Folder]:
    return Folder
