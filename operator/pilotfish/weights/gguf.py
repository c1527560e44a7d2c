"""Conversion of GGUF files to the files that engines load: safetensors in bfloat16, config, tokenizer.

Names, shapes and the changes of layout that some architectures need come from an empty transformers model that is made
from the file's metadata. `gguf` dequantises the values, a few rows at a time. A tensor that can be converted by rows is
never completely in memory.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

from pilotfish.base.errors import WeightsError
from pilotfish.weights import shards

PIECE_BYTES = 32 * 1024 * 1024
"""Rows are dequantised in pieces of about this many bytes of float32."""

TIED_WITHIN = 0.15
"""Two matrices are one when they differ by no more than this, relative to their norm: the noise of quantising to four
bits or more is below it, matrices that were trained apart are far above it."""

_INSTEAD = "use the safetensors files of the model"
END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>")
"""Tokens that end the answer of a chat model, if its chat template or its metadata uses them."""


@dataclass(frozen=True)
class QuantizedTensor:
    """A tensor in a GGUF file."""

    path: Path
    name: str
    type: gguf.GGMLQuantizationType
    shape: tuple[int, ...]
    offset: int
    size: int

    def rows(self, first: int, last: int) -> NDArray[np.float32]:
        """Rows `first` to `last` (exclusive) as float32, flattened; rows are all dimensions except the last."""
        count = self.row_count
        row_size = self.size // count
        with self.path.open("rb") as file:
            file.seek(self.offset + first * row_size)
            data = file.read((last - first) * row_size)
        if len(data) != (last - first) * row_size:
            raise WeightsError(
                f"{self.path}: the file ends within tensor {self.name}: it is incomplete, fetch it again"
            )
        raw = np.frombuffer(data, dtype=np.uint8).reshape(last - first, row_size)
        values: NDArray[np.float32] = gguf.dequantize(raw, self.type)
        return values

    @property
    def row_count(self) -> int:
        """Number of rows; one for a vector."""
        return int(np.prod(self.shape[:-1], dtype=np.int64))

    def whole(self) -> NDArray[np.float32]:
        """The whole tensor, in its shape."""
        return np.concatenate(list(self.pieces())).reshape(self.shape)

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """All rows, in chunks."""
        step = max(1, PIECE_BYTES // (4 * self.shape[-1]))
        for first in range(0, self.row_count, step):
            yield self.rows(first, min(first + step, self.row_count))


@dataclass(frozen=True)
class GgufFile:
    """The metadata and tensors of a GGUF file, without values."""

    path: Path
    architecture: str
    tensors: Mapping[str, QuantizedTensor]

    @classmethod
    def open(cls, path: Path) -> "GgufFile":
        """Read the header. Raises WeightsError if the file is not GGUF."""
        try:
            reader = gguf.GGUFReader(path)
            architecture = str(reader.fields["general.architecture"].contents())
        except (ValueError, KeyError, IndexError) as error:
            raise WeightsError(f"{path}: is not a readable GGUF file: {error}") from error
        tensors = {
            tensor.name: QuantizedTensor(
                path,
                tensor.name,
                tensor.tensor_type,
                tuple(int(length) for length in reversed(tensor.shape)),
                int(tensor.data_offset),
                int(tensor.n_bytes),
            )
            for tensor in reader.tensors
        }
        return cls(path, architecture, tensors)

    def is_tied(self) -> bool:
        """Whether the output layer is the embedding matrix: left out of the file, or quantised a second time."""
        output, embedding = self.tensors.get("output.weight"), self.tensors.get("token_embd.weight")
        if output is None or embedding is None:
            return output is None
        if output.shape != embedding.shape:
            return False
        step = max(1, output.row_count // 16)
        for first in range(0, output.row_count, step):
            last = min(first + 16, output.row_count)
            ours, theirs = output.rows(first, last), embedding.rows(first, last)
            if np.linalg.norm(ours - theirs) > TIED_WITHIN * np.linalg.norm(ours):
                return False
        return True


def convert(source: Path, target: Path, *, room: Callable[[int], None], wrote: Callable[[int, int], None]) -> None:
    """Convert the GGUF file `source` into the existing folder `target`.

    Every tensor becomes bfloat16. An output layer that is the embedding matrix, quantised twice, becomes one matrix
    again, from the finer of the two. `room` gets the number of bytes to write before the first one, and raises if they
    do not fit. `wrote` gets the bytes written and the total. Raises WeightsError for a file that cannot be converted.
    """
    file = GgufFile.open(source)
    try:
        config = AutoConfig.from_pretrained(source.parent, gguf_file=source.name)
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    except (ValueError, NotImplementedError) as error:
        raise WeightsError(f"{source}: transformers cannot read this GGUF file: {error}") from error
    config.tie_word_embeddings = file.is_tied()
    config.dtype = torch.bfloat16
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tensors = _tensors(file, model)
    total = sum(tensor.size for tensor in tensors)
    room(total)
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        wrote(done, total)

    shards.write(shards.plan(tensors), target, count)
    config.architectures = [type(model).__name__]
    config.name_or_path = ""
    config.save_pretrained(target)
    tokenizer.save_pretrained(target)
    model.generation_config.eos_token_id = end_tokens(tokenizer, config.eos_token_id)
    model.generation_config.save_pretrained(target)


def end_tokens(tokenizer: Any, declared: int | list[int] | None) -> list[int]:
    """Ids of the tokens at which generation ends: those that the file declares, and the chat template's own."""
    found = declared if isinstance(declared, list) else [] if declared is None else [declared]
    special = set(tokenizer.all_special_ids)
    template = str(tokenizer.chat_template or "")
    vocabulary = tokenizer.get_vocab()
    for token in END_OF_TURN:
        number = vocabulary.get(token)
        if number is not None and (token in template or (number in special and token == "<|endoftext|>")):  # noqa: S105
            found = [*found, number]
    return list(dict.fromkeys(found))


