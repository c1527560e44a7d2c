"""The preparation of a plugin: its documents, what changes its digest, and its failures."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from preparing_plugin import Shouting, registry
from typer.testing import CliRunner

from pilotfish.api import AdaptationPlugin
from pilotfish.base.errors import ConfigError, PilotfishError, PluginError
from pilotfish.cli.main import application
from pilotfish.preparing import Preparation, PreparedFolder, prepare
from pilotfish.preparing.documents import DocumentChanged, Origins, find_documents
from pilotfish.preparing.progress import ProgressServer
from pilotfish.reconcile.kinds import parse_resource
from pilotfish.routing.snapshot import Endpoint
from pilotfish.testing.stand_in_engine import StandInEngine
from pilotfish.upstream.peers import Peers

BOOK = {"configMapRef": {"name": "book"}, "name": "book"}


def resource(kind: str, name: str, spec: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> Any:
    value = {"apiVersion": "pilotfish.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    found, faults = parse_resource({**value, **({"status": status} if status else {})})
    assert found is not None, faults
    return found


def plugin(*sources: Mapping[str, Any], **spec: Any) -> AdaptationPlugin:
    found: AdaptationPlugin = resource("AdaptationPlugin", "p", {"type": "shouting", "sources": list(sources), **spec})
    return found


def book(**pages: str) -> Origins:
    return Origins({"book": {name: text.encode() for name, text in pages.items()}})


async def prepared(
    to: Path, given: AdaptationPlugin | None = None, origins: Origins | None = None, version: str = "1.0", **more: Any
) -> PreparedFolder:
    preparation = Preparation(given or plugin(BOOK), origins=origins or book(a="one"), **more)
    return await prepare(preparation, to, progress=lambda *_: None, registry=registry(version=version))


def found(given: AdaptationPlugin, origins: Origins, cache: Path) -> Any:
    return find_documents(given, origins, cache=cache, registry=registry(), report=lambda _: None)


async def test_everything_that_the_folder_depends_on_changes_its_digest(tmp_path: Path) -> None:
    pool = {"tier": "Small", "task": "Embed", "model": {"uri": "package://a/b"}, "replicas": 1}
    asked = plugin(BOOK, poolRefs=[{"role": "embedder", "name": "e"}])

    def pools(revision: str) -> dict[str, Any]:
        made = resource("ModelPool", "e", pool, {"resolvedRevision": revision})
        return {"pools": {"e": made}, "endpoints": {"e": Endpoint("http://unused/v1")}}

    other_name = {**BOOK, "name": "other"}
    variants: list[tuple[AdaptationPlugin, Origins, str, dict[str, Any]]] = [
        (plugin(BOOK), book(a="one"), "1.0", {}),
        (plugin(BOOK), book(a="two"), "1.0", {}),
        (plugin(BOOK), book(b="one"), "1.0", {}),
        (plugin(BOOK), book(a="one", b=""), "1.0", {}),
        (plugin(other_name), book(a="one"), "1.0", {}),
        (plugin(BOOK, config={"x": 1}), book(a="one"), "1.0", {}),
        (plugin(BOOK), book(a="one"), "1.1", {}),
        (asked, book(a="one"), "1.0", pools("first")),
        (asked, book(a="one"), "1.0", pools("second")),
    ]
    digests = [(await prepared(tmp_path, *given, **more)).digest for *given, more in variants]
    assert len(set(digests)) == len(variants)
    again = [(await prepared(tmp_path, *given, **more)).digest for *given, more in variants]
    assert again == digests
    assert (await prepared(tmp_path, plugin(BOOK, timeoutSeconds=9, failurePolicy="Fail"))).digest == digests[0]


async def test_a_folder_that_exists_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await prepared(tmp_path)
    assert json.loads((first.path / "all.json").read_text()) == {"a": "ONE"}
    assert (first.documents, first.details) == (1, {"letters": len('{"a": "ONE"}')})

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Shouting, "prepare", refuse)
    assert await prepared(tmp_path) == first


async def test_documents_come_from_config_maps_and_sources_in_order(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    (shelf / "sub").mkdir(parents=True)
    for name in ("z.md", "sub/a.md", ".hidden", ".git"):
        (shelf / name).write_text(name)
    package = "package://pilotfish/py.typed"
    sources = [
        {"name": "shelf", "uri": f"file://{shelf}"},
        BOOK,
        {"name": "one", "uri": f"file://{shelf}/z.md"},
        {"name": "volume", "uri": "pvc://v/sub"},
        {"name": "carried", "uri": package},
        {"name": "parts", "uri": "package://pilotfish/testing/*.py"},
    ]
    data = {"book": {"b": b"2", "a": b"1"}}
    documents = found(plugin(*sources), Origins(data, {"v": shelf}), tmp_path / "cache")
    assert [(each.source, each.path) for each in documents] == [
        ("book", "a"),
        ("book", "b"),
        ("carried", "py.typed"),
        ("one", "z.md"),
        ("parts", "parts.bin"),
        ("shelf", "sub/a.md"),
        ("shelf", "z.md"),
        ("volume", "a.md"),
    ]
    assert len(list((tmp_path / "cache").iterdir())) == 1
    for document in documents:
        assert len(documents.read(document)) == document.size_bytes
    assert len(found(plugin(BOOK), Origins(data), tmp_path / "cache")) == 2
    assert not list((tmp_path / "cache").iterdir()), "copies that no source needs are removed"


def test_a_document_that_changes_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "page"
    file.write_text("one")
    documents = found(plugin({"name": "s", "uri": f"file://{tmp_path}"}), Origins(), tmp_path / "cache")
    file.write_text("two")
    with pytest.raises(DocumentChanged, match=r"sources\[s\]: page changed"):
        documents.read(next(iter(documents)))


def test_a_link_that_leads_out_of_a_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "page").symlink_to("../secret")
    with pytest.raises(ConfigError, match="leads out of the source"):
        found(plugin({"name": "s", "uri": f"file://{shelf}"}), Origins(), tmp_path / "cache")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (plugin(BOOK, config={"fail": "no space"}), "plugin 'p': prepare failed with RuntimeError: no space"),
        (plugin({**BOOK, "configMapRef": {"name": "lost"}}), r"sources\[book\].configMapRef: there is no ConfigMap"),
        (plugin({"name": "s", "uri": "pvc://v/a"}), "no folder is set for the volume"),
        (plugin({"name": "s", "uri": "nope://v/a"}), "no pilotfish.sources plugin is named 'nope'"),
        (plugin(BOOK, config={"embed": True}), "poolRefs has no entry for the role 'embedder'"),
    ],
)
async def test_a_failure_names_its_cause_and_leaves_the_folder(
    tmp_path: Path, given: AdaptationPlugin, message: str
) -> None:
    before = await prepared(tmp_path)
    with pytest.raises(PilotfishError, match=message):
        await prepared(tmp_path, given)
    assert (before.path / "all.json").exists()


async def test_a_result_that_is_not_prepared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object, **__: object) -> None: ...

    monkeypatch.setattr(Shouting, "prepare", nothing)
    with pytest.raises(PluginError, match="returned NoneType instead of Prepared"):
        await prepared(tmp_path)


def manifests(folder: Path, *resources: Mapping[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "all.yaml").write_text(yaml.safe_dump_all(resources))
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    installed = registry()
    monkeypatch.setattr("pilotfish.plugins.registry.Registry.installed", lambda: installed)

    def run(*arguments: object, input: str = "") -> Any:  # noqa: A002 - as the runner names it
        return CliRunner().invoke(application(("prepare", "validate")), ["prepare", *map(str, arguments)], input=input)

    return run


async def test_the_command_asks_pools_and_prints_the_result(tmp_path: Path, command: Any) -> None:
    engine = StandInEngine({})
    address = await engine.start()
    kinds = {"apiVersion": "pilotfish.dev/v1alpha1", "metadata": {"name": "e"}}
    external = {"baseURL": address, "model": "m", "apiKeySecretRef": {"name": "s", "key": "k"}}
    spec = {"type": "shouting", "sources": [BOOK], "poolRefs": [{"role": "embedder", "name": "e"}]}
    given = manifests(
        tmp_path / "in",
        {**kinds, "kind": "ModelPool", "spec": {"tier": "Small", "task": "Embed", "external": external}},
        {**kinds, "kind": "AdaptationPlugin", "spec": {**spec, "config": {"embed": True}}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "secret"}},
    )
    pages = tmp_path / "pages"
    (pages / "..data").mkdir(parents=True)
    (pages / "a").write_text("one")
    result = tmp_path / "result"
    arguments = (given, "--to", tmp_path / "out", "--config-map", f"book={pages}", "--json", "--result", result)
    done = await asyncio.to_thread(command, *arguments)
    await engine.stop()
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == {"done": 1, "total": 1, "message": "shouting"}
    assert lines[-1] == json.loads(result.read_text())
    assert lines[-1]["documents"] == 1
    written = (tmp_path / "out" / lines[-1]["digest"] / "all.json").read_text()
    assert json.loads(written) == {"a": "ONE", "vectors": [[3.0, 1.0]]}
    assert "secret" not in done.output


def test_manifests_come_from_standard_input_or_the_environment(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {"apiVersion": "pilotfish.dev/v1alpha1", "kind": "AdaptationPlugin"}
    manifest = {**kinds, "metadata": {"name": "p"}, "spec": {"type": "shouting", "sources": [BOOK]}}
    book = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "book"}, "data": {"a": "one"}}
    text = yaml.safe_dump_all([manifest, book])
    given = command("-", "--to", tmp_path / "out", input=text)
    assert given.exit_code == 0, given.output
    assert "no manifests" in command("--to", tmp_path / "out").stderr
    monkeypatch.setenv("PILOTFISH_MANIFESTS", text)
    assert command("--to", tmp_path / "out").stdout == given.stdout


def test_the_command_names_what_is_missing(tmp_path: Path, command: Any) -> None:
    kinds = {"apiVersion": "pilotfish.dev/v1alpha1", "kind": "AdaptationPlugin"}
    refs = {"poolRefs": [{"role": "embedder", "name": "e"}]}
    given = manifests(
        tmp_path / "in",
        {**kinds, "metadata": {"name": "one"}, "spec": {"type": "shouting", **refs}},
        {**kinds, "metadata": {"name": "two"}, "spec": {"type": "shouting"}},
    )
    failures = {
        (): "choose one AdaptationPlugin with --plugin; the manifests have: one, two",
        ("--plugin", "one"): "there is no ModelPool 'e'",
        ("--plugin", "two", "--config-map", "book"): "--config-map: 'book' must be NAME=VALUE",
        ("--plugin", "two", "--config-map", f"book={tmp_path}/lost"): "No such file or directory",
    }
    for arguments, message in failures.items():
        done = command(given, "--to", tmp_path / "out", *arguments)
        assert (done.exit_code, message in done.stderr) == (1, True), done.stderr


async def test_progress_is_served_while_it_changes() -> None:
    async with Peers() as peers:
        with ProgressServer(0) as server:
            address = f"127.0.0.1:{server.port}"
            assert await peers.progress(address) == ""
            server.report(1, 2, "indexing")
            assert await peers.progress(address) == "indexing, 1 of 2"
            server.report(0, 0, "copying documents")
            assert await peers.progress(address) == "copying documents"
        assert await peers.progress(address) == ""
