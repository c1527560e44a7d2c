"""What is written as a stream is what the safetensors library reads, and an interrupted write continues."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from pilotfish.weights.shards import Shard, Tensor, plan, write


def tensor(name: str, shape: tuple[int, ...], seed: int = 0, pieces: int = 1) -> Tensor:
    data = np.random.default_rng(seed).integers(0, 256, size=2 * int(np.prod(shape)), dtype=np.uint8)

    def parts() -> Iterator[memoryview]:
        for part in np.array_split(data, pieces):
            yield memoryview(part)

    return Tensor(name, shape, parts)


def stored(folder: Path, shard: Shard, name: str) -> tuple[tuple[int, ...], str]:
    with safe_open(folder / shard.file, framework="numpy") as opened:
        part = opened.get_slice(name)
        return tuple(part.get_shape()), part.get_dtype()


shapes = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12)


@given(shapes, st.integers(2, 80))
def test_shards_keep_order_and_limit(given_shapes: list[tuple[int, int]], limit: int) -> None:
    tensors = [tensor(f"t{number}", shape) for number, shape in enumerate(given_shapes)]
    shards = plan(tensors, limit)
    assert [item for shard in shards for item in shard.tensors] == tensors
    assert all(shard.data_size <= limit or len(shard.tensors) == 1 for shard in shards)
    assert len({shard.file for shard in shards}) == len(shards)


@given(shapes, st.integers(2, 80), st.integers(1, 4))
def test_written_shards_are_read_by_the_library(given_shapes: list[tuple[int, int]], limit: int, pieces: int) -> None:
    tensors = [tensor(f"t{number}", shape, number, pieces) for number, shape in enumerate(given_shapes)]
    shards = plan(tensors, limit)
    told: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(shards, folder, told.append)
        for shard in shards:
            raw = (folder / shard.file).read_bytes()
            assert raw.endswith(b"".join(bytes(piece) for item in shard.tensors for piece in item.pieces()))
            for item in shard.tensors:
                assert stored(folder, shard, item.name) == (item.shape, "BF16")
        if len(shards) > 1:
            index = json.loads((folder / "model.safetensors.index.json").read_text())
            assert index["weight_map"] == {item.name: shard.file for shard in shards for item in shard.tensors}
    assert sum(told) == sum(item.size for item in tensors)


def test_an_interrupted_write_leaves_no_shard_half_and_goes_on(tmp_path: Path) -> None:
    read: list[str] = []

    def watched(name: str, *, broken: bool = False) -> Tensor:
        def pieces() -> Iterator[memoryview]:
            read.append(name)
            yield memoryview(b"ab")
            if broken:
                raise KeyboardInterrupt
            yield memoryview(b"cd")

        return Tensor(name, (2,), pieces)

    with pytest.raises(KeyboardInterrupt):
        write(plan([watched("a"), watched("b", broken=True), watched("c")], 4), tmp_path, lambda _: None)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model-00001-of-00003.safetensors"]
    done: list[int] = []
    write(plan([watched("a"), watched("b"), watched("c")], 4), tmp_path, done.append)
    assert read == ["a", "b", "b", "c"]
    assert (sum(done), len(list(tmp_path.glob("*.safetensors")))) == (12, 3)


def test_a_tensor_that_comes_short_is_an_error(tmp_path: Path) -> None:
    short = Tensor("a", (3,), lambda: iter([memoryview(b"ab")]))
    with pytest.raises(ValueError, match="tensor a: got 2 bytes for a shape of 6 bytes"):
        write(plan([short]), tmp_path, lambda _: None)
    assert not list(tmp_path.glob("*.safetensors"))
