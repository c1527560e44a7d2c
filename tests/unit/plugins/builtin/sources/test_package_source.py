"""Files of installed packages are found without importing any, and parts come in the order of their numbers."""

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import Access, Location
from pilotfish.plugins.builtin.sources.package import PackageSource, number_order


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def package(site: Path, name: str, files: dict[str, bytes]) -> None:
    folder = site / name
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('a package of weights must not be imported')\n")
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def content(uri: str, *, offset: int = 0) -> bytes:
    source = PackageSource()
    resolved = source.resolve(Location(uri), Access())
    (file,) = source.files(resolved)
    data = b"".join(source.read(resolved, file, offset=offset))
    assert len(data) == file.size - offset
    return data


def test_one_file_and_a_folder_lie_in_place(site: Path) -> None:
    package(site, "pilotfish_weights_a", {"model.gguf": b"GGUF...", "hf/config.json": b"{}", "hf/deep/x.txt": b"x"})
    source = PackageSource()
    one = source.resolve(Location("package://pilotfish_weights_a/model.gguf"), Access())
    assert one.in_place == site / "pilotfish_weights_a" / "model.gguf"
    folder = source.resolve(Location("package://pilotfish_weights_a/hf"), Access())
    assert [(file.path, file.size) for file in source.files(folder)] == [("config.json", 2), ("deep/x.txt", 1)]
    assert "pilotfish_weights_a" not in sys.modules


def test_parts_over_several_packages_are_joined_in_number_order(site: Path) -> None:
    for number in random.Random(7).sample(range(1, 23), 22):
        package(site, f"pilotfish_part{number}", {f"data/part{number:02d}.bin": f"<{number}>".encode()})
    package(site, "pilotfish_part7x", {"other.bin": b"not a part"})
    uri = "package://pilotfish_part*/data/part*.bin"
    whole = "".join(f"<{number}>" for number in range(1, 23)).encode()
    assert content(uri) == whole
    for offset in (1, 3, 28, len(whole)):
        assert content(uri, offset=offset) == whole[offset:]
    assert not any(name.startswith("pilotfish_part") for name in sys.modules)


def test_parts_in_one_package_are_joined(site: Path) -> None:
    package(site, "pilotfish_parts_one", {f"p{number}": bytes([number]) for number in (10, 9, 2)})
    assert content("package://pilotfish_parts_one/p*") == bytes([2, 9, 10])


def test_a_changed_part_changes_the_revision(site: Path) -> None:
    package(site, "pilotfish_parts_two", {"p1": b"a", "p2": b"b"})
    location = Location("package://pilotfish_parts_two/p*")
    before = PackageSource().resolve(location, Access()).revision
    assert PackageSource().resolve(location, Access()).revision == before
    (site / "pilotfish_parts_two" / "p2").write_bytes(b"longer")
    assert PackageSource().resolve(location, Access()).revision != before


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("package://pilotfish_not_there/x", "no package 'pilotfish_not_there' is installed"),
        ("package://pilotfish_not_there*/x", "no installed package has such a file"),
        ("package://pilotfish_weights_b/none.gguf", "No such file or directory"),
        ("package://pilotfish_weights_b/../pilotfish_weights_b/x", "must name a file or folder in a package"),
        ("package://pilotfish_weights_b", "must name a file or folder in a package"),
        ("package://os.path/x", "is not the name of a Python package"),
    ],
)
def test_what_is_not_there_is_told_with_the_address(site: Path, uri: str, told: str) -> None:
    package(site, "pilotfish_weights_b", {"x": b""})
    with pytest.raises(WeightsError, match=told) as caught:
        PackageSource().resolve(Location(uri), Access())
    assert str(caught.value).startswith(uri)


@given(st.lists(st.integers(0, 10_000), unique=True), st.integers(0, 5), st.randoms())
def test_names_with_numbers_sort_as_the_numbers(numbers: list[int], width: int, shuffler: random.Random) -> None:
    names = [f"part{number:0{width}d}.bin" for number in numbers]
    shuffler.shuffle(names)
    expected = [f"part{number:0{width}d}.bin" for number in sorted(numbers)]
    assert sorted(names, key=number_order) == expected
