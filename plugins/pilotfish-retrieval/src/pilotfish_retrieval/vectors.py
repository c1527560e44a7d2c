"""Vectors of passages: dense ones whole, sparse ones without their zeros; in files that are mapped into memory."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.errors import BadUpstream

MOST_WEIGHTS = 256
"""Weights kept of a sparse vector: the largest."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors of `width` numbers. Row i is values[offsets[i]:offsets[i+1]], at `indices` if the rows are sparse."""

    width: int
    offsets: NDArray[np.int64]
    values: NDArray[np.float32]
    indices: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, vectors: Sequence[Sequence[float]], *, sparse: bool) -> Self:
        """Dense vectors at Euclidean length 1, or sparse ones. Raises BadUpstream for what is no vector."""
        matrix = matrix_of(vectors)
        count, width = matrix.shape
        if not sparse:
            lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
            matrix /= np.where(lengths > 0, lengths, 1)
            return cls(width, np.arange(count + 1, dtype=np.int64) * width, matrix.reshape(-1))
        places = [largest(row) for row in matrix]
        offsets = np.cumsum([0, *map(len, places)], dtype=np.int64)
        values = np.concatenate([row[each] for row, each in zip(matrix, places, strict=True)])
        return cls(width, offsets, values, np.concatenate(places).astype(np.int32))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All rows, in order. Raises BadUpstream if their widths differ."""
        width = parts[0].width
        if any(part.width != width for part in parts):
            raise BadUpstream("a pool returned vectors of different lengths: is it a pool of one model?")
        ends = np.cumsum([0, *(int(part.offsets[-1]) for part in parts)])
        offsets = [part.offsets[1:] + end for part, end in zip(parts, ends[:-1], strict=True)]
        indices = [part.indices for part in parts if part.indices is not None]
        return cls(
            width,
            np.concatenate([np.zeros(1, np.int64), *offsets]),
            np.concatenate([part.values for part in parts]),
            np.concatenate(indices) if indices else None,
        )

    def take(self, places: Sequence[int]) -> Self:
        """The rows at these places."""
        bounds = [(int(self.offsets[place]), int(self.offsets[place + 1])) for place in places]
        offsets = np.cumsum([0, *(end - start for start, end in bounds)], dtype=np.int64)

        def gathered(array: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([array[:0], *(array[start:end] for start, end in bounds)])

        return type(self)(
            self.width, offsets, gathered(self.values), None if self.indices is None else gathered(self.indices)
        )

    def dense(self) -> NDArray[np.float32]:
        """The rows [n, width] of dense vectors."""
        return self.values.reshape(len(self), self.width)

    def to_bytes(self) -> bytes:
        """The rows as one file."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **self._arrays())
        return buffer.getvalue()

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """What `to_bytes` made."""
        with np.load(path) as arrays:
            indices = arrays.get("indices")
            return cls(int(arrays["width"]), arrays["offsets"], arrays["values"], indices)

    def save(self, folder: Path, name: str) -> None:
        """Write the arrays, each as a file that can be mapped."""
        for part, array in self._arrays().items():
            np.save(folder / f"{name}-{part}.npy", array, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """What `save` wrote, by memory map."""
        offsets, values = (np.load(folder / f"{name}-{part}.npy", mmap_mode="r") for part in ("offsets", "values"))
        file = folder / f"{name}-indices.npy"
        indices = np.load(file, mmap_mode="r") if file.exists() else None
        return cls(int(np.load(folder / f"{name}-width.npy")), offsets, values, indices)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {
            "width": np.array(self.width),
            "offsets": self.offsets,
            "values": self.values,
        }
        return arrays if self.indices is None else {**arrays, "indices": self.indices}


def matrix_of(vectors: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """The vectors [n, width]. Raises BadUpstream unless they are finite numbers of one length."""
    try:
        matrix = np.array(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise BadUpstream(f"a pool returned vectors that are not numbers of one length: {error}") from error
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise BadUpstream("a pool returned vectors that are not finite numbers")
    return matrix


def largest(weights: NDArray[np.float32]) -> NDArray[np.int64]:
    """The places of the largest positive weights, in order of place."""
    places = np.flatnonzero(weights > 0)
    if len(places) > MOST_WEIGHTS:
        places = np.sort(places[np.argpartition(-weights[places], MOST_WEIGHTS)[:MOST_WEIGHTS]])
    return places


def cut(text: str, max_tokens: int, bytes_per_token: int) -> str:
    """The beginning of a text that is not longer than `max_tokens` of this many bytes."""
    return text.encode("utf-8", "replace")[: max_tokens * bytes_per_token].decode("utf-8", "ignore")


def batches(places: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    """The places, `size` at a time."""
    return (places[at : at + size] for at in range(0, len(places), size))
