"""Plugins of a run are prepared once their pools answer, and again when documents or manifests change."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from pilotfish.base.keys import Key
from pilotfish.local import fetching
from pilotfish.local.events import Phase, PoolEvent
from pilotfish.local.preparing import Preparer
from pilotfish.local.run import LocalRun, RunOptions
from pilotfish.local.secrets import Secrets
from pilotfish.manifests import Loaded, load
from pilotfish.routing.snapshot import Snapshot

pytestmark = pytest.mark.timeout(900)

KEY = Key("AdaptationPlugin", "default", "terms")
KINDS = {"apiVersion": "pilotfish.dev/v1alpha1"}


class Seen:
    """Events of a run."""

    def __init__(self) -> None:
        self.events: list[PoolEvent] = []
        self.changed = asyncio.Condition()
        self.tasks: set[asyncio.Task[None]] = set()

    def on_event(self, event: PoolEvent) -> None:
        if event.key == KEY:
            self.events.append(event)
            task = asyncio.create_task(self._notify())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def next(self, phase: Phase) -> PoolEvent:
        """The next event of this phase. Earlier ones are dropped."""
        async with asyncio.timeout(200), self.changed:
            while True:
                while self.events:
                    if (event := self.events.pop(0)).phase is phase:
                        return event
                await self.changed.wait()


@pytest.fixture
async def seen() -> Seen:
    return Seen()


@pytest.fixture
async def run(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[LocalRun, list[Snapshot]]]:
    monkeypatch.setattr(fetching, "FILES_POLL_SECONDS", 0.01)
    snapshots: list[Snapshot] = []
    run = LocalRun(RunOptions(tmp_path / "cache"), seen.on_event, snapshots.append, lambda line: None)
    yield run, snapshots
    await run.stop()


def manifests(folder: Path, sources: list[object], *more: object, **spec: object) -> Loaded:
    pool = {"role": "any", "name": "pool"}
    last = {"poolRef": {"name": "pool"}}
    stages = [{**last, "accept": {"scorer": {"name": "logprob"}, "thresholdPermille": 500}}, last]
    made = [
        {
            **KINDS,
            "kind": "AdaptationPlugin",
            "metadata": {"name": "terms"},
            "spec": {"type": "glossary", "sources": sources, "poolRefs": [pool], **spec},
        },
        {
            **KINDS,
            "kind": "ModelPool",
            "metadata": {"name": "pool"},
            "spec": {"tier": "Small", "external": {"baseURL": "http://127.0.0.1:9/v1", "model": "m"}},
        },
        {
            **KINDS,
            "kind": "ModelRouter",
            "metadata": {"name": "router"},
            "spec": {
                "strategy": {"type": "Cascade", "cascade": {"stages": stages}},
                "plugins": [{"pluginRef": {"name": "terms"}}],
            },
        },
        *more,
    ]
    (folder / "all.yaml").write_text(yaml.safe_dump_all(made))
    loaded = load([folder / "all.yaml"])
    assert not loaded.problems, loaded.problems
    return loaded


def entries(snapshot: Snapshot) -> str:
    return (snapshot.prepared[KEY] / "entries.json").read_text()


async def test_a_plugin_is_prepared_again_when_its_documents_or_its_manifest_change(
    run: tuple[LocalRun, list[Snapshot]], seen: Seen, tmp_path: Path
) -> None:
    local, snapshots = run
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "terms.csv").write_text("term,definition\nPTO,paid time off\n")
    sources: list[object] = [{"name": "pages", "uri": f"file://{pages}"}]
    await local.apply(manifests(tmp_path, sources))
    assert KEY not in snapshots[-1].prepared
    await seen.next(Phase.PREPARED)
    assert "paid time off" in entries(snapshots[-1])

    (pages / "terms.csv").write_text("term,definition\nPTO,a printed tree\n")
    await seen.next(Phase.PREPARED)
    assert "a printed tree" in entries(snapshots[-1])
    first = snapshots[-1].prepared[KEY]

    (pages / "terms.csv").write_text("word,meaning\n")
    failed = await seen.next(Phase.FAILED)
    assert "no document has an entry" in failed.text
    assert snapshots[-1].prepared[KEY] == first, "what was prepared before stays"

    (pages / "terms.csv").write_text("term,definition\nPTO,paid time off\n")
    await local.apply(manifests(tmp_path, sources, config={"maxTerms": 2}))
    await seen.next(Phase.PREPARED)
    assert "paid time off" in entries(snapshots[-1])


async def test_a_config_map_of_the_folder_is_a_source(
    run: tuple[LocalRun, list[Snapshot]], seen: Seen, tmp_path: Path
) -> None:
    local, snapshots = run
    data = {"terms.csv": "term,definition\nPTO,naïve café 🐟\n"}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "terms"}, "data": data}
    await local.apply(manifests(tmp_path, [{"name": "terms", "configMapRef": {"name": "terms"}}], config_map))
    await seen.next(Phase.PREPARED)
    assert "naïve café 🐟" in entries(snapshots[-1])
    await local.apply(manifests(tmp_path, [{"name": "terms", "configMapRef": {"name": "lost"}}]))
    assert "there is no ConfigMap 'lost'" in (await seen.next(Phase.FAILED)).text


async def test_nothing_is_prepared_before_its_pools_answer(seen: Seen, tmp_path: Path) -> None:
    preparer = Preparer(tmp_path, {}, revisions=lambda _: None, on_event=seen.on_event, on_change=lambda: None)
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "terms"}, "data": {}}
    loaded = manifests(tmp_path, [{"name": "terms", "configMapRef": {"name": "terms"}}], config_map)
    preparer.apply(loaded, Secrets())
    assert (await seen.next(Phase.WAITING)).text == "for pools: pool"
    await preparer.stop()
    assert not preparer.folders
