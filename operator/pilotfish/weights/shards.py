"""Writes safetensors as a stream: a model is planned as shards, and no shard is completely in memory.

The layout of a file: eight bytes of little-endian length, a JSON header of names, types, shapes and offsets, the data.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SHARD_BYTES = 512 * 1024 * 1024
"""The maximum size of the data of a shard, in bytes, except for a single larger tensor."""

_BYTES_PER_ELEMENT = 2


@dataclass(frozen=True)
class Tensor:
    """A bfloat16 tensor: its name, its shape, and where its bytes (little-endian, row by row) come from."""

    name: str
    shape: tuple[int, ...]
    pieces: Callable[[], Iterator[memoryview]]

    @property
    def size(self) -> int:
        """Bytes of data."""
        elements = 1
        for length in self.shape:
            elements *= length
        return elements * _BYTES_PER_ELEMENT


@dataclass(frozen=True)
class Shard:
    """One file of a model and its tensors."""

    file: str
    tensors: tuple[Tensor, ...]

    def header(self) -> bytes:
        """Everything before the data, padded so that the data is aligned to 8 bytes."""
        entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for tensor in self.tensors:
            end = offset + tensor.size
            entries[tensor.name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, end]}
            offset = end
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    @property
    def data_size(self) -> int:
        """Bytes of data, without the header."""
        return sum(tensor.size for tensor in self.tensors)


def plan(tensors: Sequence[Tensor], limit: int = SHARD_BYTES) -> tuple[Shard, ...]:
    """Tensors in order, in as few shards of at most `limit` bytes as that order allows; always the same."""
    groups: list[list[Tensor]] = [[]]
    filled = 0
    for tensor in tensors:
        if groups[-1] and filled + tensor.size > limit:
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += tensor.size
    if len(groups) == 1:
        return (Shard("model.safetensors", tuple(groups[0])),)
    return tuple(
        Shard(f"model-{number:05d}-of-{len(groups):05d}.safetensors", tuple(group))
        for number, group in enumerate(groups, 1)
    )


def write(shards: Sequence[Shard], folder: Path, wrote: Callable[[int], None]) -> None:
    """Write shards and, if there are several, their index. Existing shards are kept.

    `wrote` gets the number of data bytes after every chunk. A shard gets its name only when it is complete and on disk.
    """
    for shard in shards:
        target = folder / shard.file
        header = shard.header()
        if target.exists() and target.stat().st_size == len(header) + shard.data_size:
            wrote(shard.data_size)
            continue
        partial = folder / f"{shard.file}.partial"
        with partial.open("wb") as file:
            file.write(header)
            for tensor in shard.tensors:
                _write_tensor(file.write, tensor, wrote)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(shard.data_size for shard in shards)},
            "weight_map": {tensor.name: shard.file for shard in shards for tensor in shard.tensors},
        }
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def _write_tensor(write_bytes: Callable[[memoryview], int], tensor: Tensor, wrote: Callable[[int], None]) -> None:
    size = 0
    for piece in tensor.pieces():
        write_bytes(piece)
        size += piece.nbytes
        wrote(piece.nbytes)
    if size != tensor.size:
        raise ValueError(f"tensor {tensor.name}: got {size} bytes for a shape of {tensor.size} bytes")
