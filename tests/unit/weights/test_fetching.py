"""From an address to a model's folder: copied once, resumed, checked, and never half there."""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.api.engine import ModelSource
from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import Access, Location, RemoteFile, Resolved
from pilotfish.plugins.extension_points import SOURCES
from pilotfish.plugins.registry import Installed, Registry
from pilotfish.weights import Phase, Progress, ensure, revision_of
from pilotfish.weights.selection import wanted
from pilotfish.weights.store import StoredWeights, need_room

MODEL = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40, "tokenizer.json": b"{}"}


class Shelf:
    """A source of what is in `content`, which breaks off after `budget` bytes."""

    content: dict[str, bytes] = {}
    budget: int = 1 << 40
    read_from: list[tuple[str, int]] = []

    def resolve(self, location: Location, access: Access) -> Resolved:
        return Resolved(location, access, location.revision or "1")

    def files(self, resolved: Resolved) -> Sequence[RemoteFile]:
        return [RemoteFile(path, len(data)) for path, data in self.content.items()]

    def read(self, resolved: Resolved, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        type(self).read_from.append((file.path, offset))
        data = self.content[file.path][offset:]
        for start in range(0, len(data), 100):
            type(self).budget -= 100
            if self.budget < 0:
                raise WeightsError("the line is cut")
            yield data[start : start + 100]


@pytest.fixture
def shelf() -> type[Shelf]:
    Shelf.content, Shelf.budget, Shelf.read_from = dict(MODEL), 1 << 40, []
    return Shelf


@pytest.fixture
def registry() -> Registry:
    points = {"shelf": f"{__name__}:Shelf", "file": "pilotfish.plugins.builtin.sources.local:FileSource"}
    return Registry(
        Installed(SOURCES.group, name, "tests", "1", _Here(name, value, SOURCES.group))
        for name, value in points.items()
    )


class _Here(EntryPoint):
    """An entry point that knows this module, which pytest imports under a name of its own."""

    def load(self) -> object:
        return Shelf if self.name == "shelf" else super().load()


def source(uri: str = "shelf://m", **more: str) -> ModelSource:
    return ModelSource(uri=uri, **more)


def test_a_model_is_copied_once_and_readable_for_all(tmp_path: Path, shelf: type[Shelf], registry: Registry) -> None:
    phases: list[Phase] = []
    folder = ensure(source(), cache=tmp_path, registry=registry, report=lambda told: phases.append(told.phase))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in MODEL} == MODEL
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert list(dict.fromkeys(phases)) == [Phase.FOUND, Phase.COPYING, Phase.READY]
    assert revision_of(folder, tmp_path) == "1"
    shelf.budget = 0
    assert ensure(source(), cache=tmp_path, registry=registry) == folder
    assert not [path for path in (tmp_path / ".work").iterdir() if path.is_dir()]


def test_another_revision_is_another_folder(tmp_path: Path, shelf: type[Shelf], registry: Registry) -> None:
    first = ensure(source(), cache=tmp_path, registry=registry)
    assert ensure(source(revision="2"), cache=tmp_path, registry=registry) != first


@given(budgets=st.lists(st.integers(0, 6000), max_size=6))
def test_a_copy_that_breaks_off_goes_on_where_it_was(budgets: list[int]) -> None:
    Shelf.content, Shelf.read_from = dict(MODEL), []
    registry = Registry([Installed(SOURCES.group, "shelf", "tests", "1", _Here("shelf", "x:y", SOURCES.group))])
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        for budget in budgets:
            Shelf.budget = budget
            try:
                ensure(source(), cache=cache, registry=registry)
            except WeightsError:
                assert not [path for path in cache.iterdir() if path.name != ".work"]
        Shelf.budget = 1 << 40
        folder = ensure(source(), cache=cache, registry=registry)
        assert {name: (folder / name).read_bytes() for name in MODEL} == MODEL
        offsets = [offset for path, offset in Shelf.read_from if path == "model.safetensors"]
        assert offsets == sorted(offsets)


def test_two_threads_make_one_model(tmp_path: Path, shelf: type[Shelf], registry: Registry) -> None:
    copying, waiting = threading.Event(), threading.Event()
    folders: list[Path] = []

    def first(told: Progress) -> None:
        if told.phase is Phase.COPYING:
            copying.set()
            assert waiting.wait(30)

    def second(told: Progress) -> None:
        if told.phase is Phase.WAITING:
            waiting.set()

    def run(report: object) -> None:
        folders.append(ensure(source(), cache=tmp_path, registry=registry, report=report))  # type: ignore[arg-type]

    threads = [threading.Thread(target=run, args=(report,)) for report in (first, second)]
    threads[0].start()
    assert copying.wait(30)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    assert len(folders) == 2
    assert len(set(folders)) == 1
    assert len(shelf.read_from) == len(MODEL)


def test_what_the_report_raises_ends_the_work_and_comes_out(
    tmp_path: Path, shelf: type[Shelf], registry: Registry
) -> None:
    def stop(told: Progress) -> None:
        if told.phase is Phase.COPYING and told.done > 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure(source(), cache=tmp_path, registry=registry, report=stop)
    assert ensure(source(), cache=tmp_path, registry=registry).is_dir()


