"""Sources over file systems: what is found, read from any offset, and refused."""

import asyncio
import errno
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import fsspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from gcsfs.retry import HttpError
from requests.exceptions import ProxyError
from s3fs.errors import translate_boto_error

from pilotfish.base.errors import WeightsError
from pilotfish.engine.ports import free_ports
from pilotfish.plugin_api.sources import Access, Location
from pilotfish.plugins.builtin.sources.local import FileSource, VolumeSource
from pilotfish.plugins.builtin.sources.remote import (
    GoogleStorageSource,
    HuggingFaceSource,
    ObjectStoreSource,
    S3Source,
    below,
    is_transient,
)


class MemoryStore(ObjectStoreSource):
    """An object store in this process's memory, fsspec's own."""

    protocol = "memory"

    def credential_options(self, credential: dict[str, Any]) -> dict[str, Any]:
        return credential

    def foreign_errors(self) -> tuple[type[Exception], ...]:
        return ()

    def network_errors(self) -> tuple[type[Exception], ...]:
        return ()


@pytest.fixture
def store() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/bucket", recursive=True)


def test_an_object_and_a_prefix_are_found_and_read(store: Any) -> None:
    store.pipe({"/bucket/m/config.json": b"{}", "/bucket/m/deep/w.bin": b"0123456789", "/bucket/mm/other": b"x"})
    source = MemoryStore()
    prefix = source.resolve(Location("memory://bucket/m/"), Access())
    files = source.files(prefix)
    assert [(file.path, file.size) for file in files] == [("config.json", 2), ("deep/w.bin", 10)]
    assert b"".join(source.read(prefix, files[1], offset=4)) == b"456789"
    one = source.resolve(Location("memory://bucket/m/deep/w.bin"), Access())
    (file,) = source.files(one)
    assert (file.path, b"".join(source.read(one, file, offset=0))) == ("w.bin", b"0123456789")


def test_the_revision_changes_with_an_object(store: Any) -> None:
    location = Location("memory://bucket/m")
    store.pipe("/bucket/m/w", b"one")
    first = MemoryStore().resolve(location, Access()).revision
    assert MemoryStore().resolve(location, Access()).revision == first
    store.pipe("/bucket/m/w", b"other")
    assert MemoryStore().resolve(location, Access()).revision != first


def test_faults_of_a_store_name_the_address(store: Any) -> None:
    store.pipe("/bucket/m/w", b"one")
    for location, access, told in [
        (Location("memory://bucket/none"), Access(), "found no file"),
        (Location("memory://bucket/m", revision="main"), Access(), "no revisions: remove spec.model.revision"),
        (Location("memory://bucket/m"), Access(credential="hunter2"), "must hold a JSON object"),
    ]:
        with pytest.raises(WeightsError, match=told) as caught:
            MemoryStore().resolve(location, access)
        assert str(caught.value).startswith(location.uri)
        assert "hunter2" not in str(caught.value)


def hub_fault(monkeypatch: pytest.MonkeyPatch, url: str) -> WeightsError:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    with pytest.raises(WeightsError, match=r"^hf://org/model: cannot be read: ") as caught:
        HuggingFaceSource().resolve(Location("hf://org/model"), Access())
    return caught.value


@pytest.mark.parametrize(("status", "transient"), [(404, False), (401, False), (429, True), (500, True), (503, True)])
async def test_a_fault_of_the_hub_is_transient_and_a_refusal_is_not(
    monkeypatch: pytest.MonkeyPatch, status: int, transient: bool
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        fault = await asyncio.to_thread(hub_fault, monkeypatch, url)
    assert fault.transient is transient


def test_a_hub_that_cannot_be_connected_to_is_a_transient_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_fault(monkeypatch, f"http://127.0.0.1:{free_ports(1)[0]}").transient is True


def answered(status: int) -> Exception:
    response = {"Error": {"Code": str(status), "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate_boto_error(ClientError(response, "GetObject"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (answered(503), True),
        (answered(403), False),
        (EndpointConnectionError(endpoint_url="http://s3"), True),
        (NoCredentialsError(), False),
        (HttpError({"code": "503"}), True),
        (HttpError({"code": 403}), False),
        (ProxyError(), True),
        (aiohttp.ServerDisconnectedError(), True),
        (OSError(errno.ENETUNREACH, "unreachable"), True),
        (OSError(errno.ENOSPC, "no space"), False),
        (TimeoutError(), True),
    ],
)
def test_faults_of_the_network_of_object_stores_are_transient(error: Exception, transient: bool) -> None:
    errors = (*S3Source().network_errors(), *GoogleStorageSource().network_errors())
    assert is_transient(error, errors) is transient


def test_a_certificate_that_is_refused_is_no_transient_fault() -> None:
    error = aiohttp.ClientConnectionError()
    error.__cause__ = ssl.SSLCertVerificationError()
    assert is_transient(error, (aiohttp.ClientConnectionError,)) is False


def test_a_commit_needs_no_question_and_pins_the_path() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    source = HuggingFaceSource()
    resolved = source.resolve(Location("hf://org/model/sub/m.gguf", revision=commit), Access())
    assert resolved.revision == commit
    assert source.root(resolved) == f"org/model@{commit}/sub/m.gguf"
    with pytest.raises(WeightsError, match="must name a repository"):
        source.resolve(Location("hf://model"), Access())


@pytest.mark.parametrize(
    ("path", "root", "relative"),
    [("b/m/x", "b/m", "x"), ("/b/m/d/x", "b/m", "d/x"), ("b/m", "b/m", "m"), ("m", "m", "m")],
)
def test_paths_are_told_from_the_root(path: str, root: str, relative: str) -> None:
    assert below(path, root) == relative


def test_a_volume_is_a_folder_that_paths_do_not_leave(tmp_path: Path) -> None:
    (tmp_path / "volume" / "m").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    access = Access(volumes={"weights": tmp_path / "volume"})
    found = VolumeSource().resolve(Location("pvc://weights/m"), access)
    assert found.in_place == tmp_path / "volume" / "m"
    for uri, told in [
        ("pvc://weights/../secret", "outside of the volume"),
        ("pvc://weights/none", "No such file"),
        ("pvc://other/m", r"that are set: weights\): set --volume other=PATH"),
    ]:
        with pytest.raises(WeightsError, match=told):
            VolumeSource().resolve(Location(uri), access)


def test_a_file_address_is_absolute(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"0123")
    source = FileSource()
    resolved = source.resolve(Location(f"file://{tmp_path}/m"), Access())
    (file,) = source.files(resolved)
    assert b"".join(source.read(resolved, file, offset=1)) == b"123"
    with pytest.raises(WeightsError, match="three slashes"):
        source.resolve(Location("file://models/m"), Access())
