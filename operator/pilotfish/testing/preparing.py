"""The contract suite for adaptations that prepare: what the Job that prepares and the gateway rely on."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pilotfish.base.errors import ConfigError, PilotfishError
from pilotfish.plugin_api.adaptations import Declaration
from pilotfish.plugin_api.preparing import Document, Prepared, Preparing
from pilotfish.plugin_api.settings import Settings
from pilotfish.preparing.folders import FolderWorkspace
from pilotfish.testing.models import FailingModels, StandInModels

MOST_INTERRUPTIONS = 10


class Interrupted(Exception):
    """The process ends while it prepares."""


@dataclass(frozen=True)
class InMemoryDocuments:
    """Implements `Documents`: contents by path, of one source."""

    contents: Mapping[str, bytes]
    source: str = "pages"

    def __len__(self) -> int:
        return len(self.contents)

    def __iter__(self) -> Iterator[Document]:
        for path, content in sorted(self.contents.items()):
            yield Document(self.source, path, hashlib.sha256(content).hexdigest(), len(content))

    def read(self, document: Document) -> bytes:
        """The content of a document."""
        return self.contents[document.path]


class StandInWorkspace(FolderWorkspace):
    """A workspace that counts what is written, and is interrupted after `stop_after` files."""

    def __init__(self, path: Path, previous: Path | None = None, stop_after: int | None = None) -> None:
        path.mkdir(parents=True, exist_ok=True)
        super().__init__(path, previous, path.with_name(f"{path.name}.journal"))
        self.stop_after = stop_after
        self.written: list[str] = []

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically. Raises Interrupted."""
        if self.stop_after is not None and len(self.written) >= self.stop_after:
            raise Interrupted(name)
        super().write(name, content)
        self.written.append(name)


@dataclass
class CheckedProgress:
    """Implements `Progress`, and checks what is reported."""

    reports: list[tuple[int, int, str]] = field(default_factory=list)

    def __call__(self, done: int, total: int, message: str) -> None:
        assert 0 <= done <= total, f"{done} of {total} steps are done: {message}"
        self.reports.append((done, total, message))


def files_of(folder: Path) -> dict[str, bytes]:
    """The contents of all files of a folder, by path, without names that begin with a dot."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


class InFolder:
    """Tests that write to `folder`, which is made for each of them."""

    def setup_method(self) -> None:
        """Make the folder."""
        self.folder = Path(tempfile.mkdtemp(prefix="prepared-"))

    def teardown_method(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)


class PreparingContract(InFolder):
    """What every adaptation that prepares keeps. `documents` are contents by path that `plugin` can read."""

    plugin: type[Any]
    settings = Settings()
    documents: Mapping[str, bytes]

    def models(self) -> StandInModels:
        """The pools that the plugin asks."""
        return StandInModels()

    async def prepare(
        self, workspace: FolderWorkspace, contents: Mapping[str, bytes], models: StandInModels | None = None
    ) -> Prepared:
        """What the plugin prepares from the contents."""
        made: Preparing = self.plugin.from_settings(self.settings)
        result: object = await made.prepare(
            documents=InMemoryDocuments(contents),
            into=workspace,
            models=models or self.models(),
            progress=CheckedProgress(),
        )
        assert isinstance(result, Prepared), f"prepare returned {type(result).__name__}"
        return result

    def test_the_format_is_declared(self) -> None:
        made = self.plugin.from_settings(self.settings)
        assert isinstance(made, Preparing)
        assert isinstance(made.prepared_format, int)

    async def test_the_result_can_be_used(self) -> None:
        workspace = StandInWorkspace(self.folder / "whole")
        result = await self.prepare(workspace, self.documents)
        assert 0 < result.documents <= len(self.documents)
        self.plugin.from_settings(Settings(self.settings.config, self.settings.artifact, workspace.path))

    async def test_equal_documents_give_equal_files(self) -> None:
        """The folder is named by a digest of the documents, so its content may depend on nothing else."""
        first, second = (StandInWorkspace(self.folder / name) for name in ("first", "second"))
        assert await self.prepare(first, self.documents) == await self.prepare(second, self.documents)
        assert files_of(first.path) == files_of(second.path)

    async def test_an_interrupted_preparation_continues(self) -> None:
        whole = StandInWorkspace(self.folder / "whole")
        await self.prepare(whole, self.documents)
        for written in range(min(len(whole.written), MOST_INTERRUPTIONS)):
            path = self.folder / f"after-{written}"
            try:
                await self.prepare(StandInWorkspace(path, stop_after=written), self.documents)
            except Interrupted:
                await self.prepare(StandInWorkspace(path), self.documents)
            assert files_of(path) == files_of(whole.path), f"other files after an interruption at file {written}"

    async def test_the_previous_folder_saves_work_and_changes_nothing(self) -> None:
        _, *others = sorted(self.documents)
        before = StandInWorkspace(self.folder / "before")
        await self.prepare(before, {path: self.documents[path] for path in others} or self.documents)
        fresh, again = StandInWorkspace(self.folder / "fresh"), StandInWorkspace(self.folder / "again", before.path)
        await self.prepare(fresh, self.documents)
        await self.prepare(again, self.documents)
        assert files_of(again.path) == files_of(fresh.path)

    async def test_no_documents_are_an_error_or_an_empty_result(self) -> None:
        try:
            result = await self.prepare(StandInWorkspace(self.folder / "empty"), {})
        except ConfigError:
            return
        assert result.documents == 0

    async def test_a_pool_that_fails_is_reported_as_its_error(self) -> None:
        models = FailingModels()
        try:
            await self.prepare(StandInWorkspace(self.folder / "failed"), self.documents, models)
        except PilotfishError:
            return
        required = {role.name for role in Declaration.of(self.plugin).roles if not role.optional}
        assert not required & set(models.asked), "prepare ignored the failure of a pool that is not optional"