def test_a_damaged_file_is_refused_with_both_digests_and_fetched_anew(
    tmp_path: Path, shelf: type[Shelf], registry: Registry
) -> None:
    shelf.content = {"model.gguf": b"GGUF" + b"x" * 500}
    wrong = hashlib.sha256(b"GGUF" + b"y" * 500).hexdigest()
    right = hashlib.sha256(shelf.content["model.gguf"]).hexdigest()
    for _ in range(2):
        with pytest.raises(WeightsError) as caught:
            ensure(source(sha256=wrong), cache=tmp_path, registry=registry)
        assert all(text in str(caught.value) for text in (wrong, right, "spec.model.sha256", "shelf://m"))
    assert shelf.read_from == [("model.gguf", 0)] * 2


def test_a_local_folder_is_used_where_it_lies(tmp_path: Path, registry: Registry) -> None:
    for name, data in MODEL.items():
        (tmp_path / name).write_bytes(data)
    cache = tmp_path / "cache"
    assert ensure(source(f"file://{tmp_path}"), cache=cache, registry=registry) == tmp_path
    (tmp_path / "pilotfish.json").write_text('{"revision": "somebody else\'s"}')
    assert revision_of(tmp_path, cache) is None
    assert not cache.exists()
    with pytest.raises(WeightsError, match="sha256 is for a single file"):
        ensure(source(f"file://{tmp_path}", sha256="0" * 64), cache=cache, registry=registry)


def test_a_local_folder_without_config_is_refused_before_anything_is_copied(tmp_path: Path, registry: Registry) -> None:
    for name in ("a.safetensors", "b.json"):
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(WeightsError, match=r"nor a folder with weights and a config\.json"):
        ensure(source(f"file://{tmp_path}"), cache=tmp_path / "cache", registry=registry)
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_what_is_no_model_is_refused_and_leaves_none(tmp_path: Path, shelf: type[Shelf], registry: Registry) -> None:
    for content, told in [
        ({"weights.bin": b"neither", "model.safetensors": b"x"}, "nor a folder with weights and a config.json"),
        ({"one.safetensors": b"x"}, "is neither a GGUF file"),
        ({"readme.md": b"x", "b.md": b""}, "has no weights"),
        ({"../x.bin": b"x"}, "outside of the model"),
    ]:
        shelf.content = content
        with pytest.raises(WeightsError, match=told):
            ensure(source(), cache=tmp_path / told[:4], registry=registry)
        assert not [path for path in (tmp_path / told[:4]).iterdir() if path.name != ".work"]


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, shelf: type[Shelf], registry: Registry) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WeightsError, match=r"shelf://m: .*file.*: Not a directory"):
        ensure(source(), cache=tmp_path / "file", registry=registry)


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model: needs .* in .*: free disk space, or choose another cache folder"):
        need_room(tmp_path, 1 << 60, "model")


@given(st.text(max_size=300), st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.none(), max_size=3))
def test_any_address_has_a_place_of_its_own_in_the_cache(uri: str, identity: dict[str, str | None]) -> None:
    entry = StoredWeights.of(Path("/cache"), f"x://{uri}", identity)
    assert entry.model.parent == Path("/cache")
    assert len(entry.name) < 100
    assert entry.name[0] not in ".-"
    assert StoredWeights.of(Path("/cache"), f"x://{uri}", identity | {"more": "x"}) != entry


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["m.gguf"], ["m.gguf"]),
        (
            ["a.safetensors", "pytorch_model.bin", "config.json", "README.md", "original/x.safetensors", "onnx/m.onnx"],
            ["a.safetensors", "config.json"],
        ),
        (["consolidated.safetensors", "a.safetensors", "chat.jinja"], ["a.safetensors", "chat.jinja"]),
        (["pytorch_model.bin", "tokenizer.model", "m.gguf"], ["pytorch_model.bin", "tokenizer.model"]),
        (["m.gguf", "README.md", "config.json"], ["m.gguf"]),
    ],
)
def test_the_smallest_set_that_an_engine_loads_is_wanted(names: list[str], expected: list[str]) -> None:
    assert [file.path for file in wanted("x://m", [RemoteFile(name, 1) for name in names])] == expected


def test_a_folder_of_several_gguf_files_asks_for_one() -> None:
    with pytest.raises(
        WeightsError, match=r"several models: add the name of one file to the address \(a\.gguf, b\.gguf\)"
    ):
        wanted("x://m", [RemoteFile("a.gguf", 1), RemoteFile("b.gguf", 1)])


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become another user")
def test_a_file_that_this_user_may_not_read_is_reported_with_the_fix(tmp_path: Path) -> None:
    """PEFT writes adapters with mode 0600, and pods run as another user than the one who trained."""
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    weights = adapter / "adapter_model.safetensors"
    weights.touch(mode=0o600)
    for folder in (adapter, *adapter.parents[: len(adapter.parents) - 2]):
        folder.chmod(0o755)
    code = f"""
import os
from pathlib import Path
from pilotfish.api.modelpool import ModelSource
from pilotfish.weights import ensure
from pilotfish.plugins.extension_points import SOURCES
from pilotfish.plugins.registry import Registry
registry = Registry.installed()
registry.load(SOURCES, "file")
os.setuid(65534)
ensure(ModelSource(uri="file://{adapter}"), cache=Path("/nowhere"), registry=registry)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().splitlines()[-1] == (
        f"pilotfish.base.errors.WeightsError: file://{adapter}: {weights} (mode 0600) cannot be read by user id 65534:"
        f" its owner must run chmod -R a+rX {adapter}"
    )