def _tensors(file: GgufFile, model: PreTrainedModel) -> list[shards.Tensor]:
    """The model's tensors, in the file's order, each with its source."""
    processor = TENSOR_PROCESSORS.get(file.architecture, TensorProcessor)(config=model.config.to_dict())
    names: Mapping[str, str] = get_gguf_hf_weights_map(model, processor)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    tied = bool(model.config.tie_word_embeddings)
    sources = dict(file.tensors)
    if tied and "output.weight" in sources:
        # the output layer is quantised more finely than the embeddings in every common recipe
        finer = max(sources.pop("output.weight"), sources["token_embd.weight"], key=lambda tensor: tensor.size)
        sources["token_embd.weight"] = finer
    tensors = [
        _tensor(source, gguf_name, names[gguf_name], shapes[names[gguf_name]], processor)
        for gguf_name, source in sources.items()
        if gguf_name in names
    ]
    missing = (
        shapes.keys() - {tensor.name for tensor in tensors} - (model.all_tied_weights_keys.keys() if tied else set())
    )
    if missing:
        raise WeightsError(
            f"{file.path}: has no tensor for {', '.join(sorted(missing)[:5])}, so it is not supported: {_INSTEAD}"
        )
    return tensors


def _tensor(
    source: QuantizedTensor, gguf_name: str, name: str, shape: tuple[int, ...], processor: TensorProcessor
) -> shards.Tensor:
    if _is_left_alone(source.shape, gguf_name, processor):
        if source.shape != shape:
            raise WeightsError(
                f"{source.path}: tensor {gguf_name} has shape {source.shape}, but the model needs {shape}: {_INSTEAD}"
            )
        return shards.Tensor(name, shape, lambda: (_bfloat16(piece) for piece in source.pieces()))

    def changed() -> Iterator[memoryview]:
        values, kept, _ = processor.process(weights=source.whole(), name=gguf_name)
        if kept != gguf_name or values.shape != shape:
            raise WeightsError(f"{source.path}: tensor {gguf_name} has a layout that is not supported: {_INSTEAD}")
        yield _bfloat16(values)

    return shards.Tensor(name, shape, changed)


def _is_left_alone(shape: tuple[int, ...], gguf_name: str, processor: TensorProcessor) -> bool:
    """Whether the architecture takes this tensor as it is, so that it can be converted by rows."""
    probe = np.broadcast_to(np.float32(0), shape)  # has the shape, and takes no memory
    return processor.process(weights=probe, name=gguf_name)[0] is probe


def _bfloat16(values: NDArray[np.float32]) -> memoryview:
    writable = np.require(values, requirements=("C", "W"))  # torch warns of memory that is not
    tensor = torch.from_numpy(writable).to(torch.bfloat16)
    return memoryview(tensor.view(torch.int16).numpy()).cast("B")
